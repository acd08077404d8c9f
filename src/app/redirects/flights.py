"""Many callers, one call: what is asked for while it is being fetched is fetched once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Any, TypeVar

__all__ = ["Flights"]

T = TypeVar("T")


class Flights:
    """The calls under way, by key. A caller that is cancelled leaves the call to the others."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def join(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The result of the call of that key, begun if there is none, in a task that is nobody's request."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(_run(call), context=Context())
            self._tasks[key] = task
            task.add_done_callback(lambda ended: self._ended(key, ended))
        result: T = await asyncio.shield(task)
        return result

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # seen, even if every caller has gone

    async def aclose(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
