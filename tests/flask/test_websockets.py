"""WebSockets of extensions that know nothing of ASGI, in a Flask application that the shim serves."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Literal

import aiohttp
import flask
import pytest
import simple_websocket
import socketio as client_library
from flask_socketio import SocketIO, emit
from wsproto.events import Ping

from decant.flask import asgi
from decant.flask.websockets import polls_for_long
from tests.flask.asgi_calls import logged, until
from tests.flask.websocket_calls import Ended
from tests.serving import Peer, serve

pytestmark = [
    pytest.mark.usefixtures("polling"),
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
]


def sockets() -> tuple[flask.Flask, list[Any]]:  # noqa: C901 - routes
    """An application with WebSockets as Flask-Sock makes them, and what its handlers noted."""
    app, notes = flask.Flask(__name__), list[Any]()

    def route(path: str, **accept: Any) -> Any:
        def decorate(handler: Any) -> Any:
            def view() -> Any:
                ws = simple_websocket.Server(flask.request.environ, **accept)
                try:
                    handler(ws)
                except simple_websocket.ConnectionClosed as error:
                    notes.append(("closed", error.reason))
                with suppress(simple_websocket.ConnectionClosed):
                    ws.close()
                return Ended()

            app.add_url_rule(path, handler.__name__, view, websocket=True)
            return handler

        return decorate

    @route("/echo", subprotocols=["two"])
    def echo(ws: Any) -> None:
        notes.append((ws.subprotocol, flask.request.remote_addr, flask.request.headers.get("X-One")))
        while True:
            ws.send(ws.receive())

    @route("/three")
    def three(ws: Any) -> None:
        for number in range(3):
            ws.send(f"{number}")

    @route("/patient", ping_interval=600)
    def patient(ws: Any) -> None:
        ws.send(ws.receive())

    @route("/close")
    def close(ws: Any) -> None:
        ws.close(4001, "enough")

    @route("/broken")
    def broken(ws: Any) -> None:
        ws.send("before")
        raise ValueError("in a handler")

    @route("/ping", ping_interval=2)
    def ping(ws: Any) -> None:
        for _ in range(2):  # as its thread does, but that this waits for an answer that is late
            ws.pong_received = False
            ws.sock.send(ws.ws.send(Ping()))
            end = time.monotonic() + 10
            while not ws.pong_received and time.monotonic() < end:
                time.sleep(0.005)
        ws.send(f"answered: {ws.pong_received}")

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.route("/private", websocket=True)
    def private() -> Any:
        return flask.Response("log in", 401, {"X-Why": "private"})

    return app, notes


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, list[Any], Any]]:
    app, notes = await asyncio.to_thread(sockets)
    shim = asgi(app, sockets=2, grace_s=2)
    async with serve(shim) as url:
        yield url.replace("http", "ws"), notes, shim


@asynccontextmanager
async def connect(url: str, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0, **options) as client:
        yield client


async def ended(client: aiohttp.ClientWebSocketResponse) -> tuple[Any, Any]:
    """The code and the reason that it is closed with."""
    message = await client.receive(10)
    assert message.type is aiohttp.WSMsgType.CLOSE, message
    return message.data, message.extra


async def test_messages_go_to_and_fro(served: Any) -> None:
    url, notes, _ = served
    async with connect(f"{url}/echo", protocols=["one", "two"], headers={"X-One": "1"}) as client:
        for text in ("text", "ünïcode", "", "x" * 300_000):
            await client.send_str(text)
            assert await client.receive_str(timeout=10) == text
        for data in (b"\x00\xff", b"", bytes(200_000)):
            await client.send_bytes(data)
            assert await client.receive_bytes(timeout=10) == data
        assert client.protocol == "two"
    assert notes[0] == ("two", "127.0.0.1", "1")


async def test_a_handler_that_returns_closes(served: Any) -> None:
    async with connect(f"{served[0]}/three") as client:
        assert [await client.receive_str(timeout=10) for _ in range(3)] == ["0", "1", "2"]
        assert (await ended(client))[0] == 1000


async def test_its_code_and_reason_arrive(served: Any) -> None:
    async with connect(f"{served[0]}/close") as client:
        assert await ended(client) == (4001, "enough")


async def test_a_handler_hears_that_its_client_has_gone(served: Any) -> None:
    url, notes, shim = served
    async with connect(f"{url}/echo") as client:
        await client.send_str("x")
        assert await client.receive_str(timeout=10) == "x"
        client._response.connection.transport.abort()  # type: ignore[union-attr]
        async with asyncio.timeout(10):
            while shim.sockets.threads.busy:
                await asyncio.sleep(0.01)
    assert notes[-1][0] == "closed"


async def test_a_handler_that_fails_is_logged_and_its_client_told(served: Any, caplog: Any) -> None:
    async with connect(f"{served[0]}/broken") as client:
        assert await client.receive_str(timeout=10) == "before"
        assert (await ended(client))[0] == 1011
    assert any("in a handler" in str(record.exc_info) for record in caplog.records)


async def test_an_extension_may_ping(served: Any) -> None:
    async with connect(f"{served[0]}/ping") as client:
        assert await client.receive_str(timeout=30) == "answered: True"


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/private", 401), ("/plain", 400)])
async def test_one_that_no_handler_takes_is_answered_by_http(served: Any, path: str, status: int) -> None:
    address = served[0].removeprefix("ws://").split(":")
    async with Peer.connect((address[0], int(address[1]))) as peer:
        await peer.get(
            path,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        assert await peer.status() == status
        if path == "/private":
            rest = await peer.rest()
            assert b"x-why: private" in rest
            assert rest.endswith(b"log in")


async def test_there_are_no_more_than_said(served: Any) -> None:
    url = f"{served[0]}/echo"
    async with connect(url), connect(url):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with connect(url):
                pass
    assert caught.value.status == 503
    assert caught.value.headers is not None
    assert caught.value.headers["Retry-After"] == "5"


async def test_of_those_that_come_at_once_the_surplus_is_refused_too() -> None:
    """It has found a free place before the others took it."""
    app, _ = await asyncio.to_thread(sockets)
    shim = asgi(app, sockets=1, grace_s=2)
    leave, seen = asyncio.Event(), set[str]()

    async def ask() -> list[Any]:
        told: list[Any] = []
        messages = [{"type": "websocket.connect"}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await leave.wait()
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message: Any) -> None:
            told.append(message)
            seen.add(message["type"])
            if seen >= {"websocket.accept", "websocket.http.response.body"}:
                leave.set()

        scope = {
            "type": "websocket",
            "path": "/echo",
            "headers": [(b"host", b"example.org")],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        await shim(scope, receive, send)
        return told

    async with asyncio.timeout(10):
        answers = await asyncio.gather(ask(), ask())
    kinds = {told[0]["type"]: told[0] for told in answers}
    assert kinds.keys() == {"websocket.accept", "websocket.http.response.start"}
    assert kinds["websocket.http.response.start"]["status"] == 503


async def test_they_end_with_the_server() -> None:
    app, notes = await asyncio.to_thread(sockets)
    shim = asgi(app, grace_s=2)
    async with AsyncExitStack() as stack:
        async with serve(shim) as url:
            client = await stack.enter_async_context(connect(f"{url.replace('http', 'ws')}/echo"))
            await client.send_str("x")
            assert await client.receive_str(timeout=10) == "x"
            end = asyncio.create_task(ended(client))
        assert (await end)[0] == 1001
    assert notes[-1] == ("closed", 1001)
    assert not shim.sockets.threads.busy


async def test_nothing_is_left_behind(served: Any) -> None:
    url, _, shim = served
    for _ in range(20):
        await until(lambda: not shim.sockets.threads.full)  # those before it may not know yet
        async with connect(f"{url}/three") as client:
            await client.receive(10)  # and goes away
    async with asyncio.timeout(10):
        while shim.sockets.threads.busy or any("simple_websocket" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.01)
        while shim.connections.open:
            await asyncio.sleep(0.01)


async def test_a_thread_that_would_ping_ends_with_its_socket(served: Any) -> None:
    """Not when the next ping is due: simple_websocket waits by epoll, which says nothing of what has been closed."""
    url, _, shim = served
    for _ in range(100):
        await until(lambda: not shim.sockets.threads.full)
        async with connect(f"{url}/patient") as client:
            await client.send_str("x")
            assert await client.receive_str(timeout=30) == "x"
            assert (await ended(client))[0] == 1000
    await until(lambda: not any("simple_websocket" in thread.name for thread in threading.enumerate()))


def with_socketio() -> flask.Flask:
    app = flask.Flask(__name__)
    socketio = SocketIO(app, async_mode="threading")

    @socketio.on("ask")
    def ask(data: Any) -> str:
        emit("told", {"data": data, "sid": flask.request.sid})  # type: ignore[attr-defined]
        return "asked"

    @app.get("/")
    def index() -> str:
        return "page"

    return app


def test_its_long_polling_is_known_by_its_path() -> None:
    app = with_socketio()
    assert polls_for_long(app, {"path": "/socket.io/"})
    assert polls_for_long(app, {"path": "/below/socket.io/", "root_path": "/below"})
    assert polls_for_long(app, {"PATH_INFO": "/socket.io/", "SCRIPT_NAME": "/below"})
    assert not polls_for_long(app, {"path": "/", "root_path": ""})
    assert not polls_for_long(flask.Flask("plain"), {"path": "/socket.io/"})


@pytest.mark.parametrize("views", ["threads", "loop"])
@pytest.mark.parametrize("transport", ["websocket", "polling", "both"])
async def test_flask_socketio_works_unmodified(transport: str, views: Literal["threads", "loop"], caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    app = await asyncio.to_thread(with_socketio)
    async with serve(asgi(app, views=views, grace_s=2)) as url:
        client = client_library.AsyncClient()
        told: asyncio.Queue[Any] = asyncio.Queue()
        client.on("told", told.put)
        transports = ["polling", "websocket"] if transport == "both" else [transport]
        await client.connect(url, transports=transports, wait_timeout=10)
        assert await client.call("ask", "this", timeout=10) == "asked"
        assert (await asyncio.wait_for(told.get(), 10))["data"] == "this"
        assert client.transport() == ("polling" if transport == "polling" else "websocket")
        await client.disconnect()
    assert logged(caplog) == []
