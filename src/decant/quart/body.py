"""A request's body: bounded while it is read, before it is held in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from .versions import ClientDisconnected

__all__ = ["Body"]

_UNREAD_BYTES = 256 * 1024
"""How much may wait for a handler that is not reading yet."""


class Body:
    """The body of a request: await it whole, or iterate over it as it arrives.

    Follows ``quart.wrappers.request.Body`` of both 0.22 and 0.23. What differs: nothing is received faster than it
    is read, so that a slow reader, or none, holds 256 KiB and not the whole upload; ``limit`` counts what has arrived,
    also where the client does not say the length and where the body is iterated over; what was awaited may
    be iterated over again.

    :param expected_content_length: what the client announced, in bytes.
    :param max_content_length: the ``limit``, in bytes; reading past it raises 413.
    """

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        self.limit = max_content_length
        self.timeout_s: float | None = None
        self._expected = expected_content_length or 0
        self._chunks: deque[bytes] = deque()
        self._held = self._received = 0
        self._whole: bytes | None = None
        self._complete = self._gone = self._wants_all = self._unwanted = False
        self._arrived, self._taken = asyncio.Event(), asyncio.Event()

    def append(self, data: bytes) -> None:
        """Take what has arrived; where it is too much, forget it."""
        if not data or self._complete:
            return
        self._received += len(data)
        if self._unwanted or (self._wants_all and self._too_large()):
            self._forget()
        else:
            self._chunks.append(data)
            self._held += len(data)
        self._arrived.set()

    async def put(self, data: bytes) -> None:
        """:meth:`append`, by the name that Quart 0.23 has for it."""
        self.append(data)

    async def drain(self, timeout_s: float) -> None:
        """Take and forget what is still on its way: a client that is cut off while it sends loses its answer."""
        if self._received and not self._complete:
            self._unwanted = True
            self._forget()
            self._want_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while not (self._complete or self._gone):
                        self._arrived.clear()
                        await self._arrived.wait()

    async def room(self) -> None:
        """Wait until more may be received."""
        while self._held >= _UNREAD_BYTES and not (self._wants_all or self._complete):
            self._taken.clear()
            await self._taken.wait()

    def set_complete(self) -> None:
        """All of it has arrived."""
        self._complete = True
        self._arrived.set()

    def disconnect(self) -> None:
        """The client has gone."""
        self._gone = True
        self._arrived.set()

    def set_result(self, data: bytes) -> None:
        """All of it at once, for requests that are made by hand."""
        self.append(data)
        self.set_complete()

    def clear(self) -> None:
        """Forget what has been read."""
        self._forget()
        self._whole = b""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self if self._whole is None else _again(self._whole)

    async def __anext__(self) -> bytes:
        while True:
            self._check()
            if self._chunks:
                data = self._chunks.popleft()
                self._held -= len(data)
                self._taken.set()
                return data
            if self._complete:
                raise StopAsyncIteration
            await self._arrival()

    def __await__(self) -> Generator[Any, None, bytes]:
        return self._read().__await__()

    async def _read(self) -> bytes:
        if self._whole is None:
            self._want_all()
            self._check()
            while not self._complete:
                await self._arrival()
                self._check()
            data = b"".join(self._chunks)
            self._forget()
            self._whole = data
        return self._whole

    def _check(self) -> None:
        if self._too_large():
            self._forget()
            self._want_all()  # and forget it: the client is told once it has sent enough to listen
            raise RequestEntityTooLarge
        if self._gone and not self._complete and not self._chunks:
            raise ClientDisconnected

    def _too_large(self) -> bool:
        return self.limit is not None and max(self._expected, self._received) > self.limit

    async def _arrival(self) -> None:
        self._arrived.clear()
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            raise RequestTimeout from None

    def _want_all(self) -> None:
        self._wants_all = True
        self._taken.set()

    def _forget(self) -> None:
        self._chunks.clear()
        self._held = 0


async def _again(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data
