"""What Flask promises, kept where its application is served through ASGI: in threads and on the loop."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import flask
import pytest
from click.testing import CliRunner
from flask import Response, g, request
from flask.cli import FlaskGroup
from flask.testing import FlaskClient
from werkzeug.debug import DebuggedApplication

from decant.bridge import wait
from decant.errors import ConfigError
from decant.flask import Asgi, asgi
from tests.serving import Peer, serve

Views = Literal["threads", "loop"]


@pytest.fixture(params=["threads", "loop"])
def views(request: pytest.FixtureRequest) -> Views:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "known"
    return app


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
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def answer(self) -> tuple[int, bytes]:
        await asyncio.wait_for(self.task, 10)
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
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def connected(shim: Asgi) -> AsyncIterator[Peer]:
    async with serve(shim) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        async with Peer.connect((host, int(port))) as peer:
            yield peer


# -- streams -----------------------------------------------------------------------------------------------------------


async def test_each_event_is_sent_before_the_next_is_made(app: flask.Flask, views: Views) -> None:
    made: list[int] = []
    go_on = asyncio.Event()

    @app.get("/")
    def events() -> Response:
        def pieces() -> Any:
            for number in range(3):
                made.append(number)
                yield f"data: {number}\n\n"
                wait(go_on.wait())

        return Response(pieces(), mimetype="text/event-stream")

    call = Call(asgi(app, views=views)).body()
    await call.until(lambda: b"data: 0" in call.data)
    assert made == [0]
    assert call.sent[-1]["more_body"] is True
    go_on.set()
    assert (await call.answer())[1] == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_a_client_that_takes_nothing_slows_the_view_down(app: flask.Flask, views: Views) -> None:
    made = 0

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            nonlocal made
            while True:
                made += 1
                yield b"x" * 10_000

        return Response(pieces())

    call = Call(asgi(app, views=views))
    call.body().takes.clear()
    await until(lambda: made)
    await asyncio.sleep(0.1)
    assert made <= 20
    call.leave()
    await asyncio.wait_for(call.task, 10)


async def test_a_generator_is_closed_when_its_client_leaves(app: flask.Flask, views: Views) -> None:
    ends: list[str] = []

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        ends.append("teardown")

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    yield b"x"
                    wait(asyncio.sleep(0.001))
            finally:
                ends.append("generator")

        response = Response(pieces())
        response.call_on_close(lambda: ends.append("call_on_close"))
        return response

    call = Call(asgi(app, views=views)).body()
    await call.until(lambda: len(call.data) > 3)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert ends == ["teardown", "generator", "call_on_close"]


async def test_a_generator_that_never_waits_is_closed_too(app: flask.Flask) -> None:
    closed = threading.Event()

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    time.sleep(0.001)
                    yield b""
            finally:
                closed.set()

        return Response(pieces())

    shim = asgi(app)
    call = Call(shim).body()
    await call.until(lambda: call.sent)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert closed.is_set()
    await until(lambda: not shim.threads.busy)


async def test_a_generator_that_catches_everything_does_not_go_on_for_ever(app: flask.Flask) -> None:
    @app.get("/")
    def stubborn() -> Response:
        def pieces() -> Any:
            while True:
                try:
                    time.sleep(0.001)
                    wait(asyncio.sleep(0.001))
                except asyncio.CancelledError:
                    pass
                yield b"x"

        return Response(pieces())

    shim = asgi(app)
    call = Call(shim).body()
    await call.until(lambda: call.data)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    await until(lambda: not shim.threads.busy)


async def test_many_small_pieces_need_no_hop_each(app: flask.Flask) -> None:
    @app.get("/")
    def rows() -> Response:
        return Response(f"{number}\n" for number in range(20_000))

    call = Call(asgi(app)).body()
    _, data = await call.answer()
    assert data == b"".join(b"%d\n" % number for number in range(20_000))
    assert len(call.sent) < 10_000


# -- bodies ------------------------------------------------------------------------------------------------------------


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


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ValueError("this"), SystemExit(3), KeyboardInterrupt(), StopIteration(), MemoryError()]
)
async def test_whatever_the_application_raises_is_a_500_and_a_line(
    app: flask.Flask, views: Views, error: BaseException, caplog: Any
) -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        raise error

    app.wsgi_app = broken  # type: ignore[method-assign]
    status, data = await Call(asgi(app, views=views)).body().answer()
    assert status == 500
    assert b"Internal Server Error" in data
    assert [record.getMessage() for record in caplog.records if record.name == "decant.flask"] == ["GET / failed"]


async def test_an_error_after_the_head_breaks_the_connection(app: flask.Flask, views: Views, caplog: Any) -> None:
    @app.get("/")
    def breaking() -> Response:
        def pieces() -> Any:
            yield "some"
            raise ValueError("in the middle")

        return Response(pieces())

    async with connected(asgi(app, views=views)) as peer:
        await peer.get("/")
        assert await peer.status() == 200
        assert (await peer.rest()).endswith(b"4\r\nsome\r\n")
    assert "GET / failed" in caplog.text


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("", []),
        ("99 Low", []),
        ("100 Continue", []),
        ("200 OK\r\nX: 1", []),
        ("200 OK", [("X-A", "1\r\nX-B: 2")]),
        ("200 OK", [("X A", "1")]),
        ("200 OK", [("X-A", 1)]),
        ("200 OK", [("Content-Length", "many")]),
        ("200 OK", [("Content-Length", "-1")]),
    ],
)
async def test_a_head_that_http_does_not_allow_is_a_500(app: flask.Flask, status: str, headers: Any) -> None:
    def odd(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return [b"never"]

    app.wsgi_app = odd  # type: ignore[method-assign]
    assert (await Call(asgi(app)).body().answer())[0] == 500


async def test_an_application_that_gives_no_status_is_a_500(app: flask.Flask) -> None:
    app.wsgi_app = lambda environ, start_response: [b"x"]  # type: ignore[method-assign]
    assert (await Call(asgi(app)).body().answer())[0] == 500


async def test_start_response_twice_is_a_500(app: flask.Flask) -> None:
    def twice(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    app.wsgi_app = twice  # type: ignore[method-assign]
    assert (await Call(asgi(app)).body().answer())[0] == 500


async def test_exc_info_replaces_a_head_that_is_not_sent_and_is_raised_after_it(app: flask.Flask) -> None:
    def late(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("X-First", "1")])
        try:
            raise ValueError("found late")
        except ValueError:
            start_response("503 Sorry", [("X-Second", "1")], sys.exc_info())
        yield b"some"
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 Sorry", [], sys.exc_info())
        yield b"never"

    app.wsgi_app = late  # type: ignore[method-assign]
    call = Call(asgi(app)).body()
    assert await call.answer() == (503, b"some")
    assert (call.header("x-first"), call.header("x-second")) == (None, "1")
    assert call.sent[-1]["more_body"] is True  # unended, which breaks the connection


async def test_too_little_for_content_length_breaks_the_connection(app: flask.Flask, caplog: Any) -> None:
    @app.get("/")
    def short() -> Response:
        return Response(iter(["four"]), headers={"Content-Length": "10"})

    async with connected(asgi(app)) as peer:
        await peer.get("/")
        assert await peer.status() == 200
        assert (await peer.rest()).endswith(b"four")
    assert "4 bytes of the 10" in caplog.text


async def test_a_full_pool_answers_503_at_once(app: flask.Flask) -> None:
    free = threading.Event()

    @app.get("/")
    def slow() -> str:
        free.wait(10)
        return "done"

    shim = asgi(app, threads=2, max_queued=1)
    calls = [Call(shim).body() for _ in range(3)]
    await until(lambda: shim.threads.full)
    refused = Call(shim).body()
    status, data = await asyncio.wait_for(refused.answer(), 1)
    assert (status, refused.header("retry-after")) == (503, "1")
    assert b"already wait" in data
    free.set()
    assert [await call.answer() for call in calls] == [(200, b"done")] * 3


async def test_a_queued_request_whose_client_leaves_is_never_begun(app: flask.Flask) -> None:
    free, begun = threading.Event(), list[str]()

    @app.get("/<name>")
    def slow(name: str) -> str:
        begun.append(name)
        free.wait(10)
        return name

    shim = asgi(app, threads=1)
    first, second = Call(shim, "/first").body(), Call(shim, "/second").body()
    await until(lambda: shim.threads.queued)
    second.leave()
    await asyncio.wait_for(second.task, 10)
    free.set()
    assert await first.answer() == (200, b"first")
    assert begun == ["first"]


async def test_a_blocking_view_whose_client_leaves_is_left_to_its_end(app: flask.Flask) -> None:
    ends: list[str] = []

    @app.get("/")
    def blocking() -> str:
        time.sleep(0.2)
        ends.append("view")
        return "nobody takes it"

    call = Call(asgi(app)).body()
    await asyncio.sleep(0.05)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert ends == ["view"]
    assert call.sent == []


async def test_a_server_that_cancels_the_call_ends_the_view_and_is_told(app: flask.Flask, views: Views) -> None:
    ends: list[Any] = []

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        wait(asyncio.sleep(0.01))  # clean-up may wait
        ends.append(type(error))

    @app.get("/")
    def waiting() -> str:
        wait(asyncio.sleep(10))
        return "never"

    call = Call(asgi(app, views=views)).body()
    await asyncio.sleep(0.1)
    call.task.cancel()
    await asyncio.sleep(0.005)
    call.task.cancel()  # again
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call.task, 10)
    assert ends == [asyncio.CancelledError]


async def test_a_message_that_the_server_refuses_is_logged(app: flask.Flask, views: Views, caplog: Any) -> None:
    class Refusing(Call):
        async def send(self, message: Any) -> None:
            raise ValueError("not this one")

    app.add_url_rule("/", view_func=lambda: "x")
    await asyncio.wait_for(Refusing(asgi(app, views=views)).body().task, 10)
    assert "The server refused http.response.start" in caplog.text


async def test_header_names_keep_their_case_but_in_http_2(app: flask.Flask) -> None:
    app.add_url_rule("/", view_func=lambda: ("x", {"X-Mixed-case": "1"}))
    for version, expected in (("1.1", b"X-Mixed-case"), ("2", b"x-mixed-case")):
        call = Call(asgi(app), http_version=version).body()
        await call.answer()
        assert expected in dict(call.sent[0]["headers"])


# -- Flask's own -------------------------------------------------------------------------------------------------------


async def test_signals_and_hooks_come_in_flasks_order(app: flask.Flask, views: Views) -> None:
    order: list[str] = []

    def note(name: str) -> Any:
        def receiver(*args: Any, **kwargs: Any) -> None:
            order.append(name)

        return receiver

    receivers = {name: note(name) for name in ("request_started", "request_finished", "request_tearing_down")}
    receivers |= {name: note(name) for name in ("appcontext_pushed", "appcontext_popped", "got_request_exception")}
    for name, receiver in receivers.items():
        getattr(flask, name).connect(receiver, app)
    app.before_request(note("before"))
    app.after_request(lambda response: order.append("after") or response)  # type: ignore[func-returns-value]
    app.teardown_request(note("teardown"))
    app.teardown_appcontext(note("teardown app"))

    @app.get("/")
    def view() -> Response:
        order.append("view")
        response = Response("x")
        response.call_on_close(note("closed"))
        flask.after_this_request(lambda response: order.append("this") or response)  # type: ignore[func-returns-value]
        return response

    await Call(asgi(app, views=views)).body().answer()
    assert order[:7] == ["appcontext_pushed", "request_started", "before", "view", "this", "after", "request_finished"]
    assert order[7:] == ["teardown", "request_tearing_down", "teardown app", "appcontext_popped", "closed"]


async def test_contexts_follow_into_a_thread_and_a_stream(app: flask.Flask, views: Views, no_blocking: Any) -> None:
    no_blocking.deactivate()  # the view waits for its thread

    @app.get("/<name>")
    def view(name: str) -> Response:
        g.name = name
        found: list[str] = []

        @flask.copy_current_request_context
        def work() -> None:
            found.append(f"{request.path} ")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

        def pieces() -> Any:
            yield found[0]
            wait(asyncio.sleep(0.001))
            yield f"{g.name} {request.args['q']}"

        return Response(flask.stream_with_context(pieces()))

    shim = asgi(app, views=views)
    calls = [Call(shim, f"/{number}?q={number}").body() for number in range(20)]
    for number, call in enumerate(calls):
        assert await call.answer() == (200, f"/{number} {number} {number}".encode())


async def test_requests_do_not_see_each_others_context(app: flask.Flask, views: Views) -> None:
    @app.get("/<name>")
    def view(name: str) -> str:
        g.name, flask.session["name"] = name, name
        for _ in range(5):
            wait(asyncio.sleep(0))
            assert (g.name, request.path, flask.session["name"]) == (name, f"/{name}", name)
        return name

    shim = asgi(app, views=views)
    calls = [Call(shim, f"/{number}").body() for number in range(50)]
    assert [(await call.answer())[1] for call in calls] == [b"%d" % number for number in range(50)]
    assert not flask.has_request_context()


async def test_errors_are_shown_in_debug_mode(app: flask.Flask, views: Views, caplog: Any, no_blocking: Any) -> None:
    no_blocking.deactivate()  # the debugger reads the source

    @app.get("/")
    def broken() -> str:
        raise ValueError("to be seen")

    app.debug = True
    assert (await Call(asgi(app, views=views)).body().answer())[0] == 500
    assert "to be seen" in caplog.text
    app.wsgi_app = DebuggedApplication(app.wsgi_app)  # type: ignore[method-assign]
    status, page = await Call(asgi(app, views=views)).body().answer()
    assert status == 500
    assert b"to be seen" in page


def test_the_application_stays_what_it_is(app: flask.Flask) -> None:
    @app.get("/")
    def view() -> str:
        return "as ever"

    @app.cli.command("hello")
    def hello() -> None:
        print("hello from a command")

    asgi(app)
    assert app.test_client().get("/").text == "as ever"
    assert type(app.test_client()) is FlaskClient
    assert app.test_cli_runner().invoke(args=["hello"]).output == "hello from a command\n"
    group = FlaskGroup(create_app=lambda: app)
    assert "view" in CliRunner().invoke(group, ["routes"]).output


# -- the test client ---------------------------------------------------------------------------------------------------


@pytest.fixture
def client(app: flask.Flask, views: Views) -> FlaskClient:
    @app.route("/count", methods=["GET", "POST"])
    def count() -> Any:
        flask.session["count"] = flask.session.get("count", 0) + 1
        g.seen = "in g"
        return {"count": flask.session["count"], "json": request.get_json(silent=True), "path": request.full_path}

    @app.get("/away")
    def away() -> Any:
        return flask.redirect("/count?from=away")

    @app.get("/raise")
    def raising() -> str:
        raise ZeroDivisionError("to the test")

    @app.post("/upload/ü")
    def upload() -> Any:
        return {"file": request.files["file"].read().decode(), "user": request.remote_user, "addr": request.remote_addr}

    @app.get("/streamed")
    def streamed() -> Response:
        return Response(str(number) for number in range(5))

    return asgi(app, views=views).test_client()


def test_the_test_client_keeps_cookies_and_sessions(client: FlaskClient) -> None:
    assert client.get("/count").json["count"] == 1  # type: ignore[index]
    assert client.post("/count", json={"a": 1}).json == {"count": 2, "json": {"a": 1}, "path": "/count?"}
    with client.session_transaction() as session:
        session["count"] = 41
    response = client.get("/away", follow_redirects=True)
    assert response.json["count"] == 42  # type: ignore[index]
    assert response.request.path == "/count"
    assert len(response.history) == 1


def test_the_test_client_keeps_the_context_of_a_with_block(client: FlaskClient) -> None:
    with client:
        client.get("/count?a=b")
        assert request.args["a"] == "b"
        assert g.seen == "in g"
        assert flask.session["count"] == 1
    assert not flask.has_request_context()


def test_the_test_client_raises_what_the_application_does(client: FlaskClient, app: flask.Flask) -> None:
    assert client.get("/raise").status_code == 500
    app.testing = True
    with pytest.raises(ZeroDivisionError, match="to the test"):
        client.get("/raise")


def test_the_test_client_takes_flasks_arguments(client: FlaskClient) -> None:
    import io

    response = client.post(
        "/upload/ü",
        data={"file": (io.BytesIO(b"content"), "a.txt")},
        environ_overrides={"REMOTE_USER": "ada", "REMOTE_ADDR": "10.1.1.1"},
    )
    assert response.json == {"file": "content", "user": "ada", "addr": "10.1.1.1"}
    assert client.get("/streamed").text == "01234"
    assert client.head("/count").data == b""
    assert client.get("/nowhere").status == "404 NOT FOUND"


# -- from start to stop ------------------------------------------------------------------------------------------------


async def test_a_request_that_runs_when_the_server_stops_may_end(app: flask.Flask, views: Views) -> None:
    @app.get("/")
    def slow() -> str:
        wait(asyncio.sleep(0.5))
        return "done"

    async with AsyncExitStack() as stack:
        async with serve(asgi(app, views=views, grace_s=5)) as url:
            peer = await stack.enter_async_context(Peer.connect(("127.0.0.1", int(url.rpartition(":")[2]))))
            await peer.get("/", "Connection: close")
            await asyncio.sleep(0.1)
        assert (await peer.rest()).endswith(b"done")


async def test_an_endless_stream_ends_with_the_server(app: flask.Flask, views: Views) -> None:
    ends: list[str] = []

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    yield "x"
                    wait(asyncio.sleep(0.01))
            finally:
                ends.append("closed")

        return Response(pieces())

    began = time.monotonic()
    async with connected(asgi(app, views=views, grace_s=0.5)) as peer:
        await peer.get("/")
        assert await peer.status() == 200
    assert ends == ["closed"]
    assert time.monotonic() - began < 5


async def lifespan(shim: Asgi) -> list[str]:
    received: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []
    received.put_nowait({"type": "lifespan.startup"})
    received.put_nowait({"type": "lifespan.shutdown"})

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(shim({"type": "lifespan"}, received.get, send), 10)
    return [message["type"] for message in sent]


async def test_it_starts_and_stops_more_than_once(app: flask.Flask, views: Views) -> None:
    shim = asgi(app, views=views)
    app.add_url_rule("/", view_func=lambda: "x")
    for _ in range(2):
        assert await lifespan(shim) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert await Call(shim).body().answer() == (200, b"x")


async def test_a_wrong_setting_stops_the_start(app: flask.Flask, caplog: Any) -> None:
    app.config["DECANT_BLOCKING_VIEWS"] = ["nowhere"]
    assert await lifespan(asgi(app, views="loop")) == ["lifespan.startup.failed"]
    assert "DECANT_BLOCKING_VIEWS" in caplog.text


@pytest.mark.parametrize("option", [{"threads": 0}, {"idle_s": -1}, {"views": "async"}, {"sockets": 0}])
def test_an_option_that_makes_no_sense_is_named(app: flask.Flask, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        asgi(app, **option)


def test_only_a_flask_application_is_taken() -> None:
    with pytest.raises(TypeError, match=r"flask\.Flask"):
        asgi(lambda environ, start_response: [])  # type: ignore[arg-type]


def test_importing_it_is_light() -> None:
    code = (
        "import sys, decant.flask; assert 'flask' not in sys.modules, 'flask'\n"
        "from decant.flask import asgi; assert callable(asgi)\n"
        "heavy = {'sqlalchemy', 'redis', 'socketio', 'arq'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


async def test_nothing_is_logged_for_clients_that_leave(app: flask.Flask, views: Views, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, "decant")

    @app.get("/")
    def waiting() -> str:
        wait(asyncio.sleep(10))
        return "never"

    shim = asgi(app, views=views)
    for _ in range(5):
        call = Call(shim).body()
        await asyncio.sleep(0.01)
        call.leave()
        await asyncio.wait_for(call.task, 10)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("decant")] == []
