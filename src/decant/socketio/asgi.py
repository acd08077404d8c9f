"""Beside the application: what comes below Socket.IO's path is python-engineio's, all else the application's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from .server import Server

__all__ = ["Middleware", "same_origin"]

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]
logger = logging.getLogger("decant.socketio")
_HTTP: Final = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


def same_origin(origin: str, environ: dict[str, Any]) -> bool:
    """Whether the page is of the host that it connects to.

    As python-engineio has it, ``X-Forwarded-Proto`` and ``-Host`` count too, which no page can set; it does not see
    that a connection without a proxy is encrypted, this does.
    """
    scheme = _HTTP.get(environ["asgi.scope"].get("scheme", "http"), "http")
    host = environ.get("HTTP_HOST", "")
    forwarded_scheme = environ.get("HTTP_X_FORWARDED_PROTO", scheme).split(",")[0].strip()
    forwarded_host = environ.get("HTTP_X_FORWARDED_HOST", host).split(",")[0].strip()
    return bool(host) and origin in (f"{scheme}://{host}", f"{forwarded_scheme}://{forwarded_host}")


class Middleware:
    """An ASGI application; it leaves the lifespan to the application that it wraps.

    :param path: without slashes at its ends.
    """

    def __init__(self, server: Server, app: App, path: str) -> None:
        self.server, self.app, self.path = server, app, f"/{path}/"

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket") or not self._is_ours(scope):
            await self.app(scope, receive, send)
        elif self.server.stopping:
            await _refuse(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        root, path = scope.get("root_path", ""), str(scope["path"])
        return f"{path.removeprefix(root)}/".startswith(self.path)

    async def _serve(self, scope: Scope, receive: Any, send: Any) -> None:
        connections, task = self.server.eio.connections, asyncio.current_task()
        if scope["type"] == "websocket" and task is not None:
            for sid in parse_qs(scope.get("query_string", b"").decode("latin1")).get("sid", []):
                if sid in self.server.eio.sockets:  # the upgrade of one that has polled until now
                    connections[sid] = task
        first = await receive()
        if first["type"] not in ("http.request", "websocket.connect"):
            return  # the client has gone already
        try:
            await self.server.handle_request(scope, _beginning_with(first, receive), send)
        finally:
            for sid in [sid for sid in self._sids(task) if connections[sid] is task]:
                del connections[sid]

    def _sids(self, task: Any) -> list[str]:
        return [sid for sid, other in self.server.eio.connections.items() if other is task]


def _beginning_with(first: Any, receive: Any) -> Any:
    waiting = [first]

    async def receive_again() -> Any:
        return waiting.pop() if waiting else await receive()

    return receive_again


async def _refuse(scope: Scope, receive: Any, send: Any) -> None:
    """The server stops: come back, and another process, or this one once it is back, will answer."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1012, "reason": "the server restarts"})
        return
    headers = [(b"content-type", b"text/plain"), (b"retry-after", b"1"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"the server restarts\n"})
