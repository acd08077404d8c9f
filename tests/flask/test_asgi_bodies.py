"""Bodies of requests: read while they arrive, bounded in memory, on disk and in time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import flask
import pytest
from flask import request

from decant.flask import asgi
from tests.flask.asgi_calls import Call, Views, connected, until


@pytest.fixture
def reader(app: flask.Flask) -> tuple[flask.Flask, threading.Event]:
    """An application that reads a body when it is told to."""
    told = threading.Event()

    @app.post("/")
    def read() -> str:
        told.wait(10)
        return f"{len(request.get_data())}"

    @app.post("/steps")
    def steps() -> str:
        first = request.stream.read(5)
        told.wait(10)
        return f"{first!r} {len(request.stream.read())}"

    return app, told


async def test_nothing_is_received_that_is_not_read_yet(reader: Any) -> None:
    app, told = reader
    call = Call(asgi(app), method="POST")
    for _ in range(20):
        call.body(b"x" * 32_768, more=True)
    await until(lambda: call.received.qsize() == 18)
    await asyncio.sleep(0.05)
    assert call.received.qsize() == 18
    told.set()
    call.body(b"end")
    assert await call.answer() == (200, b"655363")


async def test_what_comes_faster_than_it_is_read_goes_to_disk(reader: Any, tmp_path: Any, monkeypatch: Any) -> None:
    made: list[Any] = []
    import decant.flask.spool as module

    original = module.tempfile.TemporaryFile

    def noted(**options: Any) -> Any:
        made.append(original(dir=tmp_path, **options))
        return made[-1]

    monkeypatch.setattr(module.tempfile, "TemporaryFile", noted)
    app, told = reader
    call = Call(asgi(app, spool=100_000), "/steps", method="POST")
    call.body(b"x" * 50_000, more=True)
    for _ in range(30):
        call.body(b"y" * 50_000, more=True)
    await until(lambda: call.received.empty())
    assert len(made) == 1
    told.set()
    call.body(b"")
    assert await call.answer() == (200, b"b'xxxxx' 1549995")
    assert made[0].closed


async def test_a_body_over_the_bound_is_413(app: flask.Flask, views: Views) -> None:
    @app.post("/")
    def read() -> str:
        return f"{len(request.get_data())}"

    shim = asgi(app, views=views, max_body=10)
    assert (await Call(shim, method="POST").body(b"x" * 11).answer())[0] == 413
    assert await Call(shim, method="POST").body(b"x" * 10).answer() == (200, b"10")
    announced = [(b"host", b"x"), (b"content-length", b"11")]
    assert (await Call(shim, method="POST", headers=announced).body(b"", more=True).answer())[0] == 413


async def test_a_client_that_sends_nothing_is_408(app: flask.Flask, views: Views) -> None:
    @app.post("/")
    def read() -> bytes:
        return request.get_data()

    call = Call(asgi(app, views=views, idle_s=0.1), method="POST").body(b"x", more=True)
    assert (await call.answer())[0] == 408


async def test_a_view_that_reads_is_ended_when_its_client_leaves(app: flask.Flask, views: Views) -> None:
    ends: list[str] = []

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        ends.append(type(error).__name__)

    @app.post("/")
    def read() -> bytes:
        return request.get_data()

    call = Call(asgi(app, views=views), method="POST").body(b"some", more=True)
    await asyncio.sleep(0.05)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert ends in (["CancelledError"], ["NoneType"])  # or it was told first, by a 400 that nobody takes
    assert call.sent == []


async def test_a_connection_is_kept_after_a_body_that_was_not_read(app: flask.Flask, views: Views) -> None:
    @app.post("/")
    def refuse() -> tuple[str, int]:
        return "no", 403

    async with connected(asgi(app, views=views)) as peer:
        for _ in range(2):
            await peer.send("POST / HTTP/1.1", "Host: x", "Content-Length: 500000")
            await peer.send(bytes(500_000))
            assert await peer.status() == 403
            head = await peer.reader.readuntil(b"\r\n\r\n")
            assert b"ontent-" in head
            assert await peer.reader.readexactly(2) == b"no"


async def test_a_client_that_waits_for_100_is_asked_only_for_what_is_read(app: flask.Flask) -> None:
    @app.post("/")
    def read() -> bytes:
        return request.get_data() if "read" in request.args else b"no need"

    expecting = [(b"host", b"x"), (b"expect", b"100-continue"), (b"content-length", b"4")]
    waits = asyncio.Event()

    class Waiting(Call):
        async def receive(self) -> Any:
            waits.set()
            return await self.received.get()

    shim = asgi(app)
    call = Waiting(shim, method="POST", headers=expecting)
    assert await call.answer() == (200, b"no need")
    call = Waiting(shim, "/?read", method="POST", headers=expecting)
    call.body(b"sent")
    assert await call.answer() == (200, b"sent")
