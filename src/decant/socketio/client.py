"""The test client: Flask-SocketIO's, awaited."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import flask
import flask.testing
from engineio.async_drivers.asgi import translate_request
from engineio.async_socket import AsyncSocket
from socketio import packet
from werkzeug.test import EnvironBuilder

from .server import FAILURES
from .serving import Serving

__all__ = ["SocketIOTestClient"]

_EVENTS: Final = (packet.EVENT, packet.BINARY_EVENT)
_ACKS: Final = (packet.ACK, packet.BINARY_ACK)


class _Socket(AsyncSocket):  # type: ignore[misc]
    """A connection that ends in this process: what is sent to it is handed over at once."""

    client: SocketIOTestClient

    async def send(self, pkt: Any) -> None:
        self.client.receive(pkt.data)


class SocketIOTestClient:
    """A client that talks to the application's handlers, in this process, without a server or a socket.

    ``emit`` returns when its handler has ended, and raises what it has raised, unless ``on_error`` took that. What
    differs from Flask-SocketIO's: it is awaited, it is made by ``await socketio.test_client(app)``, and it works beside
    a message queue, too.

    :ivar eio_sid: its Engine.IO id.
    :ivar connected: namespace → whether it is connected.
    :ivar queue: the events received, as :meth:`get_received` gives them.
    :ivar acks: the last answer that was not taken by ``emit``: ``{"args": […], "namespace": …}``.
    """

    def __init__(self, app: Any, serving: Serving, flask_test_client: Any = None) -> None:
        self.app, self.flask_test_client = app, flask_test_client
        self.eio_sid = uuid.uuid4().hex
        self.connected: dict[str, bool] = {}
        self.queue: list[dict[str, Any]] = []
        self.acks: dict[str, Any] | None = None
        self._serving, self._server = serving, serving.server
        self._callbacks = 0
        self._failures: list[Exception] = []
        self._partial: Any = None

    def is_connected(self, namespace: str | None = None) -> bool:
        """Whether the client is connected to the namespace."""
        return self.connected.get(namespace or "/", False)

    async def connect(
        self, namespace: str | None = None, query_string: str | None = None, headers: Any = None, auth: Any = None
    ) -> None:
        """Connect to one more namespace, or again.

        The handshake is a new one if these are given, or if the client is not connected to any namespace.

        :param query_string: of the handshake.
        :param headers: of the handshake: a mapping, or pairs.
        :param auth: what the ``connect`` handler is called with.
        """
        namespace = namespace or "/"
        if query_string or headers or not any(self.connected.values()):
            await self._shake_hands((query_string or "").lstrip("?"), headers)
        await self._deliver(packet.CONNECT, auth, namespace)
        sid = self._server.manager.sid_from_eio_sid(self.eio_sid, namespace)
        self.connected[namespace] = sid is not None and self._server.manager.is_connected(sid, namespace)

    async def disconnect(self, namespace: str | None = None) -> None:
        """Disconnect from the namespace.

        :raises RuntimeError: if it is not connected.
        """
        self._require(namespace)
        await self._deliver(packet.DISCONNECT, None, namespace or "/")
        self.connected.pop(namespace or "/", None)

    async def emit(self, event: str, *args: Any, callback: bool = False, namespace: str | None = None) -> Any:
        """Emit an event to the server and wait until it is handled.

        :param callback: ``True`` asks for an answer, which is returned: a value, or a list if it is not one.
        :raises RuntimeError: if it is not connected.
        """
        self._require(namespace)
        number = None
        if callback:
            self._callbacks += 1
            number = self._callbacks
        await self._deliver(packet.EVENT, [event, *args], namespace or "/", number)
        acks, self.acks = self.acks, None
        if acks is None:
            return None
        return acks["args"][0] if len(acks["args"]) == 1 else acks["args"]

    async def send(self, data: Any, json: bool = False, callback: bool = False, namespace: str | None = None) -> Any:
        """:meth:`emit` a ``message``, or ``json``."""
        return await self.emit("json" if json else "message", data, callback=callback, namespace=namespace)

    def get_received(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """The events since the last call: ``{"name": …, "args": […], "namespace": …}``; ``args`` of ``message`` and
        ``json`` is the value itself.

        :raises RuntimeError: if it is not connected.
        """
        self._require(namespace)
        received = [event for event in self.queue if event["namespace"] == (namespace or "/")]
        self.queue = [event for event in self.queue if event["namespace"] != (namespace or "/")]
        return received

    def receive(self, data: Any) -> None:
        """What the server sends arrives here."""
        if self._partial is not None:
            if not self._partial.add_attachment(data):
                return
            arrived, self._partial = self._partial, None
        elif isinstance(data, str | bytes) and data:
            arrived = self._server.packet_class(encoded_packet=data)
            if arrived.packet_type in (packet.BINARY_EVENT, packet.BINARY_ACK) and arrived.attachment_count:
                self._partial = arrived
                return
        else:
            return
        self._take(arrived)

    def _take(self, arrived: Any) -> None:
        namespace = arrived.namespace or "/"
        if arrived.packet_type in _EVENTS:
            name, *args = arrived.data
            value = args[0] if name in ("message", "json") and args else args
            self.queue.append({"name": name, "args": value, "namespace": namespace})
        elif arrived.packet_type in _ACKS:
            self.acks = {"args": arrived.data, "namespace": namespace}
        elif arrived.packet_type in (packet.DISCONNECT, packet.CONNECT_ERROR):
            self.connected[namespace] = False

    def _require(self, namespace: str | None) -> None:
        if not self.is_connected(namespace):
            raise RuntimeError("not connected")

    async def _shake_hands(self, query_string: str, headers: Any) -> None:
        self._serving.begin()
        if self.eio_sid not in self._server.eio.sockets:
            socket = _Socket(self._server.eio, self.eio_sid)
            socket.client, socket.connected, socket.upgraded = self, True, True
            self._server.eio.sockets[self.eio_sid] = socket
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "http_version": "1.1",
            "path": f"/{self._serving.options.path}/",
            "query_string": query_string.encode(),
            "headers": self._headers(headers),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        environ = await translate_request(scope, _request, None)
        environ[FAILURES] = self._failures
        await self._server._handle_eio_connect(self.eio_sid, environ)

    def _headers(self, given: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> list[tuple[bytes, bytes]]:
        pairs = list(given.items() if isinstance(given, Mapping) else given or ())
        names = {name.lower() for name, _ in pairs}
        if "host" not in names:
            pairs.append(("host", "localhost"))
        cookies = self._cookies()
        if cookies and "cookie" not in names:
            pairs.append(("cookie", cookies))
        return [(name.lower().encode(), value.encode()) for name, value in pairs]

    def _cookies(self) -> str:
        """Those of the application's test client, as a header."""
        client = self.flask_test_client
        if isinstance(client, flask.testing.FlaskClient):
            environ: dict[str, Any] = EnvironBuilder().get_environ()
            client._add_cookies_to_wsgi(environ)  # as Flask's own test client does
            return str(environ.get("HTTP_COOKIE", ""))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in getattr(client, "cookie_jar", None) or ())

    async def _deliver(self, kind: int, data: Any, namespace: str, number: int | None = None) -> None:
        """Hand a packet to the server, as it would have arrived, and wait for the handlers that it starts.

        :raises Exception: what a handler has raised.
        """
        encoded = self._server.packet_class(kind, data=data, namespace=namespace, id=number).encode()
        for part in encoded if isinstance(encoded, list) else [encoded]:
            await self._server._handle_eio_message(self.eio_sid, part)
        running = self._server.working.get(self.eio_sid)
        if running:
            await asyncio.wait(set(running))
        failures = self._failures[:]
        self._failures.clear()
        for error in failures:
            raise error


async def _request() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
