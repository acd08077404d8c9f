"""Flask-SocketIO's API in a Flask application that the shim serves: its handlers, its emits, its test client."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import flask
import pytest
import socketio as client_library
from blockbuster import BlockBuster

from decant import socketio as twins
from decant.faces import face
from decant.faces.values import shown
from decant.flask import asgi, blocking
from decant.socketio import SyncNamespace
from tests.flask.asgi_calls import until
from tests.serving import serve
from tests.socketio.conftest import Client

pytestmark = [
    pytest.mark.usefixtures("polling"),
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
]

emit, send, join_room, call, disconnect = map(
    shown, (twins.emit, twins.send, twins.join_room, twins.call, twins.disconnect)
)
FlaskSocketIO = face(twins.SocketIO)


@pytest.fixture(autouse=True)
def of_the_client(no_blocking: BlockBuster) -> None:
    """aiohttp's client looks for ~/.netrc and the like; it is the test's, not ours."""
    no_blocking.functions["os.stat"].can_block_in("aiohttp/helpers.py", {"netrc_from_env"})


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask("legacy", root_path="/", instance_path="/instance")
    app.secret_key = "legacy"

    @app.get("/login/<name>")
    def login(name: str) -> str:
        flask.session["name"] = name
        return name

    return app


@pytest.fixture
def socketio(app: flask.Flask) -> Any:
    return FlaskSocketIO(app)


@pytest.fixture(params=["threads", "loop"])
async def served(request: pytest.FixtureRequest, app: flask.Flask) -> AsyncIterator[Callable[..., Any]]:
    """``await served()``: the application's URL, its views in threads and on the loop."""
    async with AsyncExitStack() as stack:

        async def begin() -> str:
            return await stack.enter_async_context(serve(asgi(app, views=request.param)))

        yield begin


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    clients: list[Client] = []

    async def connected(url: str, namespace: str = "/", **options: Any) -> Client:
        client = Client()
        client.keep(namespace)
        clients.append(client)
        options.setdefault("transports", ["websocket"])
        await client.connect(url, namespaces=[namespace], wait_timeout=10, **options)
        return client

    yield connected
    for client in clients:
        await client.disconnect()


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]])
async def test_a_synchronous_handler_answers(socketio: Any, served: Any, connect: Any, transports: list[str]) -> None:
    """It has the handshake's request; its value is the acknowledgement, what it emits goes to its client."""

    @socketio.on("my event")
    def handle(data: dict[str, int]) -> list[Any]:
        emit("my response", {"n": data["n"] + 1})
        request: Any = flask.request
        return [request.sid, request.namespace, request.args["q"], flask.request.headers["X-Token"], flask.request.path]

    client = await connect(f"{await served()}?q=é", transports=transports, headers={"X-Token": "t"})
    answer = await client.call("my event", {"n": 1}, timeout=10)
    assert answer == [client.get_sid(), "/", "é", "t", "/socket.io/"]
    assert await client.next() == ("my response", {"n": 2})


async def test_views_and_threads_emit_to_connected_clients(
    app: flask.Flask, socketio: Any, served: Any, connect: Any
) -> None:
    """From a view, from a thread that it starts, and from a background task, without a message queue."""

    def ticks() -> None:
        for number in range(2):
            socketio.sleep(0.01)
            socketio.emit("tick", number)

    @app.get("/news")
    def news() -> str:
        socketio.emit("news", "from a view")
        thread = threading.Thread(target=socketio.emit, args=("news", "from a thread"))
        thread.start()
        socketio.start_background_task(ticks)
        return "emitted"

    url = await served()
    client = await connect(url)
    async with client_library_http() as http, http.get(f"{url}/news") as response:
        assert await response.text() == "emitted"
    received = [await client.next() for _ in range(4)]
    assert sorted(received[:2] + received[2:], key=str) == [
        ("news", "from a thread"),
        ("news", "from a view"),
        ("tick", 0),
        ("tick", 1),
    ]


def client_library_http() -> Any:
    import aiohttp

    return aiohttp.ClientSession()


async def test_a_handler_reads_the_handshakes_headers_as_a_view_does(app: flask.Flask, socketio: Any) -> None:
    """Cookies that HTTP/2 brings one by one, text beyond ASCII, and no header that poses as another."""
    seen: list[Any] = []

    @socketio.on("connect")
    def connected() -> None:
        headers = flask.request.headers
        seen.append((dict(flask.request.cookies), headers["X-Name"], headers.get("X-Forwarded-For")))
        seen.append((flask.request.url, flask.request.root_path, flask.request.remote_addr))
        seen.append(flask.request.event)  # type: ignore[attr-defined]

    messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "40"}]
    answered = asyncio.Event()

    async def receive() -> Any:
        if not messages:
            await answered.wait()
            return {"type": "websocket.disconnect", "code": 1000}
        return messages.pop(0)

    async def send(message: Any) -> None:
        if str(message.get("text", "")).startswith("4"):
            answered.set()

    upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")]
    pairs = [*upgrade, ("cookie", "a=1"), ("cookie", "b=2"), ("x-name", "é"), ("x_forwarded_for", "203.0.113.9")]
    scope = {
        "type": "websocket",
        "http_version": "2",
        "scheme": "wss",
        "path": "/app/socket.io/",
        "root_path": "/app",
        "client": ("10.0.0.9", 4711),
        "server": ("example.test", 443),
        "query_string": b"EIO=4&transport=websocket",
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
    }
    async with asyncio.timeout(10):
        await asgi(app)(scope, receive, send)
    assert seen == [
        ({"a": "1", "b": "2"}, "é".encode().decode("latin1"), None),
        ("https://example.test/app/socket.io/?EIO=4&transport=websocket", "/app", "10.0.0.9"),
        {"message": "connect", "args": (None,)},
    ]


async def test_a_client_has_a_session_of_its_own(app: flask.Flask, socketio: Any, served: Any, connect: Any) -> None:
    """A copy of the user's from the handshake, which handlers may change and the cookie never sees."""

    @socketio.on("count")
    def count() -> list[Any]:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return [flask.session["name"], flask.session["n"]]

    url = await served()
    async with client_library_http() as http, http.get(f"{url}/login/ada") as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    client = await connect(url, headers={"Cookie": cookie})
    assert await client.call("count") == ["ada", 1]
    assert await client.call("count") == ["ada", 2]


class Stored(flask.sessions.SessionInterface):
    """Sessions that are kept on the server, as by Flask-Session."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.saved = 0

    def open_session(self, app: Any, request: Any) -> Any:
        return flask.sessions.SecureCookieSession(self.kept)

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        self.saved += 1
        self.kept = dict(session)


async def test_an_unmanaged_session_is_the_applications(app: flask.Flask, served: Any, connect: Any) -> None:
    """With ``manage_session=False`` an event reads and writes what the session interface stores on the server."""
    app.session_interface = stored = Stored()
    socketio = FlaskSocketIO(app, manage_session=False)

    @socketio.on("count")
    def count() -> int:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return int(flask.session["n"])

    @socketio.on("look")
    def look() -> int:
        return int(flask.session["n"])

    url = await served()
    client, other = await connect(url), await connect(url)
    assert [await client.call("count"), await other.call("count"), await client.call("look")] == [1, 2, 2]
    assert (stored.kept, stored.saved) == ({"n": 2}, 2), "what reads alone stores nothing"


async def test_without_a_secret_key_there_is_no_session_to_store(app: flask.Flask, served: Any, connect: Any) -> None:
    app.secret_key = None
    socketio = FlaskSocketIO(app, manage_session=False)
    socketio.on("look")(lambda: flask.session.get("n", "none"))
    client = await connect(await served())
    assert await client.call("look") == "none"


async def test_an_exit_ends_the_handler_alone(
    app: flask.Flask, socketio: Any, served: Any, connect: Any, caplog: Any
) -> None:
    """``sys.exit()`` in a handler or in a background task does not end the server."""

    @socketio.on("leave")
    def leave() -> None:
        socketio.start_background_task(sys.exit, 4)
        sys.exit(3)

    @socketio.on("quick")
    def quick() -> str:
        return "quick"

    client = await connect(await served())
    await client.emit("leave")
    assert await client.call("quick", timeout=10) == "quick"
    async with asyncio.timeout(10):
        while not ("SystemExit: 3" in caplog.text and "the background task raised SystemExit(4)" in caplog.text):
            await asyncio.sleep(0.01)


async def test_handlers_and_background_tasks_have_threads_of_their_own(
    app: flask.Flask, socketio: Any, connect: Any
) -> None:
    """A handler takes one of the application's; a background task, which may go on for ever, does not."""
    shim, free = asgi(app, threads=2), threading.Event()

    def task() -> None:
        socketio.emit("runs", flask.current_app.name)
        free.wait(10)

    @socketio.on("busy")
    def busy() -> int:
        return shim.threads.busy

    @socketio.on("start")
    def start() -> None:
        socketio.start_background_task(task)

    async with serve(shim) as url:
        client = await connect(url)
        await client.call("start", timeout=10)
        assert await client.next() == ("runs", app.name)
        assert await client.call("busy", timeout=10) == 1, "its own"
        free.set()
        await client.disconnect()


async def test_a_connection_is_refused_and_an_error_is_heard(socketio: Any, served: Any, connect: Any) -> None:
    """``False`` from ``connect`` refuses; what a handler raises goes to ``on_error``, whose value is the answer."""
    errors: list[Exception] = []

    @socketio.on("connect")
    def connected(auth: dict[str, str] | None) -> bool:
        if auth and auth["token"] == "banned":
            raise ConnectionRefusedError("banned")
        return bool(auth and auth["token"] == "right")

    @socketio.on("fail")
    def fail() -> None:
        raise LookupError("a bug")

    @socketio.on_error()
    def heard(error: Exception) -> str:
        errors.append(error)
        return f"heard: {error}"

    url = await served()
    with pytest.raises(client_library.exceptions.ConnectionError):
        await connect(url, auth={"token": "wrong"})
    with pytest.raises(client_library.exceptions.ConnectionError):
        await connect(url, auth={"token": "banned"})
    assert errors == []
    client = await connect(url, auth={"token": "right"})
    assert await client.call("fail") == "heard: a bug"


async def test_rooms_and_disconnect(socketio: Any, served: Any, connect: Any) -> None:
    left: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    @socketio.on("join")
    def join(room: str) -> list[str]:
        join_room(room)
        return sorted(twins.rooms())

    @socketio.on("leave")
    def leave() -> None:
        disconnect()

    @socketio.on("disconnect")
    def gone(reason: str) -> None:
        loop.call_soon_threadsafe(left.put_nowait, reason)

    url = await served()
    inside, outside = await connect(url), await connect(url)
    assert "blue" in await inside.call("join", "blue")
    await asyncio.to_thread(socketio.emit, "to blue", 1, to="blue")
    await asyncio.to_thread(socketio.emit, "to all", 2)
    assert await inside.next() == ("to blue", 1)
    assert await outside.next() == ("to all", 2)
    await outside.emit("leave")
    assert await asyncio.wait_for(left.get(), 10) == "server disconnect"


async def test_a_class_based_namespace(socketio: Any, served: Any, connect: Any) -> None:
    class Chat(SyncNamespace):
        def on_say(self, text: str) -> str:
            self.emit("said", text.upper())
            self.enter_room(flask.request.sid, "talkers")  # type: ignore[attr-defined]
            return "ok"

    socketio.on_namespace(Chat("/chat"))
    client = await connect(await served(), "/chat")
    assert await client.call("say", "hello", namespace="/chat") == "ok"
    assert await client.next() == ("said", "HELLO")


async def test_a_handler_waits_for_its_client_and_others_go_on(socketio: Any, served: Any, connect: Any) -> None:
    """``call`` in a handler, in a thread and on the loop."""

    @socketio.on("ask me")
    def ask_me() -> Any:
        return call("question", 20, timeout=10)

    @socketio.on("quick")
    def quick() -> str:
        return "quick"

    url = await served()
    asked, other = await connect(url), await connect(url)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def question(n: int) -> int:
        arrived.set()
        await go_on.wait()
        return n + 1

    asked.on("question", question)
    asking = asyncio.create_task(asked.call("ask me", timeout=10))
    await asyncio.wait_for(arrived.wait(), 10)
    assert await other.call("quick", timeout=10) == "quick"
    go_on.set()
    assert await asking == 21


@pytest.mark.parametrize(("views", "name"), [("threads", "decant"), ("loop", "MainThread")])
async def test_where_handlers_run(app: flask.Flask, socketio: Any, connect: Any, views: Any, name: str) -> None:
    """In a thread or on the loop, as views do; what is marked as blocking always in a thread."""
    socketio.on("here")(lambda: threading.current_thread().name)
    socketio.on("blocks")(blocking(lambda: threading.current_thread().name))

    @socketio.on("waits")
    async def waits() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    async with serve(asgi(app, views=views)) as url:
        client = await connect(url)
        assert (await client.call("here")).startswith(name)
        assert (await client.call("blocks")).startswith("decant")
        assert await client.call("waits") == "MainThread"
        await client.disconnect()  # for which Hypercorn would wait, on Python 3.12 and newer


async def test_a_handler_that_holds_the_loop_is_told_by_its_functions_name(
    app: flask.Flask, socketio: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by the event's, which clients choose."""

    @socketio.on("*")
    def holds(event: str, data: Any = None) -> str:
        end = time.thread_time() + 0.3
        while time.thread_time() < end:
            sum(range(100))
        return event

    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "decant.flask.watchdog"]

    with caplog.at_level(logging.WARNING, "decant.flask.watchdog"):
        async with serve(asgi(app, views="loop")) as url:
            client = await connect(url)
            assert await client.call("from outside") == "from outside"
            await until(told)  # it looks now and then
            await client.disconnect()
    [record] = told()
    assert "the Socket.IO handler 'test_a_handler_that_holds_the_loop" in record.getMessage()
    assert record.__dict__["endpoint"].startswith("socketio:test_a_handler")
    assert record.__dict__["file"] == __file__


async def test_clients_are_told_when_the_server_stops(app: flask.Flask, socketio: Any) -> None:
    """By the end of the lifespan; that Hypercorn comes to it in time is what ``decant serve`` sees to."""
    client = Client()
    ended = asyncio.Event()
    client.on("disconnect", lambda *args: ended.set())
    site = asgi(app)
    async with serve(site) as url:
        await client.connect(url, transports=["websocket"], wait_timeout=10)
        await site.lifespan.stop()
        await asyncio.wait_for(ended.wait(), 10)


def test_the_test_client(app: flask.Flask, socketio: Any) -> None:
    """Flask-SocketIO's, with the cookies of the application's own test client; not on a loop."""

    @socketio.on("who")
    def who() -> str:
        emit("hello", flask.session["name"])
        return "asked"

    browser = app.test_client()
    browser.get("/login/ada")
    client = socketio.test_client(app, flask_test_client=browser)
    assert client.is_connected()
    assert client.emit("who", callback=True) == "asked"
    assert client.get_received() == [{"name": "hello", "args": ["ada"], "namespace": "/"}]
    client.disconnect()
    assert not client.is_connected()
