"""WebSockets of unmodified extensions, Flask-SocketIO in threads and Flask-Sock: each is given a socket of its own.

Both talk RFC 6455 themselves, on the connection that the development server and Gunicorn let them have. An ASGI server
keeps that, and gives messages instead. So the application gets one end of a pair of sockets, in a thread, and
:class:`~decant.flask.tunnel.Tunnel` is the client at the other end.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

from ..bridge import Threads
from ..errors import Overloaded
from .environ import environ_of
from .tunnel import Refused, Tunnel

__all__ = ["Sockets", "polls_for_long"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
logger = logging.getLogger("decant.flask")
_PAGE: Final = 64 * 1024
_FAILED: Final = Refused(500, [("Content-Type", "text/plain")], b"failed\n")
_FULL: Final = Refused(503, [("Content-Type", "text/plain"), ("Retry-After", "5")], b"too many WebSockets are open\n")


def polls_for_long(app: Any, scope: Mapping[str, Any]) -> bool:
    """Whether a request is for an unmodified Flask-SocketIO, whose long polling holds the thread that answers it.

    :param scope: its ASGI scope, or its WSGI environ.
    """
    # The face's middleware has no such path: it is asked beside the application, before this.
    engineio_path = getattr(getattr(app.extensions.get("socketio"), "sockio_mw", None), "engineio_path", None)
    path, root = scope.get("PATH_INFO"), scope.get("root_path", "")
    below = scope["path"].removeprefix(root) if path is None else path
    return engineio_path is not None and below.startswith(engineio_path)


class Sockets:
    """The WebSockets of one application.

    :param size: how many may be open; each holds a thread for its whole life. One more is refused with status 503.
    :param grace_s: how long a handler may go on after its client has gone.
    :param idle_s: how long a client may take nothing of what is sent.
    """

    def __init__(self, app: Any, size: int, grace_s: float, idle_s: float) -> None:
        self.app, self.grace_s, self.idle_s = app, grace_s, idle_s
        self.threads = Threads(size, max_queued=0, grace_s=1.0)

    async def serve(self, scope: Scope, receive: Receive, send: Send, connections: Any, *, multiprocess: bool) -> None:
        """Serve one, to its end.

        :param connections: what is told of it while it is open, to end it when the server stops; or ``None``.
        """
        if (await receive())["type"] != "websocket.connect":
            return
        tunnel = Tunnel(scope, receive, send, grace_s=self.grace_s, idle_s=self.idle_s)
        environ = environ_of(scope, BytesIO(), multiprocess=multiprocess)
        tunnel.prepare(environ)
        answer = _Answer()
        if connections is not None:
            connections.add(tunnel)
        try:
            refused = await tunnel.run(self._run(environ, answer), answer.given)
        finally:
            if connections is not None:
                connections.discard(tunnel)
        if refused is not None:
            await _refuse(scope, send, refused)

    async def _run(self, environ: dict[str, Any], answer: _Answer) -> None:
        try:
            await self.threads.run(_call, self.app, environ, answer)
        except Overloaded:
            answer.refuse(_FULL)


class _Answer:
    """What the application answers by HTTP, if it does not take the socket."""

    def __init__(self) -> None:
        self._status, self._headers, self._body = 0, list[tuple[str, str]](), bytearray()

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self._status, self._headers = int(status[:3]), headers
        return self.take

    def take(self, data: bytes) -> None:
        self._body += data[: _PAGE - len(self._body)]

    def given(self) -> Refused | None:
        """An answer with status 200 is one, too: it is no WebSocket's."""
        if not self._status:
            return None
        kept = [pair for pair in self._headers if pair[0].lower() != "content-length"]
        return Refused(self._status, kept, bytes(self._body))

    def refuse(self, refused: Refused) -> None:
        """Answer this instead."""
        self._status, self._headers, self._body = refused.status, refused.headers, bytearray(refused.body)


def _call(app: Any, environ: dict[str, Any], answer: _Answer) -> None:
    """Run the application, which ends with its WebSocket; then both raise, as no answer may follow."""
    sock = environ["werkzeug.socket"]
    try:
        iterable: Iterable[bytes] = app(environ, answer.start_response)
        try:
            for data in iterable:
                answer.take(data)
        finally:
            if (close := getattr(iterable, "close", None)) is not None:
                close()
    except (ConnectionError, StopIteration):
        pass
    except Exception:
        logger.exception("The WebSocket %s failed", environ["PATH_INFO"])
        answer.refuse(_FAILED)
    except SystemExit as error:
        logger.error("The WebSocket %s ended by %r", environ["PATH_INFO"], error)
    finally:
        with suppress(OSError):  # the tunnel closes it, which alone would not end what another thread reads
            sock.shutdown(socket.SHUT_RDWR)


async def _refuse(scope: Scope, send: Send, refused: Refused) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1000, "reason": ""})  # answered 403
        return
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in refused.headers]
    headers.append((b"content-length", b"%d" % len(refused.body)))
    await send({"type": "websocket.http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refused.body, "more_body": False})
