"""From the server's start to its stop: what begins before the first request and ends after the last."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..bridge import refuse_eager_tasks
from ..ops.registry import gauge
from .async_db import dispose_engines

if TYPE_CHECKING:
    from .shim import Asgi

__all__ = ["Lifespan"]

logger = logging.getLogger("decant.flask")
Serve = Callable[[Any, Any, Any], Awaitable[None]]


class Lifespan:
    """The life of one :class:`~decant.flask.shim.Asgi`; it can be started again after it has ended."""

    def __init__(self, asgi: Asgi) -> None:
        self.asgi = asgi
        self.serves = False
        self._socketio: Any = None

    def beside(self, serve: Serve) -> Serve:
        """``serve``; behind ``decant.socketio``, if the application has it."""
        module = sys.modules.get("decant.socketio")
        if module is not None:
            asgi = self.asgi
            self._socketio = module.beside(
                asgi.app, serve, views=asgi.views, threads=asgi.threads, on_loop=asgi.placing.watched
            )
        return serve if self._socketio is None else self._socketio.middleware

    async def run(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], send: Any) -> None:
        """The ASGI lifespan protocol."""
        while True:
            message = await receive()
            starting = message["type"] == "lifespan.startup"
            stage = "startup" if starting else "shutdown"
            try:
                await (self.start() if starting else self.stop())
            except Exception as error:
                logger.exception("The %s of %s failed", stage, self.asgi.app.name)
                await send({"type": f"lifespan.{stage}.failed", "message": str(error)})
                return
            await send({"type": f"lifespan.{stage}.complete"})
            if not starting:
                return

    async def start(self) -> None:
        """Begin to serve.

        :raises RuntimeError: if the loop starts tasks eagerly.
        :raises ConfigError: if ``DECANT_BLOCKING_VIEWS`` names what is not there.
        """
        refuse_eager_tasks(asyncio.get_running_loop())
        self.asgi.placing.check()
        self._count()
        self.asgi.connections.begin(self.asgi.limits.grace_s)
        self.serves = True
        if self.asgi.watchdog is not None:
            self.asgi.watchdog.start()
        if self._socketio is not None:
            await self._socketio.start()

    def _count(self) -> None:
        """Show the threads in the metrics."""
        asgi = ref(self.asgi)
        for name, text, value in (
            ("decant_flask_threads", "Threads for a Flask application's requests", lambda asgi: asgi.threads.size),
            ("decant_flask_threads_busy", "Threads that run a request now", lambda asgi: asgi.threads.busy),
            ("decant_flask_queued", "Requests that wait for a thread now", lambda asgi: asgi.threads.queued),
            ("decant_flask_websockets", "WebSockets of extensions in threads", lambda asgi: asgi.sockets.threads.busy),
        ):
            now = partial(lambda value: value(found) if (found := asgi()) is not None else 0, value)
            gauge(name, text, ("app",)).set_function(now, app=self.asgi.app.name)

    async def stop(self) -> None:
        """Let requests end, at most ``grace_s``; then end them, and close what belongs to this loop."""
        if self._socketio is not None:
            await self._socketio.close()
        await self.asgi.connections.stop()
        self.serves = False
        await dispose_engines(self.asgi.app)
        if self.asgi.watchdog is not None:
            self.asgi.watchdog.stop()
        self.asgi.threads.close()
        self.asgi.sockets.threads.close()
