"""Hypercorn on a real socket, in the test's own event loop, and a client that sends what it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

__all__ = ["Peer", "serve"]


@asynccontextmanager
async def serve(app: Any, **options: Any) -> AsyncIterator[str]:
    """Serve an ASGI application; gives its base URL, ``http://127.0.0.1:PORT``, and stops it in the end.

    :param options: of ``hypercorn.config.Config``, as ``graceful_timeout=1``.
    """
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listening.getsockname()[1]
    config = Config.from_mapping({"graceful_timeout": 2, "accesslog": None, "loglevel": "WARNING", **options})
    config.bind = [f"fd://{listening.detach()}"]  # Hypercorn closes it
    stop = asyncio.Event()
    task = asyncio.create_task(hypercorn_serve(app, config, shutdown_trigger=stop.wait))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


class Peer:
    """A raw HTTP/1.1 client: what it sends is what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: tuple[str, int]) -> AsyncIterator[Peer]:
        peer = cls(*await asyncio.open_connection(*address))
        try:
            yield peer
        finally:
            peer.writer.close()
            with suppress(ConnectionError):
                await peer.writer.wait_closed()

    async def send(self, *lines: str | bytes) -> None:
        """Send a head of these lines and a blank one; bytes are sent as they are."""
        if isinstance(lines[0], str):
            self.writer.write("\r\n".join([*map(str, lines), "", ""]).encode())
        else:
            self.writer.writelines(lines)  # type: ignore[arg-type]
        await self.writer.drain()

    async def get(self, path: str, *headers: str) -> None:
        await self.send(f"GET {path} HTTP/1.1", "Host: localhost", *headers)

    async def status(self) -> int:
        """The status of the next answer."""
        line = await asyncio.wait_for(self.reader.readline(), 60)
        return int(line.split()[1])

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        return await asyncio.wait_for(self.reader.read(), 60)

    def abort(self) -> None:
        """Go away without a word."""
        self.writer.transport.abort()
