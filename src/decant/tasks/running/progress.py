"""``update_state``: at most five times a second per job reach the ledger, and always the last one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from ...errors import Overloaded, Unavailable

__all__ = ["Progress"]

logger = logging.getLogger("decant.tasks")
_INTERVAL_S: Final = 0.2
Write = Callable[[str, Any], Awaitable[bool]]


class Progress:
    """What a job says of itself on its way. :meth:`set` may be called as often as one likes, on the job's loop.

    :param write: writes a state and its meta, and tells those who listen.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._latest: tuple[str, Any] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def set(self, state: str, meta: Any = None) -> None:
        """Note it: written now, or with the next one that is due."""
        if self._closing.is_set():
            return
        self._latest = state, meta
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_out())

    async def _write_out(self) -> None:
        while self._latest is not None:
            await self._flush()
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_S):
                    await self._closing.wait()
        self._writer = None

    async def _flush(self) -> None:
        latest, self._latest = self._latest, None
        if latest is None:
            return
        try:
            await self._write(*latest)
        except (Unavailable, Overloaded) as error:
            logger.debug("progress is not written: %s", error)
        except Exception:
            logger.exception("progress cannot be written")

    async def aclose(self) -> None:
        """Write the last one; nothing is taken any more."""
        self._closing.set()
        if self._writer is not None:
            await asyncio.wait([self._writer])
