"""Background tasks: kept, bridged, and ended before the application is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from ..bridge import bridged, detached, wait

__all__ = ["BackgroundTasks"]

logger = logging.getLogger("decant.quart")
_LAST_GRACE_S = 1.0


class BackgroundTasks:
    """The tasks of one application.

    :param tasks: the set that keeps them, Quart's ``app.background_tasks``.
    """

    def __init__(self, tasks: set[asyncio.Task[Any]]) -> None:
        self.tasks = tasks

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start it on the event loop: also from a synchronous handler in a thread.

        :raises RuntimeError: if no event loop runs that would outlive this call.
        """
        context = detached()  # the task outlives the thread that starts it, and must not run on it
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            wait(self._start_from_thread(work, context))
        else:
            self._start(work, context)

    async def _start_from_thread(self, work: Callable[[], Coroutine[Any, Any, None]], context: Context) -> None:
        self._start(work, context)

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]], context: Context) -> None:
        task = asyncio.get_running_loop().create_task(bridged(work()), context=context)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def drain(self, timeout_s: float | None) -> None:
        """Wait for all of them, also those that they start; cancel what has not ended by then."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while self.tasks:
            left = None if deadline is None else max(0.0, deadline - loop.time())
            await asyncio.wait(set(self.tasks), timeout=left)
            if left == 0.0:
                break
        late = set(self.tasks)
        for task in late:
            task.cancel()
        if late:
            _, stuck = await asyncio.wait(late, timeout=_LAST_GRACE_S)
            logger.warning(
                "%s background tasks were cancelled after %s s, of which %s went on", len(late), timeout_s, len(stuck)
            )
            self.tasks -= stuck
