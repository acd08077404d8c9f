"""A web process of the tests: ``python node.py FD REDIS_URL CHANNEL``."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import request

from decant.quart import Quart
from decant.socketio import SocketIO, emit, join_room


def make_app(redis_url: str, channel: str) -> Quart:
    app = Quart("node", root_path="/", instance_path="/instance")
    app.config.update(REDIS_URL=redis_url, SOCKETIO_CHANNEL=channel, SOCKETIO_SHUTDOWN_TIMEOUT_S=2)
    socketio = SocketIO(app, transports=["websocket"])

    @socketio.event
    async def join(room: str) -> int:
        await join_room(room)
        return os.getpid()

    @socketio.event
    async def tell(room: str | None, value: Any) -> None:
        await emit("told", value, to=room, broadcast=room is None)

    @socketio.event
    async def ask(sid: str, value: Any) -> Any:
        return await socketio.call("question", value, to=sid, timeout=30)

    @socketio.event
    async def linger() -> str:
        print("lingers", flush=True)
        while not socketio.server.stopping:
            await asyncio.sleep(0.01)
        return "lingered"

    @socketio.on("disconnect")
    async def disconnected(reason: str) -> None:
        print("disconnected", request.sid, reason, flush=True)

    @app.get("/tell/<value>")
    async def tell_all(value: str) -> str:
        await socketio.emit("told", value)
        return "told"

    return app


if __name__ == "__main__":
    config = Config()
    config.bind = [f"fd://{sys.argv[1]}"]
    config.graceful_timeout = 30
    config.errorlog = "-"
    asyncio.run(serve(make_app(sys.argv[2], sys.argv[3]), config))  # type: ignore[arg-type]
