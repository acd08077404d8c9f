"""The messages of a WebSocket that its handler has not read: bounded by receiving no more from the server."""

from __future__ import annotations

import asyncio

__all__ = ["Backlog"]

_UNREAD_BYTES = 256 * 1024
_PER_MESSAGE_BYTES = 64
"""What a message costs beside its text, so that empty ones are bounded, too."""


class Backlog:
    """Counts what has been received and not read; the messages themselves are in Quart's queue."""

    def __init__(self) -> None:
        self.unread_bytes = 0
        self._taken = asyncio.Event()

    def add(self, message: str | bytes) -> None:
        """It has been received."""
        self.unread_bytes += len(message) + _PER_MESSAGE_BYTES

    def take(self, message: str | bytes) -> None:
        """The handler has read it."""
        self.unread_bytes -= len(message) + _PER_MESSAGE_BYTES
        self._taken.set()

    async def room(self, timeout_s: float | None) -> None:
        """Wait until more may be received.

        :raises TimeoutError: if the handler reads nothing for ``timeout_s``.
        """
        while self.unread_bytes >= _UNREAD_BYTES:
            self._taken.clear()
            async with asyncio.timeout(timeout_s):
                await self._taken.wait()
