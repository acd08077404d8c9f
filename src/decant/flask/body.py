"""A request's body: received as far as it is wanted, and read by the application wherever that runs."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, RequestTimeout

from ..bridge import wait
from .spool import Spool

__all__ = ["Body", "Input", "body_of"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_UNASKED: Final = 64 * 1024
_ON_DISK: Final = 256 << 20
_BUFFER: Final = 64 * 1024
_BODILESS: Final = {"GET", "HEAD", "OPTIONS", "DELETE"}


class Body:
    """The loop's side of a body.

    Before the application reads, 64 KiB are received. Once it reads, what comes faster than it reads is held: in
    memory up to ``spool`` bytes, then in a temporary file up to 256 MiB, then the client is made to wait.

    :param expected: the announced length, in bytes, if there is one.
    :param limit: the longest body that may be read, in bytes; reading more raises 413.
    :param timeout_s: how long a client may send nothing while the application reads; then 408.
    :param patient: receive nothing before the application reads or answers: the client waits for ``100 Continue``.
    """

    def __init__(
        self, *, expected: int, limit: int | None, spool: int, timeout_s: float, patient: bool = False
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.limit, self.timeout_s = limit, timeout_s
        self.gone = self.complete = False
        self.received = 0
        self._expected, self._patient = expected, patient
        self._wanted = self._unwanted = self._paused = self._silent = False
        self._spool = Spool(spool, _ON_DISK)
        self._arrived, self._room = asyncio.Event(), asyncio.Event()

    async def listen(self, receive: Receive) -> None:
        """Receive the body, at the reader's pace, until the client has gone."""
        while True:
            await self._until_room()
            message = await receive()
            if message["type"] != "http.request":
                break
            await self._add(message.get("body", b""))
            self.complete = self.complete or not message.get("more_body", False)
            self._arrived.set()
        self.gone = True
        self._arrived.set()

    async def _add(self, data: bytes) -> None:
        self.received += len(data)
        if self._too_large():
            self._unwanted = True
        if data and not self._unwanted:
            await self._spool.put(data)

    async def _until_room(self) -> None:
        while not (self.complete or self._unwanted) and self._must_pause():
            self._room.clear()
            self._paused = True
            if self._must_pause():  # still: a thread may have read meanwhile
                await self._room.wait()
        self._paused = False

    def _must_pause(self) -> bool:
        if self._wanted:
            return self._spool.full
        return self._patient or self._spool.held >= _UNASKED

    def take(self, size: int) -> bytes:
        """In the application: at most so many bytes of what is in memory; none if none are there."""
        self._wanted = True
        data = self._spool.take(size)
        if self._paused:
            self.loop.call_soon_threadsafe(self._room.set)
        return data

    @property
    def ended(self) -> bool:
        """Whether all of it has been read."""
        return self.complete and self._spool.empty and not self._too_large()

    async def more(self) -> None:
        """Wait until there is more to :meth:`take`, which has been asked first, or the end.

        :raises RequestEntityTooLarge: if it is longer than the limit.
        :raises RequestTimeout: if the client sends nothing.
        :raises ClientDisconnected: if it has gone.
        """
        while not self._spool.held:
            if self._too_large():
                raise RequestEntityTooLarge
            if self._spool.filed:
                await self._spool.fetch()
            elif self.complete:
                return
            elif self.gone:
                raise ClientDisconnected
            else:
                await self._arrival()

    async def _arrival(self) -> None:
        self._arrived.clear()
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            self._silent = True
            raise RequestTimeout from None

    def _too_large(self) -> bool:
        return self.limit is not None and max(self._expected, self.received) > self.limit

    def answered(self) -> None:
        """The answer begins: a client that waits to be asked for the body need not."""
        self._patient = False
        self._room.set()

    async def drain(self, timeout_s: float) -> None:
        """Receive and forget the rest: a client that is cut off while it sends may lose its answer."""
        self._unwanted = True
        self._room.set()
        if self.received and not self._silent:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while not (self.complete or self.gone):
                        self._arrived.clear()
                        await self._arrived.wait()

    async def close(self) -> None:
        """Forget it, and what it has on disk."""
        await self._spool.close()


def body_of(scope: MutableMapping[str, Any], *, limit: int | None, spool: int, timeout_s: float) -> Body | None:
    """The body of a request; ``None`` if it has none, by its head: that saves a tenth of what a small request costs."""
    length = expects = coding = b""
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = value
        elif name == b"transfer-encoding":
            coding = value
        elif name == b"expect":
            expects = value
    may = scope["method"] not in _BODILESS or not scope["http_version"].startswith("1")  # in HTTP/2 nothing tells
    if length == b"0" or not (length or coding or may):
        return None
    expected = int(length) if length.isdigit() else 0
    patient = expects.lower() == b"100-continue"
    return Body(expected=expected, limit=limit, spool=spool, timeout_s=timeout_s, patient=patient)


class _Raw(io.RawIOBase):
    def __init__(self, body: Body) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        body = self._body
        data = body.take(len(buffer))
        while not data and not body.ended:
            wait(body.more())
            data = body.take(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Input(io.BufferedReader):
    """``wsgi.input``: ``read``, ``readline``, ``readlines``, ``read1`` and iteration, each to the body's end."""

    def __init__(self, body: Body) -> None:
        super().__init__(_Raw(body), _BUFFER)
