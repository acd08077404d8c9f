"""Handlers: how they are registered, found and run, and who hears of their errors."""

from __future__ import annotations

import asyncio
import builtins
import threading
from typing import Any

import pytest
from quart import current_app, g, request

from decant import wait
from decant.quart import Quart
from decant.socketio import (
    ConnectionRefusedError,  # noqa: A004
    Namespace,
    SocketIO,
    emit,
    join_room,
    rooms,
    send,
)
from tests.socketio.conftest import names

pytestmark = pytest.mark.parity(
    "socketio", "test_client(app, namespace, query_string, headers, auth, flask_test_client)"
)


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
