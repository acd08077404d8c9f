"""The shim: a real Flask application as an ASGI application."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

import flask

from ..bridge import Threads
from ..errors import ConfigError
from ..quart.stopping import Connections
from .exchange import Exchange, Limits
from .lifespan import Lifespan
from .registry import make_bridge_local
from .views import Views
from .watchdog import Watchdog
from .websockets import Sockets

__all__ = ["Asgi", "asgi"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
logger = logging.getLogger("decant.flask")


def asgi(
    app: flask.Flask,
    *,
    views: Literal["threads", "loop"] = "threads",
    threads: int = 40,
    max_queued: int = 1000,
    sockets: int = 100,
    spool: int = 1 << 20,
    max_body: int | None = None,
    idle_s: float = 60.0,
    grace_s: float = 10.0,
) -> Asgi:
    """A Flask application, unmodified, as an ASGI application.

    :param views: ``"threads"``: each request in one of ``threads``, as Gunicorn's gthread worker has it. ``"loop"``: on
        the event loop, where what blocks holds everyone, but what waits by :func:`decant.wait` holds no one; there
        SQLAlchemy's plain ``scoped_session`` gives a session per request (:mod:`decant.flask.registry`).
    :param threads: how many requests run in threads at once.
    :param max_queued: how many more may queue for a thread; one more is answered 503 with ``Retry-After`` at once.
    :param sockets: how many WebSockets of unmodified extensions may be open; each has a thread for its whole life.
    :param spool: how many bytes of a body that are not read yet are held in memory; more go to a temporary file.
    :param max_body: the longest body that can be read, in bytes; reading more raises 413. ``None``: any, as Gunicorn,
        but for what Flask's ``MAX_CONTENT_LENGTH`` says.
    :param idle_s: how long a client may send nothing that is being read, or take nothing that is sent.
    :param grace_s: how long a view may go on after its client has gone, or the server has stopped.
    :raises ConfigError: if a number is not positive, or ``views`` is neither.
    """
    given = {"threads": threads, "sockets": sockets, "spool": spool, "idle_s": idle_s, "grace_s": grace_s}
    for name, value in given.items():
        if value <= 0:
            raise ConfigError(name, value, "a number above 0 is needed")
    if views == "loop" and "sqlalchemy" in sys.modules:
        make_bridge_local()  # or requests would share the session of a plain scoped_session
    pool = Threads(threads, max_queued=max_queued, grace_s=grace_s)
    return Asgi(app, views, pool, Limits(spool, max_body, idle_s, grace_s), sockets)


class Asgi:
    """The ASGI application that :func:`asgi` makes; an object of its own, so that ``app`` stays the WSGI application.

    :attr multiprocess: whether other processes serve the same application: ``wsgi.multiprocess``.
    """

    def __init__(
        self, app: flask.Flask, views: Literal["threads", "loop"], threads: Threads, limits: Limits, sockets: int
    ) -> None:
        if not isinstance(app, flask.Flask):
            raise TypeError(f"a flask.Flask application is needed, not {type(app).__name__}: {app!r}")
        self.app, self.views, self.threads, self.limits = app, views, threads, limits
        self.multiprocess = False
        self.connections = Connections()
        self.watchdog = Watchdog()
        self.placing = Views(app, views, threads, self.watchdog)
        self.sockets = Sockets(app, sockets, limits.grace_s, limits.idle_s)
        self.lifespan = Lifespan(self)
        self._beside = self.lifespan.beside(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: ``lifespan``, ``http`` or ``websocket``."""
        if scope["type"] == "lifespan":
            await self.lifespan.run(receive, send)
        else:
            await self._beside(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or serve one WebSocket, wherever else its scope has been looked at."""
        await self._beside(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            connections = self.connections if self.lifespan.serves else None
            await self.sockets.serve(scope, receive, send, connections, multiprocess=self.multiprocess)
            return
        exchange = Exchange(self.app, scope, send, self.limits)
        if self.lifespan.serves:
            self.connections.add(exchange)
        try:
            await exchange.run(self.placing.run, receive, multiprocess=self.multiprocess)
        finally:
            self.connections.discard(exchange)

    def test_client(self, **options: Any) -> Any:
        """Flask's test client, synchronous as that is, whose requests take this way instead of the WSGI one.

        :param options: of ``app.test_client``, as ``use_cookies=False``.
        """
        from .client import client_of

        return client_of(self, **options)
