"""Slots of this process, for all of its threads and loops."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

__all__ = ["Full", "Slots"]


class Full(Exception):
    """No slot, and no place in the queue, or none in time."""


class _Waiter:
    __slots__ = ("future", "granted", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.granted = False

    def wake(self) -> None:
        """:raises RuntimeError: if its loop has ended."""
        self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Slots:
    """So many for each key; who finds none waits in a queue, first come, first served.

    :param limit: slots for each key.
    :param queue: how many may wait for each key.
    """

    def __init__(self, limit: int, queue: int = 0) -> None:
        self.limit, self.queue = limit, queue
        self._lock = threading.Lock()
        self._busy: dict[str, int] = {}
        self._waiting: dict[str, deque[_Waiter]] = {}

    def busy(self, key: str) -> int:
        """How many are taken."""
        return self._busy.get(key, 0)

    def waiting(self, key: str) -> int:
        """How many wait."""
        return len(self._waiting.get(key, ()))

    async def acquire(self, key: str, wait_s: float) -> None:
        """Take a slot, within ``wait_s`` seconds.

        :raises Full: if that cannot be.
        """
        with self._lock:
            if self.busy(key) < self.limit:
                self._busy[key] = self.busy(key) + 1
                return
            if wait_s <= 0 or self.waiting(key) >= self.queue:
                raise Full
            waiter = _Waiter()
            self._waiting.setdefault(key, deque()).append(waiter)
        try:
            async with asyncio.timeout(wait_s):
                await waiter.future
        except TimeoutError:
            if self._leave(key, waiter):
                raise Full from None
        except BaseException:
            if not self._leave(key, waiter):
                self.release(key)
            raise

    def _leave(self, key: str, waiter: _Waiter) -> bool:
        """Leave the queue; ``False`` if there was a slot in the last moment."""
        with self._lock:
            if waiter.granted:
                return False
            self._waiting[key].remove(waiter)
            if not self._waiting[key]:
                del self._waiting[key]
            return True

    def release(self, key: str) -> None:
        """Give a slot to the first who waits, or back."""
        with self._lock:
            waiting = self._waiting.get(key)
            while waiting:
                waiter = waiting.popleft()
                if not waiting:
                    del self._waiting[key]
                waiter.granted = True
                try:
                    waiter.wake()
                except RuntimeError:
                    continue
                return
            if self._busy[key] > 1:
                self._busy[key] -= 1
            else:
                del self._busy[key]
