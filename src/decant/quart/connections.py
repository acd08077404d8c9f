"""The ASGI side: where each request and WebSocket enters the bridge, and its body is read at the reader's pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection

from ..bridge import current_threads
from .body import Body
from .exchange import Exchange
from .versions import ClientDisconnected

if TYPE_CHECKING:
    from .app import Quart

__all__ = ["ELSEWHERE", "HTTPConnection", "WebsocketConnection"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LINGER_S = 5.0
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


class HTTPConnection(ASGIHTTPConnection):
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
            self.exchange.cancel()  # Quart 0.22 leaves its handler running where the server cancels this call

    async def handle_messages(self, request: Any, receive: Any, *rest: Any) -> None:
        if isinstance(request.body, Body):
            receive = _at_the_readers_pace(request.body, receive)
        await super().handle_messages(request, receive, *rest)

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


class WebsocketConnection(ASGIWebsocketConnection):
    """Runs a WebSocket in the bridge, shields its teardown and keeps the code that the client closed it with."""

    app: Quart

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, mounted(scope))  # type: ignore[arg-type]
        self.exchange = Exchange(self.scope, app.config["TEARDOWN_TIMEOUT"])  # type: ignore[arg-type]

    async def __call__(self, receive: Any, send: Any) -> None:
        try:
            noting: Any = _noting_the_close(self.exchange, receive)
            await super().__call__(noting, send)
        finally:
            self.exchange.cancel()

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


def _noting_the_close(exchange: Exchange, receive: Receive) -> Receive:
    async def noting() -> Message:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            exchange.close_code = message.get("code", 1005)
            exchange.close_reason = message.get("reason") or ""
        return message

    return noting
