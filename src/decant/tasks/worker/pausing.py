"""Growing pauses while a server is away, said once a pause and not once a failure."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Final

__all__ = ["Pause"]

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 10.0
_STABLE_AFTER_S: Final = 5.0
logger = logging.getLogger("decant.worker")


class Pause:
    """0.5 s after the first failure, then twice as long each time, up to 10 s, with a quarter of jitter.

    :param what: of the line that is logged: ``<what>, next attempt in 0.5 s: <error>``.
    """

    def __init__(self, what: str, *, level: int = logging.WARNING) -> None:
        self.what, self.level = what, level
        self.delay_s = _FIRST_S
        self._failed_at: float | None = None

    async def wait(self, error: BaseException) -> None:
        """Say it, and wait."""
        self._failed_at = time.monotonic()
        delay_s = self.delay_s * random.uniform(0.75, 1.25)
        self.delay_s = min(self.delay_s * 2, _LONGEST_S)
        logger.log(self.level, "%s, next attempt in %.1f s: %s: %s", self.what, delay_s, type(error).__name__, error)
        await asyncio.sleep(delay_s)

    def over(self) -> None:
        """It worked; once it has for a while, the next failure is a first one again."""
        if self._failed_at is not None and time.monotonic() - self._failed_at > _STABLE_AFTER_S:
            self._failed_at, self.delay_s = None, _FIRST_S
