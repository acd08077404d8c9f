"""The outermost ASGI layer of a serving process: says when the application is ready, and ends what stays open too long.

Servers tell an application that they stop only after its connections have ended, and some wait for these without a
limit: Hypercorn on Python 3.12.1 and newer (hypercorn#308), Granian. So here every request and WebSocket is kept, and
those that are left when the time is over are cancelled: a WebSocket's client is told with the code 1012, a stream is
cut. Before that, answers say ``Connection: close``, so that clients do not send their next request here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal

from .whole import whole

__all__ = ["Served"]

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_RESTARTS = 1012
_LEAVE_S = 1.0
logger = logging.getLogger("decant.serve")


class Served:
    """An application while it is being served.

    :param on_ready: called once, when it may get requests: it started, or takes no part in the lifespan.
    """

    def __init__(self, app: Any, on_ready: Callable[[], None]) -> None:
        self.app, self.on_ready = app, on_ready
        self.failure: str | None = None
        """Why it did not start."""
        self.open: dict[asyncio.Task[Any], Scope] = {}
        self._state: Literal["new", "starting", "started", "ended"] = "new"
        self._ending = False
        self.leaving = False
        """Whether clients of HTTP/1 are told to close their connections."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        self.open[task] = scope
        try:
            await self.app(scope, receive, self._leaving(whole(send)) if _is_http1(scope) else send)
        except asyncio.CancelledError:
            if self._ending and scope["type"] == "websocket":
                with suppress(Exception):  # it may be closed, or not be open yet
                    await asyncio.wait_for(send({"type": "websocket.close", "code": _RESTARTS}), _LEAVE_S)
            raise
        finally:
            self.open.pop(task, None)

    def _leaving(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if self.leaving and message["type"] == "http.response.start":
                others = [(name, value) for name, value in message.get("headers", ()) if name.lower() != b"connection"]
                message = {**message, "headers": [*others, (b"connection", b"close")]}
            await send(message)

        return sent

    def end(self) -> None:
        """End what is still open."""
        self._ending = True
        if self.open:
            logger.warning("%d requests and WebSockets are still open, and are ended", len(self.open))
        for task in list(self.open):
            task.cancel()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message = await receive()
            if self._state == "new":
                self._state = "starting"
            return message

        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._started()
            elif message["type"] == "lifespan.startup.failed":
                self.failure = str(message.get("message") or "it did not say why")
            elif message["type"] == "lifespan.shutdown.complete":
                self._state = "ended"
            await send(message)

        try:
            await self.app(scope, received, told)
        except Exception as error:
            if self._state == "started" or self.failure is not None:
                raise
            logger.debug("The application takes no part in the lifespan: %s: %s", type(error).__name__, error)
        if self._state != "ended" and self.failure is None:
            await self._without_application(receive, send)

    async def _without_application(self, receive: Receive, send: Send) -> None:
        if self._state == "new":
            await receive()
        if self._state != "started":
            self._started()
            await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _started(self) -> None:
        self._state = "started"
        self.on_ready()


def _is_http1(scope: Scope) -> bool:
    return scope["type"] == "http" and str(scope.get("http_version", "")).startswith("1")
