"""One ASGI call as a test makes it: what the server says and takes, and when, is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from decant.flask import Asgi
from tests.serving import Peer, serve

__all__ = ["Call", "Views", "connected", "logged", "until"]

Views = Literal["threads", "loop"]


class Call:
    """One ASGI call, whose client does what the test says."""

    def __init__(self, shim: Any, path: str = "/", method: str = "GET", **scope: Any) -> None:
        self.sent: list[Any] = []
        self.news = asyncio.Event()
        self.received: asyncio.Queue[Any] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()
        path, _, query = path.partition("?")
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"example.test")],
            "client": ("10.0.0.9", 4711),
            "server": ("127.0.0.1", 80),
            "extensions": {},
            **scope,
        }
        self.task = asyncio.create_task(shim(self.scope, self.received.get, self.send))

    async def send(self, message: Any) -> None:
        await self.takes.wait()
        self.sent.append(message)
        self.news.set()

    def body(self, data: bytes = b"", *, more: bool = False) -> Call:
        self.received.put_nowait({"type": "http.request", "body": data, "more_body": more})
        return self

    def leave(self) -> None:
        self.received.put_nowait({"type": "http.disconnect"})

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def answer(self) -> tuple[int, bytes]:
        await asyncio.wait_for(self.task, 30)
        return self.status, self.data

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def data(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    def header(self, name: str) -> str | None:
        found = {key.decode().lower(): value.decode() for key, value in self.sent[0]["headers"]}
        return found.get(name)


async def until(condition: Callable[[], Any]) -> None:
    """For what happens in a thread, which tells no one."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


def logged(caplog: Any) -> list[str]:
    """What Decant has logged, but for the watchdog: a busy machine may hold the loop."""
    found = [record for record in caplog.records if record.name.startswith("decant")]
    return [record.getMessage() for record in found if record.name != "decant.flask.watchdog"]


@asynccontextmanager
async def connected(shim: Asgi) -> AsyncIterator[Peer]:
    async with serve(shim) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        async with Peer.connect((host, int(port))) as peer:
            yield peer
