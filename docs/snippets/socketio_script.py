"""Emitting from a program that serves no clients: a script, a cron job, a worker."""

import asyncio
import sys

from decant.socketio import SocketIO


async def main(redis_url, channel):
    socketio = SocketIO(message_queue=redis_url, channel=channel)
    await socketio.emit("news", {"text": "the import is done"})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
