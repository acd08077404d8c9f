"""The background tasks of a worker: owned, repeated, and none of their failures ends anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ...errors import Unavailable
from .claims import CONNECTION_ERRORS
from .pausing import Pause

__all__ = ["Loops"]

_EXPECTED: Final = (*CONNECTION_ERRORS, Unavailable)
_DEADLINE_S: Final = 30.0
_AGAIN_S: Final = 5.0
logger = logging.getLogger("decant.worker")


class Loops:
    """Tasks that run until :meth:`aclose`; what one raises is logged, and it goes on after a growing pause."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, seconds: float, step: Callable[[], Awaitable[object]], what: str) -> None:
        """Call ``step`` again and again, ``seconds`` after it has ended; ``what`` is what a failure is called."""

        async def repeat() -> None:
            while True:
                async with asyncio.timeout(_DEADLINE_S):
                    await step()
                pause.over()
                await asyncio.sleep(seconds)

        pause = Pause(f"{what} failed")
        self._own(repeat, what, pause)

    def keep(self, run: Callable[[], Awaitable[object]], what: str) -> None:
        """Run what runs until it is cancelled, and run it again if it fails."""
        self._own(run, what, Pause(f"{what} failed"))

    def _own(self, run: Callable[[], Awaitable[object]], what: str, pause: Pause) -> None:
        async def guarded() -> None:
            while True:
                try:
                    await run()
                    return
                except _EXPECTED as error:
                    await pause.wait(error)
                except Exception as error:
                    logger.exception("%s failed", what)
                    await pause.wait(error)

        self._tasks.append(asyncio.create_task(guarded(), name=f"decant.worker: {what}"))

    async def aclose(self) -> None:
        """Cancel them, in the opposite order, and wait for their ends."""
        tasks, self._tasks = self._tasks, []
        while tasks:  # one cancellation may be lost, by wait_for of Python 3.11 say: without another it would run on
            for task in reversed(tasks):
                task.cancel()
            await asyncio.wait(tasks, timeout=_AGAIN_S)
            tasks = [task for task in tasks if not task.done()]
