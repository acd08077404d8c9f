"""``decant.Quart`` on uvloop: what depends on the loop's own sockets, tasks and threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from decant import Quart, wait
from decant.bridge import bridged
from decant.quart import request, websocket
from tests.quart.test_sockets import frame, until, websocket_client
from tests.serving import Peer, serve

uvloop = pytest.importorskip("uvloop")
Test = Callable[[tuple[str, int]], Coroutine[Any, Any, None]]


def on_uvloop(app: Quart, test: Test) -> None:
    """Serve the application on a uvloop, and run the test there."""

    async def main() -> None:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        async with serve(app) as url:
            host, _, port = url.removeprefix("http://").rpartition(":")
            await test((host, int(port)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bridged(main()))


def test_handlers_wait_in_threads_and_on_the_loop(app: Quart) -> None:
    """Both, many at once."""

    @app.get("/thread")
    def thread() -> str:
        return str(wait(asyncio.sleep(0.01, "thread")))

    @app.get("/loop")
    async def loop() -> str:
        return str(wait(asyncio.sleep(0.01, "loop")))

    async def test(address: tuple[str, int]) -> None:
        async def get(path: str) -> bytes:
            async with Peer.connect(address) as peer:
                await peer.get(path, "Connection: close")
                return await peer.rest()

        answers = await asyncio.gather(*(get(path) for path in ["/thread", "/loop"] * 30))
        assert [answer.rpartition(b"\n")[2] for answer in answers] == [b"thread", b"loop"] * 30

    on_uvloop(app, test)


def test_a_client_that_goes_away_is_torn_down(app: Quart) -> None:
    """The handler is cancelled, its hook runs to its end."""
    events: list[str] = []

    @app.get("/")
    def view() -> None:
        events.append("working")
        wait(asyncio.Event().wait())

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        await asyncio.sleep(0.01)
        events.append(type(error).__name__)

    async def test(address: tuple[str, int]) -> None:
        async with Peer.connect(address) as peer:
            await peer.get("/")
            await until(lambda: events)
            peer.abort()
            await until(lambda: len(events) == 2)

    on_uvloop(app, test)
    assert events == ["working", "CancelledError"]


def test_a_websocket_talks_and_closes(app: Quart) -> None:
    seen: list[Any] = []

    @app.websocket("/")
    async def view() -> None:
        try:
            while True:
                await websocket.send(wait(asyncio.sleep(0, await websocket.receive())))
        finally:
            seen.append(websocket.close_code)

    async def test(address: tuple[str, int]) -> None:
        reader, writer, status = await websocket_client(address)
        assert status == 101
        writer.write(frame(1, b"hello"))
        assert (await asyncio.wait_for(reader.readexactly(7), 60))[2:] == b"hello"
        writer.transport.abort()
        await until(lambda: seen)

    on_uvloop(app, test)
    assert seen == [1006]


def test_a_large_upload_is_read(app: Quart) -> None:
    """From the disk, through a thread."""

    @app.post("/")
    async def view() -> str:
        return str(len((await request.files)["file"].read()))

    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 2_000_000 + b"\r\n--b--"

    async def test(address: tuple[str, int]) -> None:
        async with Peer.connect(address) as peer:
            head = ("POST / HTTP/1.1", "Host: a", f"Content-Length: {len(body) + 2}", "Connection: close")
            await peer.send(*head, "Content-Type: multipart/form-data; boundary=b")
            await peer.send(body + b"\r\n")
            assert (await peer.rest()).endswith(b"2000000")

    on_uvloop(app, test)
