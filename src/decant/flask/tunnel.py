"""Between an ASGI server's WebSocket and a thread that wants a socket: RFC 6455's client on a pair of sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

__all__ = ["Refused", "Tunnel"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
logger = logging.getLogger("decant.flask")
_READ: Final = 64 * 1024
_LINGER_S: Final = 5.0
_FAREWELL_S: Final = 1.0
_HEARD_S: Final = 1.0
_NORMAL, _GOING_AWAY, _ABNORMAL, _POLICY, _INTERNAL = 1000, 1001, 1006, 1008, 1011  # RFC 6455, section 7.4.1


class Refused(NamedTuple):
    """An answer by HTTP to a client that wanted a WebSocket."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


_NOTHING: Final = Refused(500, [("Content-Type", "text/plain")], b"Internal Server Error\n")


class _Theirs(socket.socket):
    """The application's end. ``closed`` is set when it is, in whatever thread."""

    def __init__(self, of: socket.socket) -> None:
        super().__init__(of.family, of.type, of.proto, of.detach())
        self.closed, self._loop = asyncio.Event(), asyncio.get_running_loop()

    def end(self) -> None:
        """Nothing more is received or sent."""
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self.closed.set)


class Tunnel:
    """Passes messages, fragments put together, at the pace of the slower side; and closes with codes and reasons."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, grace_s: float, idle_s: float) -> None:
        self.scope, self.grace_s, self.idle_s = scope, grace_s, idle_s
        self._receive, self._send = receive, send
        self._client = WSConnection(ConnectionType.CLIENT)
        self._ours, theirs = socket.socketpair()
        self._theirs = _Theirs(theirs)
        self._parts: list[Any] = []
        self._accepted, self._closed, self._gone, self._left = asyncio.Event(), False, False, False
        self._stopping = asyncio.Event()

    def prepare(self, environ: dict[str, Any]) -> None:
        """Give the application what it needs to shake hands with this client, without compression."""
        wanted = list(self.scope.get("subprotocols") or ())
        head = self._client.send(Request(host="localhost", target="/", subprotocols=wanted))
        fields = [line.partition(b":") for line in head.split(b"\r\n")]
        sent = {name.lower(): value.strip().decode() for name, _, value in fields}
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        environ["werkzeug.socket"] = self._theirs
        environ["HTTP_UPGRADE"], environ["HTTP_CONNECTION"] = "websocket", "Upgrade"
        environ["HTTP_SEC_WEBSOCKET_VERSION"] = sent[b"sec-websocket-version"]
        environ["HTTP_SEC_WEBSOCKET_KEY"] = sent[b"sec-websocket-key"]
        if wanted:
            environ["HTTP_SEC_WEBSOCKET_PROTOCOL"] = ", ".join(wanted)

    def stop(self) -> None:
        """The server stops: close both sides with 1001."""
        self._stopping.set()

    async def run(self, call: Coroutine[Any, Any, None], answered: Callable[[], Refused | None]) -> Refused | None:
        """Run the application, and pass messages until both sides have closed.

        :param answered: what the application has answered by HTTP, once it has ended.
        :return: that, if the client is to be refused, since the application did not take the socket.
        """
        unix = hasattr(socket, "AF_UNIX") and self._ours.family == socket.AF_UNIX
        connect: Any = asyncio.open_unix_connection if unix else asyncio.open_connection
        try:
            self._reader, self._writer = await connect(sock=self._ours)
        except BaseException:
            call.close()
            self._ours.close()
            self._theirs.close()
            raise
        loop = asyncio.get_running_loop()
        work = loop.create_task(call)
        work.add_done_callback(lambda _: self._theirs.end())  # also where no thread has begun, which would do so
        outward, inward = loop.create_task(self._outward()), loop.create_task(self._inward())
        stopping = loop.create_task(self._stopping.wait())
        try:
            await asyncio.wait([outward, inward, stopping], return_when=asyncio.FIRST_COMPLETED)
            if self._gone or not outward.done():
                await self._leave(_GOING_AWAY if self._stopping.is_set() else _ABNORMAL)
            await asyncio.wait([work], timeout=self.grace_s)
            answer = answered()
            await self._close(_INTERNAL if answer is not None and answer.status >= 500 else _NORMAL)
            if self._closed:  # what the client goes on sending is taken: a server may not hear of its end before
                await asyncio.wait([inward], timeout=_LINGER_S)
        except asyncio.CancelledError:  # by a server that waits no longer
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._leave(_GOING_AWAY)
            raise
        finally:
            self._writer.transport.abort()  # what is not read by now never is, and would keep a thread that sends
            await _end([work, outward, inward, stopping])
            await self._end_theirs()
        return None if self._accepted.is_set() or self._gone else answered() or _NOTHING

    async def _end_theirs(self) -> None:
        """Where it was taken, let the extension's own thread hear of the end and close it: one that waits by epoll, as
        for its next ping, would not hear of a socket that somebody else has closed."""
        if self._accepted.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_HEARD_S):
                    await self._theirs.closed.wait()
        self._theirs.close()

    async def _leave(self, code: int) -> None:
        """Tell the application that its client has gone, or will; and the client, if it has not."""
        if code == _GOING_AWAY:
            self._tell(CloseConnection(code=code, reason="the server stops"))
        self._left = True
        with suppress(OSError):
            self._writer.write_eof()
        await self._close(code)

    def _tell(self, event: Any) -> None:
        """Send to the application; what comes after a close, or after its end, is forgotten."""
        if not self._left:
            with suppress(LocalProtocolError, OSError):
                self._writer.write(self._client.send(event))

    async def _close(self, code: int, reason: str | None = None) -> None:
        if self._accepted.is_set() and not self._closed and not self._gone:
            self._closed = True
            with suppress(OSError):  # it has gone, or takes nothing
                await self._say({"type": "websocket.close", "code": code, "reason": reason or ""})

    async def _say(self, message: MutableMapping[str, Any]) -> None:
        async with asyncio.timeout(self.idle_s):
            await self._send(message)

    # -- the client's messages, to the application ------------------------------------------------------------

    async def _inward(self) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            text, data = message.get("text"), message.get("bytes")
            event: Any = TextMessage(data=text) if text is not None else BytesMessage(data=data or b"")
            self._tell(event)
            if not await self._is_read():
                return
        self._gone = True
        code = message.get("code") or _ABNORMAL
        if code != _ABNORMAL:
            self._tell(CloseConnection(code=code, reason=message.get("reason")))

    async def _is_read(self) -> bool:
        """Wait for an application that reads more slowly than the client sends; whether it has read in time."""
        try:
            async with asyncio.timeout(self.idle_s):
                await self._writer.drain()
        except TimeoutError:  # nor would it be noticed that the client goes
            path = self.scope["path"]
            logger.warning("The WebSocket %s was closed: its handler read nothing for %s s", path, self.idle_s)
            await self._close(_POLICY, "too much is unread")
            return False
        except OSError:
            pass  # it has ended: what comes is forgotten
        return True

    # -- the application's messages, to the client ------------------------------------------------------------

    async def _outward(self) -> None:
        """Read what the application sends, until it closes."""
        try:
            while data := await self._reader.read(_READ):
                self._client.receive_data(data)
                for event in self._client.events():
                    if not await self._pass_on(event):
                        return
        except OSError as error:  # TimeoutError, too
            self._gone = True
            logger.debug("A WebSocket was cut off: %r", error)
        except RemoteProtocolError as error:
            logger.error("The application broke the WebSocket %s: %s", self.scope["path"], error)

    async def _pass_on(self, event: Any) -> bool:
        if isinstance(event, AcceptConnection) and not self._gone:
            headers = [(bytes(name).lower(), bytes(value)) for name, value in event.extra_headers]
            await self._say({"type": "websocket.accept", "subprotocol": event.subprotocol, "headers": headers})
            self._accepted.set()
        elif isinstance(event, Message):
            self._parts.append(event.data)
            if event.message_finished:
                parts, self._parts = self._parts, []
                whole = {"text": "".join(parts)} if isinstance(event, TextMessage) else {"bytes": b"".join(parts)}
                if not self._closed and not self._gone:  # servers refuse what comes after a close
                    await self._say({"type": "websocket.send", **whole})
        elif isinstance(event, Ping):
            self._tell(event.response())
        elif isinstance(event, CloseConnection):
            self._tell(event.response())
            await self._close(event.code, event.reason)
            return False
        return not isinstance(event, RejectConnection)


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            logger.error("A WebSocket failed", exc_info=result)
