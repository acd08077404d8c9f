"""An answer's head and body in one write: a server that is killed has sent both, or nothing.

A proxy asks another server only while it has nothing of an answer. Servers write the head as soon as the application
gives it, and the body in a second call, or later, where the application waits in between: whoever is killed there
leaves an answer that is cut, which no proxy begins anew. So the head of an answer that says its length is held until
its body comes, which ASGI asks of servers, and both go to the kernel in one call; what the kernel has, it delivers.

The second half of this needs connections that can hold what is written: those of the servers of a loop that is an
:class:`OneWrite`, whichever server that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Loop", "OneWrite", "in_one_write", "whole"]

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
_held: ContextVar[list[_Connection] | None] = ContextVar("decant.cli.serving.whole", default=None)


def whole(send: Send) -> Send:
    """Send the head of an answer with ``Content-Length`` not before the first message of its body, and with that.

    Others are passed on as they come: the client of a stream may wait for its head while there is nothing to say yet.
    """
    begun, head = False, None

    async def sent(message: Message) -> None:
        nonlocal begun, head
        if not begun and message["type"] == "http.response.start" and _has_length(message):
            begun, head = True, message
        elif head is None:
            await send(message)
        else:
            start, head = head, None
            with in_one_write():
                await send(start)
                await send(message)

    return sent


def _has_length(start: Message) -> bool:
    return any(name.lower() == b"content-length" for name, _ in start.get("headers", ()))


@contextmanager
def in_one_write() -> Iterator[None]:
    """What this task writes to a connection in the block is written at its end, in one call."""
    connections: list[_Connection] = []
    token = _held.set(connections)
    try:
        yield
    finally:
        _held.reset(token)
        for connection in connections:
            connection.flush()


class OneWrite:
    """Before an event loop's class: connections to its servers know :func:`in_one_write`."""

    async def create_server(self, protocol_factory: Callable[[], Any], *args: Any, **options: Any) -> asyncio.Server:
        """As the loop has it."""
        loop: Any = super()
        server: asyncio.Server = await loop.create_server(lambda: _Introduction(protocol_factory()), *args, **options)
        return server


class Loop(OneWrite, asyncio.SelectorEventLoop):
    """asyncio's."""


class _Introduction(asyncio.Protocol):
    """Gives a protocol its connection, and steps aside."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def connection_made(self, transport: Any) -> None:
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(_Connection(transport))


class _Connection(asyncio.Transport):
    """A transport that can hold what is written: at most what one block writes."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self.inner = inner
        self.pieces: list[bytes] = []

    def write(self, data: Any) -> None:
        connections = _held.get()
        if connections is None:
            self.flush()
            self.inner.write(data)
        else:
            self.pieces.append(bytes(data))
            connections.append(self)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def flush(self) -> None:
        """Write what is held."""
        if self.pieces:
            pieces, self.pieces = self.pieces, []
            self.inner.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        return self.inner.get_write_buffer_size() + sum(map(len, self.pieces))

    def write_eof(self) -> None:
        self.flush()
        self.inner.write_eof()

    def close(self) -> None:
        self.flush()
        self.inner.close()

    def abort(self) -> None:
        self.pieces.clear()
        self.inner.abort()

    # The rest is the transport's own.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.inner.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self.inner.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.inner.get_protocol()

    def is_reading(self) -> bool:
        return self.inner.is_reading()

    def pause_reading(self) -> None:
        self.inner.pause_reading()

    def resume_reading(self) -> None:
        self.inner.resume_reading()

    def can_write_eof(self) -> bool:
        return self.inner.can_write_eof()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.inner.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.inner.get_write_buffer_limits()
