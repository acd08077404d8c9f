"""A mounted application's WebSockets: Quart's own, and Socket.IO of the Flask half beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import flask
import flask_socketio
import pytest
import quart
import socketio as client_library

from decant import Quart
from decant import socketio as twins
from decant.faces import face
from decant.flask import mount, request_id
from tests.serving import serve

pytestmark = [
    pytest.mark.usefixtures("polling"),
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
]

SOCKETIO = {"unmodified": flask_socketio.SocketIO, "face": face(twins.SocketIO)}


def mounted(kind: str) -> Quart:
    ours, theirs = Quart("ours"), flask.Flask("theirs")
    theirs.secret_key = "for tests"
    socketio = SOCKETIO[kind](theirs, **({"async_mode": "threading"} if kind == "unmodified" else {}))

    @socketio.on("ask")
    def ask(data: Any) -> Any:
        return [data, flask.session.get("who"), flask.request.headers["X-Request-ID"]]

    @ours.websocket("/live")
    async def live() -> None:
        await quart.websocket.send(f"{await quart.websocket.receive()} {quart.session.get('who')} {request_id()}")

    @ours.get("/login/<who>")
    async def login(who: str) -> str:
        quart.session["who"] = who
        return who

    mount(ours, theirs, grace_s=1)
    return ours


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("kind", ["unmodified", "face"])
async def test_socketio_of_flask_beside_websockets_of_quart(kind: str, transport: str) -> None:
    """With Quart's session, and an id for each."""
    app = await asyncio.to_thread(mounted, kind)
    async with serve(app) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/login/ada") as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        client = client_library.AsyncClient()
        headers = {"Cookie": cookie, "X-Request-ID": "id-1"}
        await client.connect(url, headers=headers, transports=[transport], wait_timeout=10)
        assert await client.call("ask", "this", timeout=10) == ["this", "ada", "id-1"]
        async with http.ws_connect(f"{url}/live", headers={"Cookie": cookie, "X-Request-ID": "id-2"}) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=10) == "hello ada id-2"
        await client.disconnect()


async def test_it_can_be_served_again() -> None:
    app = await asyncio.to_thread(mounted, "face")
    for _ in range(2):
        async with serve(app) as url:
            client = client_library.AsyncClient()
            await client.connect(url, transports=["websocket"], wait_timeout=10)
            assert (await client.call("ask", "this", timeout=10))[0] == "this"
            await client.disconnect()
