"""What is emitted, to whom, and from where."""

from __future__ import annotations

import datetime
from functools import partial
from typing import Any

import flask
import msgspec
import pytest
from quart import request
from socketio import packet
from socketio.packet import Packet

from decant import wait
from decant.quart import Quart
from decant.socketio import (
    CallTimeout,
    SocketIO,
    call,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    manager,
    rooms,
    send,
)
from tests.socketio.conftest import make_app, names

pytestmark = pytest.mark.parity(
    "socketio", "test_client(app, namespace, query_string, headers, auth, flask_test_client)"
)


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
