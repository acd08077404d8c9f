"""One WebSocket of an extension as a test makes it: both ends are the test's, the server's and the application's.

Like Hypercorn and uvicorn this server refuses messages after a close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import flask
import simple_websocket
from wsproto import ConnectionType, WSConnection
from wsproto.events import Event

from decant.flask import Asgi, asgi
from tests.flask.asgi_calls import until

__all__ = ["Client", "Ended", "Peer", "serving", "simple"]


class Ended(flask.Response):
    """Flask-Sock's response, where Werkzeug serves."""

    def __call__(self, *args: Any) -> Any:
        raise ConnectionError


class Client:
    """One WebSocket of a server whose client does what the test says."""

    def __init__(self, shim: Any, **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()
        self.has_gone = False
        self.scope = {
            "type": "websocket",
            "path": "/",
            "headers": [(b"host", b"example.test"), (b"sec-websocket-extensions", b"permessage-deflate")],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            **scope,
        }
        self.says("connect")
        self.task = asyncio.create_task(shim(self.scope, self.received.get, self._send))

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        if self.has_gone:
            raise OSError("the client has gone")
        if "websocket.close" in self.kinds:
            raise RuntimeError(f"{message['type']} after a close")
        self.sent.append(message)

    def says(self, kind: str, **what: Any) -> None:
        self.received.put_nowait({"type": f"websocket.{kind}", **what})

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.sent]

    @property
    def messages(self) -> list[Any]:
        given = [message for message in self.sent if message["type"] == "websocket.send"]
        return [message.get("text", message.get("bytes")) for message in given]

    async def accepted(self) -> Client:
        await until(lambda: "websocket.accept" in self.kinds)
        return self

    async def closed(self) -> int:
        """The code it is closed with; the call has ended."""
        await until(lambda: "websocket.close" in self.kinds)
        self.says("disconnect", code=1000)
        await self.ended()
        assert self.kinds[-1] == "websocket.close"
        return int(self.sent[-1]["code"])

    async def ended(self) -> None:
        await asyncio.wait_for(self.task, 10)


class Peer:
    """The application's end: RFC 6455's server, as extensions have it."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ, self.sock = environ, environ["werkzeug.socket"]
        self.protocol = WSConnection(ConnectionType.SERVER)
        names = ("Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol")
        pairs = [(name, environ.get(f"HTTP_{name.upper().replace('-', '_')}")) for name in names]
        fields = [f"{name}: {value}" for name, value in [("Host", "x"), *pairs] if value]
        self.protocol.receive_data("\r\n".join(["GET / HTTP/1.1", *fields, "", ""]).encode())
        self.requested = next(self.protocol.events())

    def send(self, *events: Event) -> None:
        for event in events:
            self.sock.sendall(self.protocol.send(event))

    def read(self) -> list[Event]:
        """What comes next; nothing at the end."""
        data = self.sock.recv(65_536)
        if data:
            self.protocol.receive_data(data)
        return list(self.protocol.events())


def serving(handle: Callable[[Peer], Any], *, closes: bool = True, **options: Any) -> Asgi:
    """An application that takes the socket itself, and closes it at its end; it tells that as under Werkzeug."""
    app = flask.Flask("raw", root_path="/", instance_path="/instance")

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            handle(Peer(environ))
        finally:
            if closes:
                environ["werkzeug.socket"].close()
        raise ConnectionError

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]
    return asgi(app, **{"grace_s": 8.0, **options})


def simple(handle: Callable[[Any], Any], **options: Any) -> Asgi:
    """An application with one WebSocket as Flask-Sock makes them."""
    app = flask.Flask("simple", root_path="/", instance_path="/instance")

    @app.route("/", websocket=True)
    def view() -> Any:
        ws = simple_websocket.Server(flask.request.environ)
        handle(ws)
        with suppress(simple_websocket.ConnectionClosed):
            ws.close()
        return Ended()

    return asgi(app, **{"grace_s": 8.0, **options})
