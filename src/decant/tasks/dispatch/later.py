"""What is sent to Redis without anyone waiting for it, many at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from ...errors import Overloaded, Unavailable

__all__ = ["Later"]

T = TypeVar("T")
logger = logging.getLogger("decant.tasks")
_WAITING: Final = 10_000
_LAST_S: Final = 1.0


class Later(Generic[T]):
    """A bounded buffer of one event loop, and the task that sends what is in it: all that came meanwhile at once.

    :param send: sends some; what it cannot send is dropped, as is what comes while 10,000 wait.
    :param batch: how many at a time, at most.
    :param what: for the log: what they are, and what becomes of those that are dropped.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[list[T]], Awaitable[Any]],
        *,
        batch: int,
        what: tuple[str, str],
    ) -> None:
        self._loop, self._send, self._batch, self._what = loop, send, batch, what
        self._items: deque[T] = deque()
        self._task: asyncio.Task[None] | None = None
        self._full = False

    def take(self, items: Iterable[T]) -> None:
        """Send them soon; to be called on the loop."""
        room = _WAITING - len(self._items)
        given = [*items]
        if room < len(given) and not self._full:
            self._full = True
            logger.warning("%d %s wait to be pushed into Redis: of more, %s", _WAITING, *self._what)
        self._items.extend(given[:room])
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._flush(), context=Context())

    async def _flush(self) -> None:
        try:
            while self._items:
                await self._one()
        except asyncio.CancelledError:  # the loop ends: once more, bounded, for those who began it to end now
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    while self._items:
                        await self._one()
            raise
        finally:
            self._full = False

    async def _one(self) -> None:
        batch = list(islice(self._items, self._batch))
        try:
            await self._send(batch)
        except (Unavailable, Overloaded) as error:
            logger.debug("%d %s are not sent, %s: %s", len(self._items), *self._what, error)
            self._items.clear()
        except Exception:
            logger.exception("%s cannot be sent to Redis", self._what[0])
            self._items.clear()
        else:
            for _ in batch:
                self._items.popleft()

    async def aclose(self) -> None:
        """Send what waits, within a second."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=_LAST_S)
            self._task.cancel()
            await asyncio.wait([self._task], timeout=2 * _LAST_S)
