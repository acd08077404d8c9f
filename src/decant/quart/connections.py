"""The ASGI side: where each request and WebSocket enters the bridge, and its body is read at the reader's pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection

from ..bridge import current_threads
from .backlog import Backlog
from .body import Body
from .exchange import Exchange
from .versions import ClientDisconnected

if TYPE_CHECKING:
    from .app import Quart

__all__ = ["ELSEWHERE", "HTTPConnection", "WebsocketConnection"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger("decant.quart")
_LINGER_S = 5.0
_CLOSE_S = 1.0
_GOING_AWAY, _POLICY = 1001, 1008  # RFC 6455, section 7.4.1
ELSEWHERE = "decant.elsewhere"
"""In the scope of a request that is not below its mount path."""


def mounted(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The scope with a path that Quart routes as WSGI would: ``/mount`` is the root of an app mounted there.

    Quart answers 404 to the bare mount path, takes ``/mountain`` for a path below ``/mount``, and what is elsewhere
    for a path of one space, which a catch-all rule matches.
    """
    root, path = scope.get("root_path", ""), scope["path"]
    if not root or path.startswith(f"{root}/") or root.endswith("/"):
        return scope
    return {**scope, "path": f"{root}/", ELSEWHERE: path != root}


class _Stoppable:
    """A connection that the application can end as its client could: by a message that says that it has gone."""

    app: Quart
    _messages: asyncio.Task[Any] | None = None
    _stopped = False

    def stop(self) -> None:
        """Cancel the handler, which is torn down as if the client had gone away."""
        if not self._stopped and self._messages is not None:
            self._stopped = True
            self._messages.cancel()

    async def _until_stopped(self, handle: Callable[[Receive], Awaitable[None]], receive: Receive) -> bool:
        """Handle messages; ``True`` if that has been stopped."""
        self._messages = task = asyncio.current_task()
        assert task is not None
        self.app.connections.add(self)  # type: ignore[arg-type]
        try:
            await handle(receive)
        except asyncio.CancelledError:
            if not self._stopped or task.uncancel():
                raise
            return True
        finally:
            self._messages = None
        return False


class HTTPConnection(_Stoppable, ASGIHTTPConnection):
    """Runs a request in the bridge, shields its teardown and bounds its body.

    Follows ``quart.asgi.ASGIHTTPConnection``; both versions' ``handle_request`` and ``handle_messages`` are extended.
    """

    app: Quart

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, mounted(scope))  # type: ignore[arg-type]
        self.exchange = Exchange(self.scope, app.config["TEARDOWN_TIMEOUT"])  # type: ignore[arg-type]

    async def __call__(self, receive: Any, send: Any) -> None:
        try:
            await super().__call__(receive, send)
        finally:
            self.app.connections.discard(self)
            self.exchange.cancel()  # Quart 0.22 leaves its handler running where the server cancels this call

    async def handle_messages(self, request: Any, receive: Any, *rest: Any) -> None:
        def handle(receive: Any) -> Any:
            return super(HTTPConnection, self).handle_messages(request, receive, *rest)

        if isinstance(request.body, Body):
            receive = _at_the_readers_pace(request.body, receive)
        if await self._until_stopped(handle, receive):
            await handle(_saying({"type": "http.disconnect"}))

    async def handle_request(self, request: Any, send: Any) -> None:
        current_threads.set(self.app.threads)
        await self.exchange.run(self._answer(request, send))

    async def _answer(self, request: Any, send: Send) -> None:
        try:
            await super().handle_request(request, _answering(self.exchange, request.body, send))  # type: ignore[arg-type]
        except ClientDisconnected as error:
            await self.exchange.close(error)
        except BaseException as error:
            await self.exchange.close(error)
            raise
        else:
            await self.exchange.close(None)


class WebsocketConnection(_Stoppable, ASGIWebsocketConnection):
    """Runs a WebSocket in the bridge, shields its teardown and keeps the code that the client closed it with.

    It is closed with 1001 when the server stops, and with 1008 when its handler leaves too much unread for too long.
    """

    app: Quart

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, mounted(scope))  # type: ignore[arg-type]
        self.exchange = Exchange(self.scope, app.config["TEARDOWN_TIMEOUT"])  # type: ignore[arg-type]
        self.exchange.backlog = self.backlog = Backlog()
        self._ended: int | None = None
        self._gone = False

    async def __call__(self, receive: Any, send: Any) -> None:
        self._send = send
        try:
            await super().__call__(receive, self._send_unless_ended)  # type: ignore[arg-type]
        finally:
            self.app.connections.discard(self)
            if not self._gone:
                self.app.connections.finish(_drained(receive))
            self.exchange.cancel()

    async def _send_unless_ended(self, message: Message) -> None:
        if self._ended is None:
            await self._send(message)

    async def handle_messages(self, *args: Any) -> None:
        """Quart 0.22 gives ``receive``; 0.23 the WebSocket, ``receive`` and the handler's task."""
        before, after = (args[:1], args[2:]) if len(args) > 1 else ((), ())

        def handle(receive: Any) -> Any:
            return super(WebsocketConnection, self).handle_messages(*before, receive, *after)  # type: ignore[call-arg]

        if await self._until_stopped(handle, self._at_the_readers_pace(args[len(before)])):
            await self._end(_GOING_AWAY, "the server stops")
            await handle(_saying(self._disconnect()))

    def _at_the_readers_pace(self, receive: Receive) -> Receive:
        async def paced() -> Message:
            limit_s = self.app.config["WEBSOCKET_UNREAD_TIMEOUT"]
            try:
                await self.backlog.room(limit_s)
            except TimeoutError:
                logger.warning("A WebSocket's messages were not read for %s s: %s", limit_s, self.scope["path"])
                await self._end(_POLICY, "too many messages are waiting")
                return self._disconnect()
            message = await receive()
            if message["type"] == "websocket.receive":
                self.backlog.add(message.get("bytes") or message["text"])
            elif message["type"] == "websocket.disconnect":
                self._gone = True
                self._note(message.get("code", 1005), message.get("reason") or "")
            return message

        return paced

    async def _end(self, code: int, reason: str) -> None:
        """Close it; what the handler sends from now on goes nowhere."""
        self._ended = code
        self._note(code, reason)
        with suppress(OSError, TimeoutError):  # it has gone, or reads nothing
            async with asyncio.timeout(_CLOSE_S):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def _disconnect(self) -> Message:
        return {"type": "websocket.disconnect", "code": self._ended}

    def _note(self, code: int, reason: str) -> None:
        self.exchange.close_code, self.exchange.close_reason = code, reason

    async def handle_websocket(self, websocket: Any, send: Any) -> None:
        current_threads.set(self.app.threads)
        await self.exchange.run(self._answer(websocket, send))

    async def _answer(self, websocket: Any, send: Send) -> None:
        try:
            await super().handle_websocket(websocket, send)  # type: ignore[arg-type]
        except ClientDisconnected as error:
            await self.exchange.close(error)
        except BaseException as error:
            await self.exchange.close(error)
            raise
        else:
            await self.exchange.close(None)


def _at_the_readers_pace(body: Body, receive: Receive) -> Receive:
    async def paced() -> Message:
        await body.room()
        return await receive()

    return paced


def _answering(exchange: Exchange, body: Any, send: Send) -> Send:
    """Sends a response: within the stream's deadline, and to its end before the rest of the request is cut off."""
    has_length = False

    async def answer(message: Message) -> None:
        nonlocal has_length
        if message["type"] == "http.response.start":
            has_length = any(name == b"content-length" for name, _ in message["headers"])
        elif has_length and not message.get("more_body") and isinstance(body, Body):
            await body.drain(_LINGER_S)  # the client has it all by now
        if exchange.send_timeout_s is None:
            await send(message)
        else:
            async with asyncio.timeout(exchange.send_timeout_s):
                await send(message)

    return answer


async def _drained(receive: Receive) -> None:
    """Take what a client goes on sending: Hypercorn would wait for ever to hand it over, and never hear of its end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while (await receive())["type"] != "websocket.disconnect":
                pass


def _saying(message: Message) -> Receive:
    async def say() -> Message:
        return message

    return say
