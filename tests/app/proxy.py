"""A TCP proxy in front of a real server: to be closed, to hang, or to lose answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Proxy"]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Forwards to ``upstream``; listens on :attr:`port` of the loopback while it is up.

    While :attr:`flowing` is not set nothing is forwarded. Where a request has :attr:`losing` in it, that one
    reaches the server, and the connection is closed when its answer comes.
    """

    def __init__(self, upstream: Callable[[], Awaitable[Streams]]) -> None:
        self.upstream = upstream
        self.port = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.losing: bytes | None = None
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[Any]] = set()

    @classmethod
    def to_database(cls, url: str) -> Proxy:
        """In front of the PostgreSQL of a URL, be it a socket in a folder or a host."""
        parts = urlsplit(url)
        folder = parse_qs(parts.query).get("host", [""])[0]
        if folder:
            return cls(lambda: asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{parts.port or 5432}"))
        return cls(lambda: asyncio.open_connection(parts.hostname, parts.port or 5432))

    @classmethod
    def to_port(cls, port: int) -> Proxy:
        return cls(lambda: asyncio.open_connection("127.0.0.1", port))

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and break those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._link(reader, writer)
        except (OSError, asyncio.CancelledError):  # nobody there, or stop(); asyncio would report either
            pass
        finally:
            self._links.discard(task)
            writer.close()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await self.upstream()
        lost = asyncio.Event()
        pumps = [
            asyncio.create_task(self._requests(reader, up_writer, lost)),
            asyncio.create_task(self._answers(up_reader, writer, lost)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            up_writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(65536):
            await self.flowing.wait()
            if self.losing is not None and self.losing in data:
                self.losing = None
                lost.set()
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(65536):
            await self.flowing.wait()
            if lost.is_set():
                return
            writer.write(data)
            await writer.drain()
