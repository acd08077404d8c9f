"""What only a real server shows: Hypercorn, sockets, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import psutil
import pytest

from decant import Quart, wait
from decant.errors import DatabaseUnavailable
from decant.quart import g, make_response, on_loop, request, session, stream_with_context, websocket
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


async def until(condition: Any) -> None:
    """Wait, at most a minute."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", ["async", "wait", "thread"])
async def test_a_client_that_goes_away_does_not_stop_the_teardown(app: Quart, served: Any, kind: str) -> None:
    """The handler is cancelled, wherever it waits; the hooks, which wait as well, run to their end."""
    events: list[str] = []

    async def forever() -> None:
        events.append("working")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    async def view() -> str:
        await forever()
        return ""

    def waiting() -> str:
        wait(forever())
        return ""

    app.add_url_rule("/", view_func={"async": view, "wait": on_loop(waiting), "thread": lambda: waiting()}[kind])

    @app.teardown_request
    async def roll_back(error: BaseException | None) -> None:
        await asyncio.sleep(0.01)
        events.append(f"rolled back after {type(error).__name__}")

    @app.teardown_appcontext
    def give_back(error: BaseException | None) -> None:
        wait(asyncio.sleep(0.01))
        if events:  # not that of the start
            events.append("given back")

    async with Peer.connect(await served(app)) as peer:
        await peer.get("/")
        await until(lambda: events)
        peer.abort()
        await until(lambda: "given back" in events)
    assert events == ["working", "cancelled", "rolled back after CancelledError", "given back"]


async def test_a_client_that_goes_away_during_the_teardown_changes_nothing(app: Quart, served: Any) -> None:
    """The hook that is running is not cut off in the middle."""
    events: list[str] = []

    @app.get("/")
    async def view() -> str:
        return "done"

    @app.teardown_request
    async def slow(error: BaseException | None) -> None:
        events.append("begun")
        await asyncio.sleep(0.1)
        events.append("ended")

    async with Peer.connect(await served(app)) as peer:
        await peer.get("/")
        await until(lambda: events)
        peer.abort()
        await until(lambda: "ended" in events)
    assert events == ["begun", "ended"]


async def test_a_client_that_closes_after_its_answer_does_not_stop_call_on_close(app: Quart, served: Any) -> None:
    """Every function is called and runs to its end, though the client has gone and the one before has failed."""
    events: list[str] = []

    @app.get("/")
    async def view() -> Any:
        response = await make_response("answer")

        @response.call_on_close
        async def slow() -> None:
            events.append("begun")
            await gone.wait()
            await asyncio.sleep(0.1)
            events.append("ended")
            raise LookupError("in call_on_close")

        response.call_on_close(lambda: events.append("last"))
        return response

    gone = asyncio.Event()
    async with Peer.connect(await served(app)) as peer:
        await peer.get("/")
        await peer.reader.readuntil(b"answer")
        peer.abort()
        gone.set()
        await until(lambda: "last" in events)
    assert events == ["begun", "ended", "last"]


async def test_a_teardown_that_hangs_is_given_up(app: Quart, served: Any, caplog: pytest.LogCaptureFixture) -> None:
    """After TEARDOWN_TIMEOUT it is cancelled, and the log says what hung."""
    app.config["TEARDOWN_TIMEOUT"] = 0.1
    events: list[str] = []

    @app.get("/")
    async def view() -> None:
        events.append("working")
        await asyncio.Event().wait()

    @app.teardown_request
    async def hangs(error: BaseException | None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("given up")

    async with Peer.connect(await served(app)) as peer:
        await peer.get("/")
        await until(lambda: events)
        peer.abort()
        await until(lambda: "given up" in events)
    assert "did not end within 0.1 s of its cancellation" in caplog.text


async def test_a_stream_that_nobody_reads_any_more_is_closed(app: Quart, served: Any) -> None:
    """Its generator is closed and its context torn down, though it would go on for ever."""
    events: list[str] = []

    @app.get("/")
    async def view() -> Any:
        g.x = "kept"

        async def pieces() -> Any:
            try:
                while True:
                    yield b"x" * 1000
                    await asyncio.sleep(0.001)
            finally:
                events.append("closed")

        return app.response_class(stream_with_context(pieces()))

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        events.append(f"torn down, {g.x}")

    async with Peer.connect(await served(app)) as peer:
        await peer.get("/")
        assert await peer.status() == 200
        peer.abort()
        await until(lambda: len(events) == 2)
    assert sorted(events) == ["closed", "torn down, kept"]


async def test_a_stream_may_last_longer_than_the_response_timeout(app: Quart, served: Any) -> None:
    """RESPONSE_TIMEOUT bounds each piece of a stream, not the whole (FLASK_COMPAT)."""
    app.config["RESPONSE_TIMEOUT"] = 0.5

    @app.get("/")
    async def view() -> Any:
        async def pieces() -> Any:
            for _ in range(8):
                yield b"x"
                await asyncio.sleep(0.1)

        return app.response_class(pieces(), content_type="text/plain")

    async with Peer.connect(await served(app)) as peer:
        await peer.get("/", "Connection: close")
        assert (await peer.rest()).count(b"x\r\n") == 8


async def test_a_slow_body_times_out(app: Quart, served: Any) -> None:
    """408 when the rest of a body does not come within BODY_TIMEOUT, awaited or iterated over."""
    app.config["BODY_TIMEOUT"] = 0.1

    @app.post("/whole")
    async def whole() -> Any:
        return await request.get_data()

    @app.post("/pieces")
    async def pieces() -> Any:
        async for _ in request.body:
            pass
        return "read"

    @app.post("/form")
    async def form() -> Any:
        return dict(await request.form)

    address = await served(app)
    for path in ("/whole", "/pieces", "/form"):
        async with Peer.connect(address) as peer:
            await peer.send(f"POST {path} HTTP/1.1", "Host: a", "Content-Length: 9", f"Content-Type: {FORM}")
            await peer.send(b"a=1")
            assert await peer.status() == 408, path


async def test_a_body_waits_for_its_reader(app: Quart, served: Any) -> None:
    """100 MB for a view that has not begun to read: what has arrived is not held in memory."""
    app.config["MAX_CONTENT_LENGTH"] = None
    go = asyncio.Event()

    @app.post("/")
    async def view() -> Any:
        await go.wait()
        size = 0
        async for piece in request.body:
            size += len(piece)
        return str(size)

    address = await served(app)
    memory = await asyncio.to_thread(Memory().__enter__)
    async with Peer.connect(address) as peer:
        uploading = asyncio.create_task(upload(peer, 100, "x/y"))
        await asyncio.sleep(0.3)
        assert not uploading.done()
        go.set()
        assert await uploading == 200
        assert b"104857600" in await asyncio.wait_for(peer.reader.readuntil(b"104857600"), 60)
    await asyncio.to_thread(memory.__exit__)
    assert memory.peak < 20 * 1024 * 1024


MALFORMED = [
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: session=\xff\xfe; a\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /?a=%ff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /?a=\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b:c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET //evil/%2e%2e/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=9-1\r\nIf-Modified-Since: never\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=\xff\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 3\r\n\r\n--b",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\n\xff%z",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: \xff;;=\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n\xff\xfe{",
]


@pytest.mark.parametrize("sent", MALFORMED)
async def test_malformed_requests_are_never_a_server_error(app: Quart, served: Any, sent: bytes) -> None:
    """Whatever is sent: an answer below 500, or the connection is closed by the server; nothing is logged."""
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.route("/", methods=["GET", "POST"])
    async def view() -> Any:
        session["seen"] = request.args.get("a")
        parts = [request.url, str(request.authorization), str(request.accept_languages), request.host]
        parts += [str(len(await request.form)), str(len(await request.files)), str(request.range)]
        return " ".join(parts)

    @app.post("/json")
    async def json_view() -> Any:
        return {"json": await request.get_json()}

    async with Peer.connect(await served(app)) as peer:
        await peer.send(sent)
        line = await asyncio.wait_for(peer.reader.readline(), 60)
        assert not line or int(line.split()[1]) < 500, line


async def test_hundreds_of_clients_that_go_away_leave_nothing(app: Quart, served: Any) -> None:
    """Every one of 300 requests that are cut off has been torn down; no task and no thread is left."""
    held = 0
    most = 0

    @app.before_request
    async def take() -> None:
        nonlocal held, most
        held += 1
        most = max(most, held)

    @app.get("/")
    def view() -> str:
        wait(asyncio.sleep(60))
        return ""

    @app.teardown_request
    async def give_back(error: BaseException | None) -> None:
        nonlocal held
        await asyncio.sleep(0)
        held -= 1

    address = await served(app)
    before = None
    for _ in range(6):
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(Peer.connect(address)) for _ in range(50)]
            for peer in peers:
                await peer.get("/")
            await until(lambda: held == 50)
            for peer in peers:
                peer.abort()
        await until(lambda: held == 0)
        if before is None:  # the server has started its own tasks by now
            await asyncio.sleep(0.1)
            before = len(asyncio.all_tasks())
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert most == 50
    assert (app.threads.busy, app.threads.queued) == (0, 0)


async def websocket_client(address: tuple[str, int], path: str = "/") -> Any:
    """Open a WebSocket by hand; gives the reader and the writer after the handshake."""
    reader, writer = await asyncio.open_connection(*address)
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: a",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
    )
    writer.write(
        "\r\n".join(
            [*lines, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
        ).encode()
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    return reader, writer, int(head.split()[1])


def frame(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def test_a_websocket_talks_waits_and_is_torn_down(app: Quart, served: Any) -> None:
    """Handlers may wait; the close code is there in finally and in teardown_websocket.

    Hypercorn 0.18 tells its applications 1006, whatever the client said.
    """
    seen: list[Any] = []

    @app.websocket("/")
    async def view() -> None:
        try:
            while True:
                message = await websocket.receive()
                await websocket.send(wait(asyncio.sleep(0, message)))
        finally:
            seen.append(websocket.close_code)

    @app.teardown_websocket
    async def teardown(error: BaseException | None) -> None:
        await asyncio.sleep(0.01)
        seen.append(websocket.close_code)

    reader, writer, status = await websocket_client(await served(app))
    assert status == 101
    writer.write(frame(1, b"hello"))
    assert (await asyncio.wait_for(reader.readexactly(7), 60))[2:] == b"hello"
    writer.write(frame(8, (4001).to_bytes(2) + b"bye"))
    await until(lambda: len(seen) == 2)
    writer.close()
    assert seen == [1006, 1006]


@pytest.mark.parametrize(
    ("closing", "expected"),
    [({"code": 4001, "reason": "bye"}, (4001, "bye")), ({"code": 1000}, (1000, "")), ({}, (1005, ""))],
)
async def test_a_websocket_keeps_the_code_that_the_server_passes_on(
    app: Quart, closing: dict[str, Any], expected: tuple[int, str]
) -> None:
    """What ASGI's websocket.disconnect says; None while it is open."""
    seen: list[Any] = []

    @app.websocket("/")
    async def view() -> None:
        seen.append(websocket.close_code)
        try:
            await websocket.receive()
        finally:
            seen.append((websocket.close_code, websocket.close_reason))

    events = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", **closing}])

    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return next(events)

    async def send(message: Any) -> None:
        pass

    scope: Any = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "scheme": "ws",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    with contextlib.suppress(asyncio.CancelledError):
        await app(scope, receive, send)
    assert seen == [None, expected]


async def test_a_websocket_is_refused_with_503_when_a_server_is_down(app: Quart, served: Any) -> None:
    """Unavailable before it is accepted: the handshake is answered with 503."""

    @app.websocket("/")
    async def view() -> None:
        raise DatabaseUnavailable("gone")

    _, writer, status = await websocket_client(await served(app))
    writer.close()
    assert status == 503
