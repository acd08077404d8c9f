"""Handlers, what they may call, and the test client: each row of Flask-SocketIO's interface."""

from __future__ import annotations

import asyncio
import builtins
import datetime
import threading
from functools import partial
from typing import Any

import flask
import msgspec
import pytest
from quart import current_app, g, request, session
from quart.sessions import SecureCookieSession, SessionInterface
from socketio import packet
from socketio.packet import Packet

from decant import wait
from decant.errors import ConfigError
from decant.faces import face
from decant.quart import Quart
from decant.socketio import (
    CallTimeout,
    ConnectionRefusedError,  # noqa: A004
    Namespace,
    SocketIO,
    SocketIOTestClient,
    call,
    close_room,
    disconnect,
    emit,
    engine_options,
    join_room,
    leave_room,
    manager,
    rooms,
    send,
)
from tests.socketio.conftest import make_app

pytestmark = pytest.mark.parity(
    "socketio", "test_client(app, namespace, query_string, headers, auth, flask_test_client)"
)


def names(client: SocketIOTestClient, namespace: str | None = None) -> list[Any]:
    return [(event["name"], event["args"]) for event in client.get_received(namespace)]


@pytest.mark.parity("socketio", "@on(message, namespace=None)")
@pytest.mark.parity("socketio", "@event / @event(namespace=)")
@pytest.mark.parity("socketio", "on_event(message, handler, namespace=None)")
async def test_handlers_are_registered_in_each_way(app: Quart, socketio: SocketIO) -> None:
    """As a decorator, stacked, by the function's name, by a call; and they stay what they were."""

    @socketio.on("one")
    @socketio.on("two")
    async def numbered(*args: Any) -> list[Any]:
        return list(args)

    @socketio.event
    def by_name() -> str:
        return "by name"

    @socketio.event(namespace="/other")
    def elsewhere() -> str:
        return "elsewhere"

    socketio.on_event("called", numbered)
    assert asyncio.iscoroutinefunction(numbered)
    client = await socketio.test_client(app)
    assert await client.emit("one", 1, callback=True) == [1]
    assert await client.emit("two", 1, "b", callback=True) == [1, "b"]
    assert await client.emit("called", {"a": [1]}, callback=True) == [{"a": [1]}]
    assert await client.emit("by_name", callback=True) == "by name"
    await client.connect("/other")
    assert await client.emit("elsewhere", callback=True, namespace="/other") == "elsewhere"


@pytest.mark.parity("socketio", "@on(message, namespace=None)")
@pytest.mark.parity("socketio", "send(message, json, …)")
async def test_messages_and_json_are_events_without_a_name(app: Quart, socketio: SocketIO) -> None:
    @socketio.on("message")
    async def message(text: str) -> None:
        await send(text.upper())

    @socketio.on("json")
    async def json(value: Any) -> None:
        await send(value, json=True)

    client = await socketio.test_client(app)
    await client.send("abc")
    await client.send({"a": 1}, json=True)
    assert names(client) == [("message", "ABC"), ("json", {"a": 1})]


@pytest.mark.parity("socketio", "@on(message, namespace=None)")
async def test_an_asterisk_catches_what_nothing_else_handles(app: Quart) -> None:
    """Events without a handler go to ``*`` with their name; namespaces without one to the namespace ``*``."""
    socketio = SocketIO(app, namespaces="*")

    @socketio.on("known")
    async def known() -> str:
        return "known"

    @socketio.on("*")
    async def unknown(event: str, *args: Any) -> list[Any]:
        return [event, *args]

    @socketio.on("where", namespace="*")
    async def where(value: int) -> list[Any]:
        return [request.namespace, value]

    client = await socketio.test_client(app)
    assert await client.emit("known", callback=True) == "known"
    assert await client.emit("other", 1, callback=True) == ["other", 1]
    await client.connect("/any")
    assert await client.emit("where", 2, callback=True, namespace="/any") == ["/any", 2]


@pytest.mark.parity("socketio", "connect handler")
async def test_a_connection_may_be_refused(app: Quart, socketio: SocketIO) -> None:
    """By ``False`` or by an exception; the handler has the client's ``auth``, or takes nothing."""

    @socketio.on("connect")
    async def connected(auth: Any) -> bool | None:
        if auth == "rude":
            raise ConnectionRefusedError("go away")
        if auth == "builtin":
            raise builtins.ConnectionRefusedError("go away")
        if auth == "broken":
            raise LookupError("a bug")
        return None if auth == {"token": "t"} else False

    @socketio.on("connect", namespace="/open")
    def open_to_all() -> None:
        g.seen = True

    assert (await socketio.test_client(app, auth={"token": "t"})).is_connected()
    with pytest.raises(LookupError, match="a bug"):
        await socketio.test_client(app, auth="broken")
    for auth in (None, "rude", "builtin", {"token": "x"}):
        client = await socketio.test_client(app, auth=auth)
        assert not client.is_connected(), auth
        with pytest.raises(RuntimeError, match="not connected"):
            await client.emit("x")
    assert (await socketio.test_client(app, namespace="/open")).is_connected("/open")
    assert not (await socketio.test_client(app, namespace="/unknown")).is_connected("/unknown")


@pytest.mark.parity("socketio", "@on(message, namespace=None)")
@pytest.mark.parity("socketio", "SocketIOTestClient")
async def test_a_disconnection_says_why(app: Quart, socketio: SocketIO) -> None:
    """A ``disconnect`` handler takes the reason, or nothing."""
    seen: list[Any] = []

    @socketio.on("connect", namespace="/b")
    def connected() -> None: ...

    @socketio.on("disconnect")
    async def with_reason(reason: str) -> None:
        seen.append((reason, request.sid is not None))

    @socketio.on("disconnect", namespace="/b")
    def without() -> None:
        seen.append("b")

    client = await socketio.test_client(app)
    await client.connect("/b")
    await client.disconnect()
    await client.disconnect("/b")
    assert seen == [(SocketIO.reason.CLIENT_DISCONNECT, True), "b"]
    with pytest.raises(RuntimeError, match="not connected"):
        await client.disconnect()
    with pytest.raises(RuntimeError, match="not connected"):
        client.get_received()


@pytest.mark.parity("socketio", "@on_error(namespace=None), @on_error_default")
async def test_errors_go_to_their_handlers(app: Quart, socketio: SocketIO) -> None:
    """That of the namespace, or the default one; what it returns is the answer. It sees the event's request.

    What no handler takes, the test client raises.
    """

    async def boom(*_: Any) -> None:
        raise LookupError("boom")

    for namespace in ("/", "/a", "/b"):
        socketio.on_event("boom", boom, namespace=namespace)

    with pytest.raises(ValueError, match="callable"):
        socketio.on_error()("no function")  # type: ignore[type-var]
    with pytest.raises(ValueError, match="callable"):
        socketio.on_error_default("no function")  # type: ignore[type-var]
    client = await socketio.test_client(app)
    with pytest.raises(LookupError, match="boom"):
        await client.emit("boom", callback=True)

    @socketio.on_error("/a")
    def of_a(error: Exception) -> str:
        return f"a: {error}"

    @socketio.on_error_default
    async def default(error: Exception) -> str:
        return f"{request.namespace} {request.event['message']}: {error}"

    await client.connect("/a")
    await client.connect("/b")
    assert await client.emit("boom", callback=True, namespace="/a") == "a: boom"
    assert await client.emit("boom", callback=True, namespace="/b") == "/b boom: boom"
    socketio.on_event("strange", lambda: object())
    with pytest.raises(TypeError, match="JSON"):
        await client.emit("strange", callback=True)


@pytest.mark.parity("socketio", "on_namespace(ns)")
@pytest.mark.parity("socketio", "Namespace(namespace=None)")
async def test_a_class_handles_a_namespace(app: Quart, socketio: SocketIO) -> None:
    """Methods by the events' names, async or not, with rooms, answers, errors and python-socketio's session."""

    class Chat(Namespace):
        async def on_connect(self, auth: Any) -> None:
            await self.enter_room(request.sid, "hall")

        def on_disconnect(self) -> None:
            left.append(request.sid)

        async def on_say(self, text: str) -> list[str]:
            await self.emit("said", text, room="hall", include_self=False)
            await self.send("sent")
            return sorted(self.rooms(request.sid))

        def on_thread(self) -> bool:
            return threading.current_thread() is threading.main_thread()

        async def on_boom(self) -> None:
            raise LookupError("boom")

        async def on_close(self) -> None:
            await self.close_room("hall")

        async def on_remember(self, value: int) -> int:
            async with self.session(request.sid) as kept:
                kept["sum"] = kept.get("sum", 0) + value
            return int((await self.get_session(request.sid))["sum"])

        def error(self, error: Exception) -> str:
            return f"heard {error}"

    left: list[str] = []
    with pytest.raises(ValueError, match=r"Not a namespace instance\."):
        socketio.on_namespace(Chat)  # type: ignore[arg-type]
    socketio.on_namespace(Chat("/chat"))
    ann, bob = [await socketio.test_client(app, namespace="/chat") for _ in range(2)]
    answer = await ann.emit("say", "hi", callback=True, namespace="/chat")
    assert "hall" in answer
    assert names(ann, "/chat") == [("message", "sent")]
    assert names(bob, "/chat") == [("said", ["hi"]), ("message", "sent")]
    assert await ann.emit("thread", callback=True, namespace="/chat") is False
    assert await ann.emit("boom", callback=True, namespace="/chat") == "heard boom"
    assert await ann.emit("remember", 2, callback=True, namespace="/chat") == 2
    assert await ann.emit("remember", 3, callback=True, namespace="/chat") == 5
    assert await ann.emit("nothing", callback=True, namespace="/chat") == []
    await ann.emit("close", namespace="/chat")
    assert "hall" not in await ann.emit("say", "hi", callback=True, namespace="/chat")
    await ann.disconnect("/chat")
    assert len(left) == 1


@pytest.mark.parity("socketio", "@on_error(namespace=None), @on_error_default")
@pytest.mark.parity("socketio", "Namespace(namespace=None)")
async def test_a_class_s_own_error_handler_is_the_last(app: Quart, socketio: SocketIO) -> None:
    """It hears of what no other takes, and of what the others raise."""

    class Boom(Namespace):
        async def on_boom(self, given_up: bool) -> None:
            raise LookupError(given_up)

        def error(self, error: Exception) -> str:
            return f"heard {error}"

    socketio.on_namespace(Boom("/boom"))
    client = await socketio.test_client(app, namespace="/boom")
    assert await client.emit("boom", False, callback=True, namespace="/boom") == "heard False"

    @socketio.on_error_default
    async def default(error: Exception) -> str:
        if error.args[0]:
            raise LookupError("another") from error
        return f"default: {error}"

    assert await client.emit("boom", False, callback=True, namespace="/boom") == "default: False"
    assert await client.emit("boom", True, callback=True, namespace="/boom") == "heard another"


@pytest.mark.parity("socketio", "join_room, leave_room, close_room, rooms")
@pytest.mark.parity("socketio", "emit(event, *args, broadcast, to, include_self, skip_sid)")
async def test_rooms(app: Quart, socketio: SocketIO) -> None:
    """Who is in a room hears what is emitted to it, until it leaves or the room is closed."""

    @socketio.event
    async def join(room: str) -> list[str]:
        await join_room(room)
        return sorted(set(rooms()) - {request.sid})

    @socketio.event
    async def leave(room: str) -> None:
        await leave_room(room)

    @socketio.event
    async def close(room: str) -> None:
        await close_room(room)

    @socketio.event
    async def tell(options: dict[str, Any]) -> None:
        await emit("told", 1, 2, **options)

    a, b, c = [await socketio.test_client(app) for _ in range(3)]
    assert await a.emit("join", "x", callback=True) == ["x"]
    await b.emit("join", "x")

    async def told(**options: Any) -> list[bool]:
        await a.emit("tell", options)
        return [names(client) == [("told", [1, 2])] for client in (a, b, c)]

    assert await told() == [True, False, False]
    assert await told(broadcast=True) == [True, True, True]
    assert await told(broadcast=True, include_self=False) == [False, True, True]
    assert await told(to="x") == [True, True, False]
    assert await told(room="x", include_self=False) == [False, True, False]
    assert await told(to=["x", "y"]) == [True, True, False]
    sid = socketio.server.manager.sid_from_eio_sid(b.eio_sid, "/")
    assert await told(broadcast=True, skip_sid=sid) == [True, False, True]
    assert await told(to=sid) == [False, True, False]
    await b.emit("leave", "x")
    assert await told(to="x") == [True, False, False]
    await a.emit("close", "x")
    assert await told(to="x") == [False, False, False]


@pytest.mark.parity("socketio", "disconnect(sid, namespace, silent)")
@pytest.mark.parity("socketio", "join_room, leave_room, close_room, rooms")
async def test_a_handler_may_disconnect_its_client_and_others(app: Quart, socketio: SocketIO) -> None:
    """From its namespace, or from the one named; it goes on, and each function takes a client and a namespace."""

    @socketio.on("connect", namespace="/b")
    def connected() -> None: ...

    @socketio.event
    async def leave() -> None:
        await disconnect()

    @socketio.event(namespace="/b")
    async def kick(sid: str) -> list[Any]:
        await join_room("seat", sid=sid, namespace="/")
        before = sorted({"seat", sid} & set(rooms(sid, namespace="/")))
        await leave_room("seat", sid=sid, namespace="/")
        await disconnect(sid, namespace="/", silent=True)
        return [before == sorted(["seat", sid]), rooms(sid, namespace="/"), request.namespace]

    first, second = [await socketio.test_client(app) for _ in range(2)]
    await first.connect("/b")
    sid = socketio.server.manager.sid_from_eio_sid(second.eio_sid, "/")
    assert await first.emit("kick", sid, callback=True, namespace="/b") == [True, [], "/b"]
    assert (second.is_connected(), first.is_connected(), first.is_connected("/b")) == (False, True, True)
    await first.emit("leave")
    assert (first.is_connected(), first.is_connected("/b")) == (False, True)


@pytest.mark.parity(
    "socketio", "emit(event, *args, namespace, to/room, include_self, skip_sid, callback, ignore_queue)"
)
@pytest.mark.parity("socketio", "send(data, json=False, namespace, to, callback, include_self, skip_sid)")
@pytest.mark.parity("socketio", "close_room(room, namespace)")
async def test_views_emit(app: Quart, socketio: SocketIO) -> None:
    """The extension's methods work in a view, in a sync view through ``wait``, and with the app's context alone."""

    @socketio.on("connect", namespace="/news")
    async def connected() -> None:
        await join_room("readers")

    @app.get("/async")
    async def in_async() -> str:
        await socketio.emit("news", {"n": 1}, namespace="/news")
        await socketio.send("text", namespace="/news", to="readers")
        await socketio.send({"a": 1}, True, "/news", "nobody")
        return ""

    @app.get("/sync")
    def in_sync() -> str:
        wait(socketio.emit("news", 2, namespace="/news"))
        return ""

    client = await socketio.test_client(app, namespace="/news")
    http = app.test_client()
    assert (await http.get("/async")).status_code == 200
    assert (await http.get("/sync")).status_code == 200
    async with app.app_context():
        await socketio.close_room("readers", namespace="/news")
        await socketio.emit("closed", to="readers", namespace="/news")
        await socketio.emit("open", namespace="/news", ignore_queue=True)
        with pytest.raises(TypeError, match="brodcast"):
            await socketio.emit("x", brodcast=True)
    assert names(client, "/news") == [("news", [{"n": 1}]), ("message", "text"), ("news", [2]), ("open", [])]


async def test_what_concerns_a_client_needs_a_handler(app: Quart, socketio: SocketIO) -> None:
    """Outside one, the functions say what to call instead."""
    async with app.test_request_context("/"):
        for function in (emit("x"), send("x"), join_room("x"), leave_room("x"), disconnect(), call("x")):
            with pytest.raises(RuntimeError, match="outside a Socket"):
                await function
        with pytest.raises(RuntimeError, match="outside a Socket"):
            rooms()


async def test_synchronous_handlers_run_in_threads_and_may_wait(app: Quart, socketio: SocketIO) -> None:
    """They do not block the loop; ``wait`` reaches the awaited functions, and the context is theirs."""

    @socketio.event
    def work(value: int) -> list[Any]:
        wait(emit("progress", value))
        wait(join_room("workers"))
        return [threading.current_thread() is threading.main_thread(), current_app.name, "workers" in rooms()]

    client = await socketio.test_client(app)
    assert await client.emit("work", 5, callback=True) == [False, "app", True]
    assert names(client) == [("progress", [5])]


async def test_async_handlers_are_bridged(app: Quart, socketio: SocketIO) -> None:
    """Synchronous code below an async handler may wait, as lazy loads do."""

    @socketio.event
    async def ask() -> int:
        return wait(asyncio.sleep(0, 42))

    client = await socketio.test_client(app)
    assert await client.emit("ask", callback=True) == 42


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


async def test_teardown_runs_after_each_event(app: Quart, socketio: SocketIO) -> None:
    """Also where the handler fails; request hooks do not, as in Flask-SocketIO."""
    seen: list[str] = []

    @app.teardown_appcontext
    async def torn_down(error: BaseException | None) -> None:
        seen.append("teardown")

    @app.before_request
    async def before() -> None:
        seen.append("before")

    @socketio.event
    async def fail() -> None:
        raise LookupError

    client = await socketio.test_client(app)
    seen.clear()
    with pytest.raises(LookupError):
        await client.emit("fail")
    assert set(seen) == {"teardown"}


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
    ended = asyncio.Event()

    async def for_ever() -> None:
        try:
            while True:
                await socketio.sleep(60)
        finally:
            ended.set()

    async with app.test_app():
        socketio.start_background_task(for_ever)
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_a_disconnect_handler_that_hangs_does_not_hold_up_the_end() -> None:
    """It is cancelled in time, and the next client's still runs."""
    app = make_app(SOCKETIO_SHUTDOWN_TIMEOUT_S=0.2)
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


class MessagePack(Packet):  # type: ignore[misc]
    """What ``serializer="msgpack"`` is, by another library."""

    uses_binary_events = False

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self._to_dict())

    def decode(self, encoded_packet: bytes) -> int:
        found = msgspec.msgpack.decode(encoded_packet)
        self.packet_type, self.data, self.namespace = found["type"], found.get("data"), found["nsp"]
        self.id = found.get("id")
        return 0


@pytest.mark.parity("socketio", "json, serializer")
@pytest.mark.parametrize("serializer", ["default", MessagePack])
async def test_binary_data_and_serializers(serializer: Any) -> None:
    """Bytes arrive as bytes, by themselves and within structures; a class of one's own may say how."""
    app = make_app()
    socketio = SocketIO(app, serializer=serializer)

    @socketio.event
    async def echo(value: Any) -> Any:
        await emit("echoed", {"x": [value["x"], b"\x01"]})
        return value["x"]

    client = await socketio.test_client(app)
    assert await client.emit("echo", {"x": b"\x00\xff"}, callback=True) == b"\x00\xff"
    assert names(client) == [("echoed", [{"x": [b"\x00\xff", b"\x01"]}])]


@pytest.mark.parity("socketio", "json, serializer")
async def test_the_application_s_json(app: Quart) -> None:
    """``json=flask.json`` is the application's provider, which knows dates; it is not set for other servers."""
    socketio, plain_app = SocketIO(app, json=flask.json), make_app()
    plain = SocketIO(plain_app)
    client, other = await socketio.test_client(app), await plain.test_client(plain_app)
    await socketio.emit("day", datetime.date(2024, 1, 1))
    assert names(client) == [("day", ["Mon, 01 Jan 2024 00:00:00 GMT"])]
    with pytest.raises(TypeError, match="date"):
        await plain.emit("day", datetime.date(2024, 1, 1))
    assert names(other) == []


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


@pytest.mark.parity("socketio", "Namespace(namespace=None)")
async def test_a_class_may_find_its_handlers_by_a_rule_of_its_own(app: Quart, socketio: SocketIO) -> None:
    class Loud(Namespace):
        async def trigger_event(self, event: str | None, *args: Any) -> Any:
            return await super().trigger_event((event or "").lower(), *args)

        async def on_say(self, text: str) -> str:
            return text.upper()

    socketio.on_namespace(Loud("/loud"))
    client = await socketio.test_client(app, namespace="/loud")
    assert await client.emit("SAY", "hi", callback=True, namespace="/loud") == "HI"


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
async def test_a_flask_application_needs_a_message_queue() -> None:
    """Else it would emit to nobody, and not say so."""
    app = await asyncio.to_thread(lambda: flask.Flask("legacy"))
    with pytest.raises(ConfigError, match="REDIS_URL"):
        face(SocketIO)().init_app(app)


@pytest.mark.parity("socketio", "async_mode")
def test_unknown_options_and_old_ones(app: Quart) -> None:
    """A typing error is refused; the ``async_mode`` of old tutorials is accepted with a warning."""
    with pytest.raises(TypeError, match="ping_intervall"):
        SocketIO(make_app(), ping_intervall=3)
    with pytest.warns(DeprecationWarning, match="eventlet"):
        socketio = SocketIO(app, async_mode="eventlet")
    assert socketio.async_mode == "asgi"


async def test_without_an_application_it_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="init_app"):
        await SocketIO().emit("x")


@pytest.mark.parity("socketio", "call(event, *args, namespace, to, timeout=60, ignore_queue)")
async def test_a_call_needs_a_client_and_ends_in_time(app: Quart, socketio: SocketIO) -> None:
    client = await socketio.test_client(app)
    sid = socketio.server.manager.sid_from_eio_sid(client.eio_sid, "/")
    with pytest.raises(ValueError, match="broadcast"):
        await socketio.call("ask")
    with pytest.raises(CallTimeout, match="'ask'") as caught:
        await socketio.call("ask", 1, to=sid, timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(TimeoutError, match=f"'{sid}'"):
        await socketio.call("ask", 2, room=sid, timeout=0.01)
    assert names(client) == [("ask", [1]), ("ask", [2])]


async def test_a_client_that_never_answers_is_not_remembered_for_ever(
    app: Quart, socketio: SocketIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its latest callbacks are kept."""
    monkeypatch.setattr(manager, "_UNANSWERED", 3)
    client = await socketio.test_client(app)
    sid = socketio.server.manager.sid_from_eio_sid(client.eio_sid, "/")
    answers: list[int] = []
    for number in range(10):
        await socketio.emit("ask", to=sid, callback=partial(answers.append, number))
    assert len(socketio.server.manager.callbacks[sid]) == 3 + 1
    for number in range(1, 11):  # now it does
        await client._deliver(packet.ACK, [], "/", number)
    async with app.test_app():  # whose end waits for what was begun
        ...
    assert sorted(answers) == [7, 8, 9]
