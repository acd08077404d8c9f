"""Sessions, background tasks, the test client, and what is wrong at the start."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import flask
import pytest
from quart import current_app, request, session
from quart.sessions import SecureCookieSession, SessionInterface

from decant import wait
from decant.errors import ConfigError
from decant.faces import face
from decant.quart import Quart
from decant.socketio import (
    Namespace,
    SocketIO,
    emit,
    engine_options,
)
from tests.socketio.conftest import make_app, names

pytestmark = pytest.mark.parity(
    "socketio", "test_client(app, namespace, query_string, headers, auth, flask_test_client)"
)


@pytest.mark.parity("socketio", "manage_session")
async def test_the_session_of_http_and_events(app: Quart, socketio: SocketIO) -> None:
    """With the HTTP test client's cookies an event sees its session; by default its changes stay the client's own.

    The application's session interface stays what it was for everybody else.
    """

    @app.get("/login")
    async def login() -> str:
        session["user"] = "ann"
        return ""

    @app.get("/who")
    async def who() -> dict[str, Any]:
        return dict(session)

    @socketio.event
    async def change() -> list[Any]:
        before = dict(session)
        session["n"] = session.get("n", 0) + 1
        return [before]

    kind = type(app.session_interface)
    http = app.test_client()
    await http.get("/login")
    client = await socketio.test_client(app, flask_test_client=http)
    assert await client.emit("change", callback=True) == [{"user": "ann"}]
    assert await client.emit("change", callback=True) == [{"user": "ann", "n": 1}]
    assert socketio.server.environ[client.eio_sid]["saved_session"] == {"user": "ann", "n": 2}
    assert await (await http.get("/who")).get_json() == {"user": "ann"}
    assert isinstance(app.session_interface, kind)


@pytest.mark.parity("socketio", "manage_session")
async def test_a_client_has_one_session_however_long_it_takes_to_open(app: Quart, socketio: SocketIO) -> None:
    """Events that come at once, while the session is still fetched, change the same one."""
    opened, waiting = asyncio.Event(), asyncio.Semaphore(0)

    class Fetched(SessionInterface):
        async def open_session(self, app: Any, request: Any) -> SecureCookieSession:
            waiting.release()
            await opened.wait()
            return SecureCookieSession({"user": "ann"})

        async def save_session(self, *_: Any) -> None: ...

    @socketio.event
    async def add(name: str) -> list[str]:
        session[name] = True
        return sorted(session)

    app.session_interface = Fetched()
    client = await socketio.test_client(app)
    adding = [asyncio.create_task(client.emit("add", name)) for name in ("a", "b")]
    for _ in adding:
        await waiting.acquire()
    opened.set()
    await asyncio.gather(*adding)
    assert await client.emit("add", "c", callback=True) == ["a", "b", "c", "user"]


@pytest.mark.parity("socketio", "manage_session")
async def test_an_unmanaged_session_is_the_application_s() -> None:
    """With ``manage_session=False`` an event reads and writes what the session interface stores on the server."""

    class Stored(SessionInterface):
        stored: dict[str, Any] = {}

        async def open_session(self, app: Any, request: Any) -> SecureCookieSession:
            return SecureCookieSession(self.stored)

        async def save_session(self, app: Any, session: Any, response: Any) -> None:
            if session.modified:
                type(self).stored = dict(session)

    app = make_app()
    app.session_interface = Stored()
    socketio = SocketIO(app, manage_session=False)

    @socketio.event
    async def change() -> None:
        session["n"] = session.get("n", 0) + 1

    client = await socketio.test_client(app)
    await client.emit("change")
    await client.emit("change")
    assert Stored.stored == {"n": 2}


@pytest.mark.parity("socketio", "start_background_task(target,*a,**k), sleep(seconds)")
async def test_background_tasks(app: Quart, socketio: SocketIO) -> None:
    """They have the application's context, may emit, and can be joined; sync ones run in a thread."""

    async def tell(name: str, n: int = 0) -> str:
        await socketio.sleep(0)
        await socketio.emit("told", [name, n])
        return current_app.name

    def tell_sync() -> bool:
        wait(socketio.emit("told", "sync"))
        return threading.current_thread() is threading.main_thread()

    @socketio.event
    def start() -> None:
        started.append(socketio.start_background_task(tell, "thread"))

    started: list[Any] = []
    client = await socketio.test_client(app)
    task = socketio.start_background_task(tell, "a", n=1)
    await task.join()
    assert await task == "app"
    assert await socketio.start_background_task(tell_sync) is False
    assert names(client) == [("told", [["a", 1]]), ("told", ["sync"])]
    early = socketio.start_background_task(tell, "early")
    async with app.test_app():
        await client.emit("start")
        await asyncio.gather(early.join(), *(task.join() for task in started))
    assert sorted(event[1][0][0] for event in names(client)) == ["early", "thread"]


@pytest.mark.parity("socketio", "start_background_task(target,*a,**k), sleep(seconds)")
async def test_background_tasks_start_from_any_thread(app: Quart, socketio: SocketIO) -> None:
    """In a synchronous handler, served or not; in a thread that belongs to nobody, once the application serves."""
    seen = asyncio.Queue[str]()

    @socketio.event
    def start(name: str) -> None:
        socketio.start_background_task(seen.put, name)

    client = await socketio.test_client(app)
    await client.emit("start", "not served")
    assert await asyncio.wait_for(seen.get(), 10) == "not served"
    async with app.test_app():
        threading.Thread(target=socketio.start_background_task, args=(seen.put, "a thread")).start()
        assert await asyncio.wait_for(seen.get(), 10) == "a thread"


async def test_endless_background_tasks_end_with_the_application() -> None:
    app = make_app(SOCKETIO_SHUTDOWN_TIMEOUT_S=0.2)
    socketio = SocketIO(app)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def for_ever() -> None:
        try:
            begun.set()
            while True:
                await socketio.sleep(60)
        finally:
            ended.set()

    async with app.test_app():
        socketio.start_background_task(for_ever)
        await begun.wait()
    assert ended.is_set()


async def test_a_disconnect_handler_that_hangs_does_not_hold_up_the_end() -> None:
    """It is cancelled in time, and the next client's still runs."""
    app = make_app(SOCKETIO_SHUTDOWN_TIMEOUT_S=1.0)
    socketio = SocketIO(app)
    ended: list[str] = []

    @socketio.on("disconnect")
    async def disconnected(reason: str) -> None:
        try:
            if request.args["who"] == "first":
                await asyncio.Event().wait()
        finally:
            ended.append(f"{request.args['who']}: {reason}")

    async with asyncio.timeout(20):
        async with app.test_app():
            for who in ("first", "second"):
                await socketio.test_client(app, query_string=f"who={who}")
    assert sorted(ended) == ["first: server disconnect", "second: server disconnect"]


@pytest.mark.parity("socketio", "SocketIOTestClient")
async def test_what_the_test_client_knows(app: Quart, socketio: SocketIO) -> None:
    """What has come, by namespace, and what was answered besides."""

    @socketio.on("connect", namespace="/b")
    async def connected() -> None:
        await emit("welcome", "b")

    @socketio.event
    async def ask(*values: int) -> tuple[int, ...]:
        await emit("asked", len(values))
        return values

    client = await socketio.test_client(app)
    await client.connect("/b")
    assert (client.connected, client.is_connected("/c")) == ({"/": True, "/b": True}, False)
    assert await client.emit("ask", 1, 2, callback=True) == [1, 2]
    assert await client.emit("ask", 1, callback=True) == 1
    assert await client.emit("ask") is None
    assert client.acks is None
    assert client.queue[0] == {"name": "welcome", "args": ["b"], "namespace": "/b"}
    assert names(client) == [("asked", [2]), ("asked", [1]), ("asked", [0])]
    assert names(client) == []
    assert names(client, "/b") == [("welcome", ["b"])]
    assert client.eio_sid in socketio.server.eio.sockets


@pytest.mark.parity("socketio", "attributes")
async def test_what_an_extension_knows(app: Quart) -> None:
    async def handle() -> None: ...

    def heard(error: Exception) -> None: ...

    socketio = SocketIO(ping_timeout=7)
    socketio.on_event("x", handle, namespace="/a")
    socketio.on_error("/a")(heard)
    socketio.on_error_default(heard)
    socketio.on_namespace(Namespace("/n"))
    socketio.init_app(app, path="live")
    assert app.extensions["socketio"] is socketio
    assert socketio.handlers == {"/a": {"x": handle}}
    assert socketio.namespace_handlers.keys() == {"/n"}
    assert socketio.exception_handlers == {"/a": heard}
    assert socketio.default_exception_handler is heard
    assert socketio.server_options == {"ping_timeout": 7, "path": "live"}
    assert socketio.server.eio.ping_timeout == 7
    assert app.asgi_app is socketio.sockio_mw
    assert (socketio.async_mode, SocketIO.reason.PING_TIMEOUT) == ("asgi", "ping timeout")


@pytest.mark.parity("socketio", "SocketIOTestClient")
async def test_the_test_client_s_handshake(app: Quart, socketio: SocketIO) -> None:
    @socketio.event
    async def ask() -> dict[str, Any]:
        return {"q": request.args.get("q"), "x": request.headers.get("X-Y"), "path": request.path}

    client = await socketio.test_client(app, query_string="?q=1", headers={"X-Y": "z"})
    assert await client.emit("ask", callback=True) == {"q": "1", "x": "z", "path": "/socket.io/"}
    await client.disconnect()
    await client.connect(query_string="q=2")
    assert await client.emit("ask", callback=True) == {"q": "2", "x": None, "path": "/socket.io/"}


@pytest.mark.parametrize(
    ("options", "config", "text"),
    [
        ({"message_queue": "kafka://x"}, {}, "message_queue"),
        ({}, {"SOCKETIO_MESSAGE_QUEUE": "amqp://user:secret@host"}, "SOCKETIO_MESSAGE_QUEUE"),
        ({"transports": ["pigeon"]}, {}, "pigeon"),
        ({"transports": []}, {}, "SOCKETIO_TRANSPORTS"),
        ({"ping_timeout": 0}, {}, "SOCKETIO_PING_TIMEOUT"),
        ({"ping_interval": (25, "x")}, {}, "SOCKETIO_PING_INTERVAL"),
        ({}, {"SOCKETIO_PING_INTERVAL": "25"}, "SOCKETIO_PING_INTERVAL"),
        ({"serializer": "pickle"}, {}, "SOCKETIO_SERIALIZER"),
        ({"json": 5}, {}, "SOCKETIO_JSON"),
        ({"namespaces": 5}, {}, "SOCKETIO_NAMESPACES"),
        ({"cors_allowed_origins": 5}, {}, "SOCKETIO_CORS_ALLOWED_ORIGINS"),
        ({"compression_threshold": "1 kB"}, {}, "SOCKETIO_COMPRESSION_THRESHOLD"),
        ({}, {"SOCKETIO_ASYNC_HANDLERS": "no"}, "True or False"),
        ({"cookie": True}, {}, "SOCKETIO_COOKIE"),
        ({"client_manager": "redis"}, {}, "SOCKETIO_CLIENT_MANAGER"),
        ({"logger": "x"}, {}, "SOCKETIO_LOGGER"),
        ({}, {"SOCKETIO_MAX_BUFFER": "many"}, "SOCKETIO_MAX_BUFFER"),
        ({}, {"SOCKETIO_WHEN_AWAY": "forget"}, "'keep' or 'drop'"),
    ],
)
def test_a_wrong_option_stops_the_start(options: dict[str, Any], config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        SocketIO(make_app(**config), **options)
    assert "secret" not in str(caught.value)


@pytest.mark.parity("socketio", "json, serializer")
def test_message_pack_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_options, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="package msgpack"):
        SocketIO(make_app(), serializer="msgpack")


@pytest.mark.parity("socketio", "message_queue URL")
async def test_a_flask_application_that_reaches_nobody_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """It emits to no one where it serves no clients and has no message queue: under Gunicorn, say."""
    app = await asyncio.to_thread(lambda: flask.Flask("legacy"))
    socketio = face(SocketIO)()
    socketio.init_app(app)
    await asyncio.to_thread(socketio.emit, "news", 1)
    assert "Emitted to nobody" in caplog.text


@pytest.mark.parity("socketio", "async_mode")
def test_unknown_options_and_old_ones(app: Quart) -> None:
    """A typing error is refused; the ``async_mode`` of old tutorials is accepted with a warning."""
    with pytest.raises(TypeError, match="ping_intervall"):
        SocketIO(make_app(), ping_intervall=3)
    with pytest.warns(DeprecationWarning, match="eventlet"):
        socketio = SocketIO(app, async_mode="eventlet")
    assert socketio.async_mode == "asgi"
