"""``mount``: one application of two halves. Quart answers what it routes, and Flask the rest.

The choice is made where Quart would begin to handle a connection (``asgi_http_class``, ``asgi_websocket_class``), so
whatever wraps ``asgi_app`` of the Quart application, before ``mount`` or after it, stands before both halves: CORS,
Socket.IO, security headers. Each half's own hooks see its own requests only.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final, Literal

import flask
import quart
from werkzeug.security import safe_join

from ..bridge import Threads
from ..errors import ConfigError
from ..ops.metrics import count_requests
from . import request_ids
from .exchange import ERRORS
from .linking import link_halves
from .matching import FLASK, QUART, Decision, Half, HalfName, Matcher, below
from .sharing import check_shared, share
from .shim import Asgi, asgi

__all__ = ["MOUNTED", "Mounted", "mount"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MOUNTED: Final = "decant.flask"
"""Where the Quart application keeps its :class:`Mounted`, in its ``extensions``."""
logger = logging.getLogger("decant.flask")
_files: Final = Threads(4, may_wait=False)


def mount(
    quart_app: Any,
    flask_app: flask.Flask,
    at: str | None = None,
    *,
    views: Literal["threads", "loop"] = "threads",
    unrouted: HalfName = "flask",
    **options: Any,
) -> Mounted:
    """Let ``quart_app`` answer with ``flask_app`` what it does not route itself. Serve ``quart_app``.

    Where both route a path, Quart answers, unless Flask's rule is the more specific one (``/login`` against
    ``/<slug>``), or only Flask routes the method. Routes may still be added to both.

    :param at: a prefix, as ``"/legacy"``: everything below it is Flask's, and nothing else.
    :param views: where Flask's views run, as of :func:`decant.flask.asgi`, which takes the other ``options`` too.
    :param unrouted: who answers what neither routes: ``"flask"``, because its WSGI middleware and ``before_request``
        functions may answer it, and its users know its error pages; or ``"quart"``.
    :raises ConfigError: if a parameter is wrong, or the halves' settings of sessions exclude each other.
    :raises RuntimeError: if ``quart_app`` has a Flask half already.
    :raises TypeError: if the applications are not Quart's and Flask's.
    """
    if not isinstance(quart_app, quart.Quart) or not isinstance(flask_app, flask.Flask):
        kinds = f"{type(quart_app).__name__} and {type(flask_app).__name__}"
        raise TypeError(f"mount() takes a quart.Quart and a flask.Flask, not {kinds}")
    if MOUNTED in quart_app.extensions:
        raise RuntimeError(f"{quart_app.name!r} has a Flask half already: {quart_app.extensions[MOUNTED].flask.name!r}")
    if unrouted not in (QUART, FLASK):
        raise ConfigError("unrouted", unrouted, "'flask' or 'quart' is allowed")
    mounted = Mounted(quart_app, asgi(flask_app, views=views, **options), _prefix(at), unrouted)
    quart_app.extensions[MOUNTED] = mounted
    return mounted


def _prefix(at: str | None) -> str | None:
    if at in (None, "", "/"):
        return None
    if not isinstance(at, str) or not at.startswith("/") or at.endswith("/") or "//" in at or "<" in at:
        raise ConfigError("at", at, "a path such as '/legacy', or None")
    return at


class Mounted:
    """A Quart application with its Flask half; also an ASGI application, which is the Quart application itself.

    :ivar notes: what the halves do not share, and why.
    """

    def __init__(self, quart_app: quart.Quart, flask_asgi: Asgi, at: str | None, unrouted: HalfName) -> None:
        self.quart, self.flask, self.asgi, self.at = quart_app, flask_asgi.app, flask_asgi, at
        self.notes = share(self.quart, self.flask, at)
        self.matcher = Matcher(Half(self.quart), Half(self.flask), at, unrouted)
        link_halves(self.quart, self.flask, at)
        count_requests(self.quart)
        count_requests(self.flask)
        for name in ("asgi_http_class", "asgi_websocket_class"):
            setattr(self.quart, name, _between(self, getattr(self.quart, name)))
        self.quart.before_serving(self._start)
        self.quart.after_serving(self.asgi.lifespan.stop)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.quart(scope, receive, send)

    async def _start(self) -> None:
        check_shared(self.quart, self.flask)  # again: they may have been changed meanwhile
        await self.asgi.lifespan.start()

    async def decide(self, scope: Message) -> Decision:
        """Which half answers a request or WebSocket."""
        decision = self.matcher.decide(scope)
        if decision.file is not None:
            ours, theirs, name = decision.file
            if await _files.run(_only_in_second, ours, theirs, name):
                return Decision(FLASK)
        return decision

    async def answer(self, inner: Callable[..., Any], scope: Message, receive: Receive, send: Send) -> None:
        """Answer by one of the halves, with the request's id; ``inner`` makes Quart's connection."""
        scope, identity = request_ids.identified(scope)
        token = request_ids.current.set(identity)
        try:
            decision = await self.decide(scope)
            send = self._sends(decision, scope, send, identity.encode())
            if decision.half == QUART:
                await inner(self.quart, scope)(receive, send)
            else:
                await self._by_flask(scope, receive, send)
        finally:
            request_ids.current.reset(token)

    async def _by_flask(self, scope: Message, receive: Receive, send: Send) -> None:
        if self.at is not None:
            scope = {**scope, "root_path": scope.get("root_path", "").rstrip("/") + self.at}
        if not self.quart.testing:
            await self.asgi.handle(scope, receive, send)
            return
        errors: list[BaseException] = []
        await self.asgi.handle({**scope, ERRORS: errors}, receive, send)
        if errors:
            raise errors[0]  # through the test client, as what the Quart half raises

    def _sends(self, decision: Decision, scope: Message, send: Send, identity: bytes) -> Send:
        """Adds the request's id to an answer, and the other half's methods to an ``Allow`` that both have a part in."""
        path = below(scope)
        other = self.matcher.theirs if decision.half == QUART else self.matcher.ours

        async def sending(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = list(message.get("headers", ()))
                if decision.merges:
                    headers = [_merged(header, other.methods(scope, path)) for header in headers]
                if not any(name.lower() == request_ids.HEADER for name, _ in headers):
                    headers.append((request_ids.HEADER, identity))
                message = {**message, "headers": headers}
            await send(message)

        return sending


def _merged(header: tuple[bytes, bytes], methods: Any) -> tuple[bytes, bytes]:
    if header[0].lower() != b"allow":
        return header
    allowed = {name.strip() for name in header[1].decode("latin-1").split(",")} | set(methods)
    return header[0], ", ".join(sorted(allowed - {""})).encode("latin-1")


def _between(mounted: Mounted, inner: Callable[..., Any]) -> Callable[..., Any]:
    """What Quart makes for a connection in place of its own."""

    def connection(app: Any, scope: Message) -> Callable[[Receive, Send], Awaitable[None]]:
        async def handle(receive: Receive, send: Send) -> None:
            await mounted.answer(inner, scope, receive, send)

        return handle

    return connection


def _only_in_second(ours: str, theirs: str, name: str) -> bool:
    paths = [safe_join(folder, name) for folder in (ours, theirs)]
    found = [path is not None and Path(path).is_file() for path in paths]
    return found == [False, True]
