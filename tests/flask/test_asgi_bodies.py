"""Bodies of requests: read while they arrive, bounded in memory, on disk and in time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import flask
import pytest
from flask import request
from werkzeug.exceptions import ClientDisconnected

from decant.bridge import wait
from decant.flask import asgi, body, sending, spool
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


def lingers(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For so long the rest of a body is received before the end of an answer."""
    monkeypatch.setattr(sending, "_LINGER_S", seconds)


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


@pytest.fixture
def files(tmp_path: Any, monkeypatch: Any) -> list[Any]:
    """The temporary files that bodies go to."""
    made: list[Any] = []
    original = spool.tempfile.TemporaryFile

    def noted(**options: Any) -> Any:
        made.append(original(dir=tmp_path, **options))
        return made[-1]

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", noted)
    return made


async def test_what_comes_faster_than_it_is_read_goes_to_disk(reader: Any, files: list[Any]) -> None:
    app, told = reader
    call = Call(asgi(app, spool=100_000), "/steps", method="POST")
    call.body(b"x" * 50_000, more=True)
    for _ in range(30):
        call.body(b"y" * 50_000, more=True)
    await until(lambda: call.received.empty())
    assert len(files) == 1
    told.set()
    call.body(b"")
    assert await call.answer() == (200, b"b'xxxxx' 1549995")
    assert files[0].closed


async def test_what_has_gone_to_disk_is_removed_with_its_client(reader: Any, files: list[Any]) -> None:
    app, told = reader
    call = Call(asgi(app, spool=100_000), "/steps", method="POST")
    for _ in range(30):
        call.body(b"x" * 50_000, more=True)
    await until(lambda: call.received.empty() and files)
    call.leave()
    told.set()
    await asyncio.wait_for(call.task, 10)
    assert [file.closed for file in files] == [True]


async def test_when_the_disk_holds_enough_the_client_waits(reader: Any, files: list[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(body, "_ON_DISK", 200_000)
    app, told = reader
    call = Call(asgi(app, spool=100_000), "/steps", method="POST")
    for _ in range(30):
        call.body(b"x" * 50_000, more=True)
    await until(lambda: files)
    await asyncio.sleep(0.1)
    assert call.received.qsize() >= 20
    told.set()
    call.body(b"")
    assert await call.answer() == (200, b"b'xxxxx' 1499995")


async def test_nothing_is_kept_of_a_body_over_the_bound(app: flask.Flask, views: Views, files: list[Any]) -> None:
    @app.post("/")
    def read() -> bytes:
        return request.get_data()

    call = Call(asgi(app, views=views, max_body=500, spool=1000), method="POST")
    for _ in range(30):
        call.body(b"x" * 50_000, more=True)
    call.body()
    assert (await call.answer())[0] == 413
    assert files == []


async def test_a_body_over_the_bound_is_413(app: flask.Flask, views: Views) -> None:
    @app.post("/")
    def read() -> str:
        return f"{len(request.get_data())}"

    shim = asgi(app, views=views, max_body=10)
    assert (await Call(shim, method="POST").body(b"x" * 11).answer())[0] == 413
    assert await Call(shim, method="POST").body(b"x" * 10).answer() == (200, b"10")
    announced = [(b"host", b"x"), (b"content-length", b"11")]
    assert (await Call(shim, method="POST", headers=announced).body(b"", more=True).answer())[0] == 413


async def test_a_client_that_sends_nothing_is_408(app: flask.Flask, views: Views, monkeypatch: Any) -> None:
    lingers(60.0, monkeypatch)

    @app.post("/")
    def read() -> bytes:
        return request.get_data()

    call = Call(asgi(app, views=views, idle_s=0.1), method="POST").body(b"x", more=True)
    async with asyncio.timeout(20):  # it is not waited for any longer
        assert (await call.answer())[0] == 408


async def test_a_view_that_reads_is_ended_when_its_client_leaves(app: flask.Flask, views: Views) -> None:
    begun, ends = list[str](), list[str]()

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        ends.append(type(error).__name__)

    @app.post("/")
    def read() -> bytes:
        begun.append("view")
        return request.get_data()

    call = Call(asgi(app, views=views), method="POST").body(b"some", more=True)
    await until(lambda: begun)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert ends in (["CancelledError"], ["NoneType"])  # or it was told first, by a 400 that nobody takes
    assert call.sent == []


async def test_a_connection_is_kept_after_a_body_that_was_not_read(
    app: flask.Flask, views: Views, monkeypatch: Any
) -> None:
    lingers(60.0, monkeypatch)  # all of it is taken

    @app.post("/")
    def refuse() -> tuple[str, int]:
        return "no", 403

    async with connected(asgi(app, views=views)) as peer, asyncio.timeout(20):
        for _ in range(2):
            await peer.send("POST / HTTP/1.1", "Host: x", "Content-Length: 500000")
            await peer.send(bytes(500_000))
            assert await peer.status() == 403
            head = await peer.reader.readuntil(b"\r\n\r\n")
            assert b"ontent-" in head
            assert await peer.reader.readexactly(2) == b"no"


async def test_a_view_that_reads_on_after_its_client_has_left_is_told(app: flask.Flask, views: Views) -> None:
    begun, told = threading.Event(), list[type[BaseException]]()

    @app.post("/")
    def read() -> str:
        begun.set()
        for _ in range(3):
            try:
                request.environ["wsgi.input"].read()
            except BaseException as error:
                told.append(type(error))
        return "nobody takes it"

    call = Call(asgi(app, views=views, grace_s=20), method="POST").body(b"some", more=True)
    await until(lambda: begun.is_set() and call.received.empty())
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert len(told) == 3
    assert told[-1] is ClientDisconnected, "by the cancellation but once"


async def test_a_rest_that_does_not_come_is_not_waited_for(app: flask.Flask, views: Views, monkeypatch: Any) -> None:
    """Once the answer is made: some clients send a body only after they have seen it."""
    lingers(0.1, monkeypatch)
    app.add_url_rule("/", view_func=lambda: "answered", methods=["POST"])
    call = Call(asgi(app, views=views), method="POST").body(b"begun", more=True)
    assert await call.answer() == (200, b"answered")


@pytest.fixture
def expecting(app: flask.Flask) -> tuple[flask.Flask, asyncio.Event]:
    go_on = asyncio.Event()

    @app.post("/")
    def read() -> bytes:
        wait(go_on.wait())
        return request.get_data() if "read" in request.args else b"no need"

    @app.post("/endless")
    def endless() -> Any:
        return iter(lambda: wait(asyncio.sleep(0.01, "x")), None)

    return app, go_on


EXPECT = [(b"host", b"x"), (b"expect", b"100-Continue"), (b"content-length", b"4")]


async def test_a_client_that_waits_for_100_is_asked_only_for_what_is_read(
    expecting: Any, views: Views, monkeypatch: Any
) -> None:
    """Servers send ``100 Continue`` when an application first receives."""
    lingers(60.0, monkeypatch)  # for what was not asked for, not at all
    app, go_on = expecting
    shim, asked = asgi(app, views=views), list[str]()

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        async def noted() -> Any:
            asked.append(scope["query_string"])
            return await receive()

        await shim(scope, noted, send)

    calls = [Call(noting, path, method="POST", headers=EXPECT) for path in ("/", "/?read")]
    await asyncio.sleep(0.1)
    assert asked == []
    go_on.set()
    async with asyncio.timeout(20):
        assert await calls[0].answer() == (200, b"no need")
    assert await calls[1].body(b"sent").answer() == (200, b"sent")


async def test_one_that_waits_for_100_and_leaves_is_noticed_while_it_is_answered(expecting: Any, views: Views) -> None:
    call = Call(asgi(expecting[0], views=views), "/endless", method="POST", headers=EXPECT)
    await call.until(lambda: call.data)
    call.leave()
    await asyncio.wait_for(call.task, 20)
