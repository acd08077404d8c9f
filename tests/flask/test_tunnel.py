"""A WebSocket of an extension, message by message: what servers say at odd moments, and what applications may do."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from typing import Any

import flask
import pytest
import simple_websocket
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    TextMessage,
)

from decant.flask import asgi
from tests.flask.asgi_calls import until
from tests.flask.websocket_calls import Client, Peer, serving, simple

LONG = bytes(65_536)


def errors(caplog: Any) -> list[str]:
    found = [record for record in caplog.records if record.name.startswith("decant")]
    return [record.getMessage() for record in found if record.levelno >= logging.WARNING]


# -- the shake of hands ------------------------------------------------------------------------------------------------


async def test_what_the_application_accepts_with_reaches_the_client() -> None:
    found: list[Any] = []

    def handle(peer: Peer) -> None:
        found.append((peer.requested.subprotocols, peer.environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")))
        peer.send(AcceptConnection(subprotocol="two", extra_headers=[(b"X-Extra", b"1")]), CloseConnection(code=1000))

    client = Client(serving(handle), subprotocols=["one", "two"])
    assert await client.closed() == 1000
    assert found == [(["one", "two"], None)], "compression is the server's affair"
    assert client.sent[0] == {"type": "websocket.accept", "subprotocol": "two", "headers": [(b"x-extra", b"1")]}


@pytest.mark.parametrize("extensions", [{"websocket.http.response": {}}, {}, None])
async def test_an_application_that_neither_takes_nor_answers_is_a_500(extensions: Any) -> None:
    client = Client(serving(lambda peer: None), extensions=extensions)
    await client.ended()
    if extensions:
        assert client.kinds == ["websocket.http.response.start", "websocket.http.response.body"]
        assert client.sent[0]["status"] == 500
    else:
        assert client.kinds == ["websocket.close"]  # which servers answer with 403


async def test_an_answer_by_http_is_bounded() -> None:
    app = flask.Flask("answers", root_path="/", instance_path="/instance")
    closed: list[str] = []

    @app.route("/", websocket=True)
    def view() -> flask.Response:
        response = flask.Response("x" * 100_000, 403)
        response.call_on_close(lambda: closed.append("closed"))
        return response

    client = Client(asgi(app))
    await client.ended()
    assert closed == ["closed"]
    assert client.sent[0]["status"] == 403
    assert [value for name, value in client.sent[0]["headers"] if name == b"content-length"] == [b"65536"]
    assert client.sent[1]["body"] == b"x" * 65_536


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_fragments_are_one_message() -> None:
    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection())
        for part, last in (("grü", False), ("ß", False), ("e", True)):
            peer.send(TextMessage(data=part, message_finished=last))
        for data, last in ((b"\x00", False), (b"\xff", True)):
            peer.send(BytesMessage(data=data, message_finished=last))
        peer.send(CloseConnection(code=1000))

    client = Client(serving(handle))
    assert await client.closed() == 1000
    assert client.messages == ["grüße", b"\x00\xff"]


async def test_a_ping_is_answered_with_what_it_says() -> None:
    found: list[Event] = []

    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection(), Ping(payload=b"are you there"))
        found.extend(peer.read())
        peer.send(CloseConnection(code=1000))

    assert await Client(serving(handle)).closed() == 1000
    assert found == [Pong(payload=bytearray(b"are you there"))]


async def test_an_application_that_breaks_the_protocol_is_closed_with_1002() -> None:
    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection())
        peer.sock.sendall(b"\xff\xff\xff\xff")
        peer.read()

    assert await Client(serving(handle)).closed() == 1002


async def test_an_application_that_shakes_no_hands_is_a_500(caplog: Any) -> None:
    client = Client(serving(lambda peer: peer.sock.sendall(b"no answer of HTTP\r\n\r\n")))
    await client.ended()
    assert client.sent[0]["status"] == 500
    assert [line for line in errors(caplog) if line.startswith("The application broke the WebSocket /: ")]


async def test_an_application_that_reads_nothing_slows_the_client_down() -> None:
    told = threading.Event()
    size = 0

    def handle(peer: Peer) -> None:
        nonlocal size
        peer.send(AcceptConnection())
        told.wait(10)
        while size < 100 * len(LONG):
            size += sum(len(event.data) for event in peer.read() if isinstance(event, BytesMessage))
        peer.send(CloseConnection(code=1000))

    client = await Client(serving(handle)).accepted()
    for _ in range(100):
        client.says("receive", bytes=LONG)
    await until(lambda: client.received.qsize() < 100)
    await asyncio.sleep(0.1)
    assert client.received.qsize() > 80
    told.set()
    assert await client.closed() == 1000
    assert size == 100 * len(LONG)


async def test_a_client_that_takes_nothing_slows_the_application_down() -> None:
    made = 0

    def handle(peer: Peer) -> None:
        nonlocal made
        peer.send(AcceptConnection())
        for _ in range(40):
            peer.send(BytesMessage(data=LONG))
            made += 1
        peer.send(CloseConnection(code=1000))

    client = Client(serving(handle))
    client.takes.clear()
    await asyncio.sleep(0.1)
    assert made < 20
    client.takes.set()
    assert await client.closed() == 1000
    assert client.messages == [LONG] * 40


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason", "expected"), [(4002, "bye", (4002, "bye")), (1005, None, (1000, ""))])
async def test_a_handler_hears_the_clients_code(code: int, reason: Any, expected: Any) -> None:
    found: list[Any] = []

    def handle(ws: Any) -> None:
        with pytest.raises(simple_websocket.ConnectionClosed) as caught:
            ws.receive(timeout=10)
        found.append((caught.value.reason, caught.value.message or ""))

    client = await Client(simple(handle)).accepted()
    client.says("disconnect", code=code, reason=reason)
    await client.ended()
    assert found == [expected]
    assert client.kinds == ["websocket.accept"]


async def test_a_handler_hears_of_a_client_that_says_nothing(caplog: Any) -> None:
    found: list[Any] = []

    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection())
        found.append(peer.read())
        peer.send(Ping(), TextMessage(data="to nobody"))

    client = await Client(serving(handle, grace_s=30.0)).accepted()
    client.says("disconnect")
    await client.ended()
    assert found == [[]]
    assert client.messages == errors(caplog) == []


async def test_a_handler_hears_of_a_client_that_left_before_it_was_accepted(caplog: Any) -> None:
    found: list[Any] = []
    left = threading.Event()

    def handle(peer: Peer) -> None:
        left.wait(10)
        peer.send(AcceptConnection())
        found.append(peer.read())

    client = Client(serving(handle, grace_s=30.0))
    client.says("disconnect", code=1006)
    await until(client.received.empty)
    left.set()
    await client.ended()
    assert found == [[]]
    assert client.sent == errors(caplog) == []


async def test_nothing_is_sent_after_a_close(caplog: Any) -> None:
    """By a handler that has not read yet that the server stops."""
    stopped, found, used = threading.Event(), list[Any](), list[threading.Thread]()

    def handle(peer: Peer) -> None:
        used.append(threading.current_thread())
        peer.send(AcceptConnection())
        stopped.wait(10)
        peer.send(TextMessage(data="too late"))
        found.extend(peer.read())

    shim = serving(handle)
    await shim.lifespan.start()
    client = await Client(shim).accepted()
    stopping = asyncio.create_task(shim.lifespan.stop())
    await until(lambda: "websocket.close" in client.kinds)
    client.says("receive", text="not read any more")
    await until(client.received.empty)
    stopped.set()
    assert await client.closed() == 1001
    await stopping
    assert found == [CloseConnection(code=1001, reason="the server stops")]
    assert errors(caplog) == []
    await until(lambda: not used[0].is_alive())


async def test_a_server_that_cancels_the_call_closes_with_1001() -> None:
    found: list[Any] = []

    def handle(ws: Any) -> None:
        with pytest.raises(simple_websocket.ConnectionClosed) as caught:
            ws.receive(timeout=10)
        found.append(caught.value.reason)

    shim = simple(handle)
    shim.sockets.threads.grace_s = 8.0
    client = await Client(shim).accepted()
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert client.sent[-1]["code"] == 1001
    await until(lambda: not shim.sockets.threads.busy)
    assert found == [1001]


@pytest.mark.parametrize("when", ["a message", "the close"])
async def test_a_server_may_raise_for_a_client_that_has_gone(when: str, caplog: Any) -> None:
    gone = threading.Event()

    def handle(ws: Any) -> None:
        gone.wait(10)
        if when == "a message":
            ws.send("never taken")
            with pytest.raises(simple_websocket.ConnectionClosed):
                ws.receive(timeout=10)

    shim = simple(handle, grace_s=30.0)  # which is not waited for
    client = await Client(shim).accepted()
    client.has_gone = True
    gone.set()
    await until(lambda: not shim.sockets.threads.busy)
    client.says("disconnect", code=1006)
    await client.ended()
    assert errors(caplog) == []


async def test_a_server_may_raise_for_who_has_gone_when_the_handler_ends(caplog: Any) -> None:
    gone = threading.Event()

    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection())
        gone.wait(10)

    client = await Client(serving(handle)).accepted()
    client.has_gone = True
    gone.set()
    await asyncio.sleep(0.05)
    client.says("disconnect", code=1006)
    await client.ended()
    assert errors(caplog) == []


async def test_what_a_client_says_before_it_hears_of_the_close_is_taken() -> None:
    """A server may stop to read, and not hear of the end, if nobody receives."""
    client = Client(serving(lambda peer: peer.send(AcceptConnection(), CloseConnection(code=1000))))
    await until(lambda: "websocket.close" in client.kinds)
    for _ in range(3):
        client.says("receive", text="not heard yet")
    await until(client.received.empty)
    assert not client.task.done()
    assert await client.closed() == 1000


async def test_a_client_that_takes_nothing_for_too_long_is_left_and_its_thread_given_back(caplog: Any) -> None:
    """Though neither side reads: the handler echoes, and both buffers are full."""

    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection())
        with suppress(OSError):
            while events := peer.read():
                peer.send(*(BytesMessage(data=event.data) for event in events if isinstance(event, BytesMessage)))

    shim = serving(handle, idle_s=0.3, grace_s=0.2)
    client = await Client(shim).accepted()
    client.takes.clear()
    for _ in range(100):
        client.says("receive", bytes=LONG)
    await client.ended()
    await until(lambda: not shim.sockets.threads.busy)


async def test_a_handler_that_reads_nothing_for_too_long_is_closed_with_1008(caplog: Any) -> None:
    """Else it would not be noticed that its client goes."""
    ended = threading.Event()

    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection())
        with suppress(OSError):
            while not ended.wait(0.01):
                peer.send(TextMessage(data="x"))

    shim = serving(handle, idle_s=0.3, grace_s=0.2)
    client = await Client(shim).accepted()
    for _ in range(100):
        client.says("receive", bytes=LONG)
    assert await client.closed() == 1008
    await until(lambda: not shim.sockets.threads.busy)
    assert "The WebSocket / was closed: its handler read nothing for 0.3 s" in errors(caplog)
    ended.set()


async def test_a_handler_that_ends_the_process_ends_its_websocket_alone(caplog: Any) -> None:
    def handle(peer: Peer) -> None:
        peer.send(AcceptConnection())
        raise SystemExit(3)

    assert await Client(serving(handle)).closed() == 1000
    assert errors(caplog) == ["The WebSocket / ended by SystemExit(3)"]


async def test_a_socket_that_the_application_does_not_close_is_closed() -> None:
    ends: list[socket.socket] = []

    def handle(peer: Peer) -> None:
        ends.append(peer.sock)
        peer.send(AcceptConnection(), CloseConnection(code=1000))

    assert await Client(serving(handle, closes=False)).closed() == 1000
    assert [end.fileno() for end in ends] == [-1]
