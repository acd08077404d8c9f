"""Over real sockets: Hypercorn, and python-socketio's own client."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import Any

import aiohttp
import pytest
from quart import current_app, g, has_request_context, request, session
from socketio.exceptions import ConnectionError as ClientConnectionError

from decant import wait
from decant.quart import Quart
from decant.socketio import SocketIO, call, emit
from tests.serving import serve
from tests.socketio.conftest import Connect, until


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
@pytest.mark.parity("socketio", "@on(message, namespace=None)")
async def test_an_event_is_handled_and_answered(
    app: Quart, socketio: SocketIO, served: Any, connect: Connect, transports: list[str]
) -> None:
    """By each transport, and by the upgrade from one to the other; the handler's value is the acknowledgement."""

    @socketio.on("my event")
    async def handle(data: dict[str, int]) -> str:
        await emit("my response", {"n": data["n"] + 1})
        return "done"

    client = await connect(await served(app), transports=transports)
    assert await client.call("my event", {"n": 1}, timeout=10) == "done"
    assert await client.next() == ("my response", {"n": 2})


@pytest.mark.parity(
    "socketio", "emit(event, *args, namespace, to/room, include_self, skip_sid, callback, ignore_queue)"
)
@pytest.mark.parity("socketio", "emit(event, *args, broadcast, to, include_self, skip_sid)")
@pytest.mark.parity("socketio", "call(…, timeout)")
async def test_a_callback_is_called_with_the_client_s_answer(
    app: Quart, socketio: SocketIO, served: Any, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler's has the client's context, a view's the application's; it may ask again, and its errors are logged."""
    answers = asyncio.Queue[Any]()

    async def answered(*values: Any) -> None:
        again = await call("question", values[0]) if has_request_context() else wait(asyncio.sleep(0, None))
        await answers.put((current_app.name, getattr(request, "sid", None) if again else None, *values, again))

    def fails(*values: Any) -> None:
        raise LookupError("a bug of ours")

    @socketio.event
    async def begin() -> None:
        await emit("question", 1, callback=answered)

    @app.get("/ask/<sid>")
    async def ask(sid: str) -> str:
        await socketio.emit("question", 5, to=sid, callback=fails)
        await socketio.emit("question", 6, to=sid, callback=answered)
        return ""

    url = await served(app)
    client = await connect(url)

    async def question(value: int) -> Any:
        return value * 2, "twice"

    client.on("question", question)
    await client.emit("begin")
    assert await asyncio.wait_for(answers.get(), 10) == ("app", client.get_sid(), 2, "twice", (4, "twice"))
    async with aiohttp.ClientSession() as http, http.get(f"{url}/ask/{client.get_sid()}"):
        assert await asyncio.wait_for(answers.get(), 10) == ("app", None, 12, "twice", None)
    await until(lambda: "a bug of ours" in caplog.text)
    assert client.connected


async def test_what_a_handler_raises_is_logged(
    app: Quart, socketio: SocketIO, served: Any, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The client stays connected, and has no answer; where it was its ``connect`` handler, it is refused."""

    @socketio.event
    async def fail() -> None:
        raise LookupError("in an event")

    @socketio.event
    async def ask() -> str:
        return "answer"

    @socketio.on("connect", namespace="/broken")
    async def connected() -> None:
        raise LookupError("in a connection")

    url = await served(app)
    client = await connect(url)
    await client.emit("fail", callback=lambda *_: None)
    assert await client.call("ask", timeout=10) == "answer"
    await until(lambda: "in an event" in caplog.text)
    with pytest.raises(ClientConnectionError):
        await connect(url, namespaces=["/broken"])
    assert "in a connection" in caplog.text


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_an_answer_that_cannot_be_sent_is_logged(
    app: Quart, served: Any, connect: Connect, caplog: pytest.LogCaptureFixture, async_handlers: bool
) -> None:
    """It is not the client's fault, which stays connected."""
    socketio = SocketIO(app, async_handlers=async_handlers)

    @socketio.event
    async def today() -> datetime.date:
        return datetime.date(2024, 1, 1)

    @socketio.event
    async def ask() -> str:
        return "answer"

    client = await connect(await served(app))
    await client.emit("today", callback=lambda *_: None)
    assert await client.call("ask", timeout=10) == "answer"
    await until(lambda: "'today'" in caplog.text)


async def test_the_lifespan_stays_the_application_s(app: Quart, socketio: SocketIO, connect: Connect) -> None:
    """Beside Socket.IO, the application starts, answers and ends as without it."""
    seen: list[str] = []

    @app.before_serving
    async def started() -> None:
        seen.append("started")

    @app.after_serving
    async def ended() -> None:
        seen.append("ended")

    @app.get("/")
    async def index() -> str:
        return "hello"

    @socketio.event
    async def ask() -> list[str]:
        return seen

    async with serve(app) as url:
        client = await connect(url)
        assert await client.call("ask", timeout=10) == ["started"]
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert await response.text() == "hello"
        await client.disconnect()
    assert seen == ["started", "ended"]


@pytest.mark.parity("socketio", "request.sid, request.namespace, request.event")
async def test_a_handler_has_the_handshake_s_request(
    app: Quart, socketio: SocketIO, served: Any, connect: Connect
) -> None:
    """Its headers, cookies, query and address; the client's sid and namespace, and a new ``g`` for each event."""

    @socketio.event
    async def ask(value: int) -> dict[str, Any]:
        fresh = not hasattr(g, "seen")
        g.seen = True
        return {
            "agent": request.headers["X-Agent"],
            "cookie": request.cookies["kind"],
            "query": request.args["q"],
            "address": request.remote_addr,
            "sid": request.sid,
            "namespace": request.namespace,
            "event": {**request.event, "args": list(request.event["args"])},
            "app": current_app.name,
            "fresh": fresh,
        }

    headers = {"X-Agent": "007", "Cookie": "kind=oat"}
    client = await connect(f"{await served(app)}?q=1", headers=headers)
    expected = {
        "agent": "007",
        "cookie": "oat",
        "query": "1",
        "address": "127.0.0.1",
        "sid": client.get_sid(),
        "namespace": "/",
        "event": {"message": "ask", "args": [7]},
        "app": "app",
        "fresh": True,
    }
    assert await client.call("ask", 7, timeout=10) == expected
    assert (await client.call("ask", 7, timeout=10))["fresh"]


@pytest.mark.parity("socketio", "manage_session")
async def test_a_client_s_session_begins_as_the_browser_s(
    app: Quart, socketio: SocketIO, served: Any, connect: Connect
) -> None:
    """The session of the handshake's cookie is there, and what a handler changes stays with this client."""

    @app.get("/login")
    async def login() -> str:
        session["user"] = "ann"
        return ""

    @socketio.event
    async def count() -> list[Any]:
        session["n"] = session.get("n", 0) + 1
        return [session.get("user"), session["n"]]

    url = await served(app)
    async with aiohttp.ClientSession() as http, http.get(f"{url}/login") as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    client, other = await connect(url, headers={"Cookie": cookie}), await connect(url)
    assert await client.call("count", timeout=10) == ["ann", 1]
    assert await client.call("count", timeout=10) == ["ann", 2]
    assert await other.call("count", timeout=10) == [None, 1]
    forged = await connect(url, headers={"Cookie": cookie[:-3] + "abc"})
    assert await forged.call("count", timeout=10) == [None, 1]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parity("socketio", "cors_allowed_origins, cors_credentials")
async def test_a_foreign_page_cannot_connect(
    app: Quart, socketio: SocketIO, served: Any, connect: Connect, transport: str
) -> None:
    """By default only pages of the same host may connect, whatever cookies the browser sends."""
    url = await served(app)
    # python-engineio's client has closed its session when it reads why: aiohttp's RuntimeError if that is not there yet
    with pytest.raises((ClientConnectionError, RuntimeError)):
        await connect(url, transports=[transport], headers={"Origin": "https://evil.example"})
    assert socketio.server.clients == 0
    assert (await connect(url, transports=[transport], headers={"Origin": url})).connected


@pytest.mark.parity("socketio", "cors_allowed_origins, cors_credentials")
async def test_a_named_origin_may_connect(app: Quart, served: Any, connect: Connect) -> None:
    SocketIO(app, cors_allowed_origins=["https://friend.example"])
    url = await served(app)
    assert (await connect(url, headers={"Origin": "https://friend.example"})).connected
    with pytest.raises(ClientConnectionError):
        await connect(url, headers={"Origin": "https://evil.example"})


@pytest.mark.parity("socketio", "cors_allowed_origins, cors_credentials")
@pytest.mark.parametrize("credentials", [True, False])
async def test_a_page_may_send_its_cookies(app: Quart, served: Any, credentials: bool) -> None:
    """Unless it is told otherwise."""
    SocketIO(app, cors_allowed_origins="https://friend.example", cors_credentials=credentials)
    url, headers = f"{await served(app)}/socket.io/?EIO=4&transport=polling", {"Origin": "https://friend.example"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "https://friend.example"
        assert ("Access-Control-Allow-Credentials" in response.headers) == credentials


async def test_what_is_no_event_ends_the_connection(app: Quart, socketio: SocketIO, served: Any) -> None:
    """Rubbish, and events that only the server may make, reach no handler: the client is disconnected."""
    called: list[str] = []

    @socketio.on("disconnect")
    async def disconnected(reason: str) -> None:
        called.append(reason)

    url = (await served(app)).replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    rubbish = ["42[]", '42{"a":1}', "4nonsense", '42["connect",{}]', '42["disconnect","x"]', '451000-["x",{}]', "42[7]"]
    async with aiohttp.ClientSession() as http:
        for text in rubbish:
            async with http.ws_connect(url) as websocket:
                await websocket.receive_str()
                await websocket.send_str("40")
                assert (await websocket.receive_str()).startswith("40")
                await websocket.send_str(text)
                messages = [message async for message in websocket]
                assert websocket.closed, text
                assert len(messages) <= 2, text
    assert called == ["server disconnect"] * len(rubbish)


@pytest.mark.parametrize("text", ["z", "", "9", "4" + "[" * 100_000])
async def test_what_is_no_packet_ends_the_connection(
    app: Quart, socketio: SocketIO, served: Any, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """Below Socket.IO, too: by either transport the handlers hear of it, and nothing is left of the client."""
    called = asyncio.Queue[str]()

    @socketio.on("disconnect")
    async def disconnected(reason: str) -> None:
        await called.put(reason)

    url = await served(app)
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket") as websocket:
            await websocket.receive_str()
            await websocket.send_str("40")
            await websocket.receive_str()
            await websocket.send_str(text)
            assert [message async for message in websocket] == []
        assert (await asyncio.wait_for(called.get(), 10)).startswith("transport")
        async with http.get(f"{url}/socket.io/?EIO=4&transport=polling") as response:
            polling = f"{url}/socket.io/?EIO=4&transport=polling&sid={json.loads((await response.text())[1:])['sid']}"
        await (await http.post(polling, data="40")).read()
        if text:  # a POST without a body is no packet either, but a request that says nothing
            assert (await http.post(polling, data=text)).status == 400
            assert await asyncio.wait_for(called.get(), 10) == "server disconnect"
            await until(lambda: socketio.server.clients == len(socketio.server.eio.sockets) == 0)
    assert "Traceback" not in caplog.text
