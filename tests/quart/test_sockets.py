"""What only a real server shows: Hypercorn, sockets, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import psutil
import pytest

from decant import Quart
from decant.quart import request
from tests.serving import Peer


class Memory(threading.Thread):
    """The most memory that this process has held since ``with`` began, in bytes above what it held then."""

    def __enter__(self) -> Memory:
        self.ended, self.before, self.peak = threading.Event(), self.now(), 0
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()

    def now(self) -> int:
        return int(psutil.Process().memory_info().rss)

    daemon = True

    def run(self) -> None:
        while not self.ended.wait(0.01):
            self.peak = max(self.peak, self.now() - self.before)


async def upload(peer: Peer, megabytes: int, kind: str) -> int:
    """Send a chunked body, all of it unless the server hangs up; gives the status of the answer."""
    head = ("POST / HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", f"Content-Type: {kind}")
    await peer.send(*head)
    answer = asyncio.create_task(peer.status())
    chunk = b"40000\r\n" + b"x" * 2**18 + b"\r\n"
    with contextlib.suppress(ConnectionError):
        for _ in range(megabytes * 4):
            await peer.send(chunk)
        await peer.send(b"0\r\n\r\n")
    return await answer


FORM = "application/x-www-form-urlencoded"
FILES = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("reading", "kind", "answer"),
    [("whole", "x/y", 413), ("pieces", "x/y", 413), ("form", FORM, 413), ("form", FILES, 413), ("never", "x/y", 200)],
)
async def test_a_body_past_the_limit_is_refused_without_holding_it(
    app: Quart, served: Any, reading: str, kind: str, answer: int
) -> None:
    """300 MB, chunked, against a limit of 1 MB: 413 (unless the view does not care), and memory stays flat."""
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024

    @app.post("/")
    async def view() -> str:
        if reading == "whole":
            await request.get_data()
        elif reading == "pieces":
            async for _ in request.body:
                pass
        elif reading == "form":
            await request.form
        else:
            await asyncio.sleep(0.3)
        return "read"

    address = await served(app)
    memory = await asyncio.to_thread(Memory().__enter__)
    async with Peer.connect(address) as peer:
        status = await upload(peer, 300, kind)
    await asyncio.to_thread(memory.__exit__)
    assert status == answer
    assert memory.peak < 20 * 1024 * 1024
