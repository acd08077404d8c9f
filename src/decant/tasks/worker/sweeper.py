"""Puts back what was lost, every second in every worker: only one of them at a time does it, under a lock."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..states import FAILURE, REVOKED

__all__ = ["Sweeper"]

_BATCH: Final = 1000
logger = logging.getLogger("decant.worker")


class Sweeper:
    """Jobs whose workers died, whose push failed or that Redis has forgotten wait in Redis again; expired ones end.

    :param redis: the worker's client.
    :param expires_s: after how long ended jobs are deleted; ``None``: never.
    """

    def __init__(self, runtime: Any, redis: Any, recorder: Any, expires_s: float | None) -> None:
        self._runtime, self._redis, self._recorder, self._expires_s = runtime, redis, recorder, expires_s

    async def sweep(self) -> None:
        """Look once, and push what has to be. While Redis is away there is nothing to put anything into.

        :raises Unavailable: if the database is; redis-py's errors if Redis is.
        """
        missing = not await self._redis.exists(self._runtime.names.alive)
        pushed, more = 0, True
        while more:
            swept = await self._runtime.ledger.sweep(missing, _BATCH)
            pushed += len(swept.push)
            await self._see_to(swept)
            if swept.skipped:
                return
            more = swept.more
        if missing:
            await self._redis.set(self._runtime.names.alive, "1")
            if pushed:
                logger.warning("Redis had been emptied, or is new: %d jobs that wait were put into it", pushed)

    async def _see_to(self, swept: Any) -> None:
        if swept.freed:
            await self._redis.delete(*(f"arq:in-progress:{id_}" for id_ in swept.freed))
        if swept.push:
            await self._runtime.dispatcher.push(swept.push)
        for record in swept.lost:
            logger.error("job %s (%s) has failed: its workers died with it", record.id, record.task)
            self._recorder.record("task-failed", id=str(record.id), task=record.task, attempt=record.attempt)
            await self._runtime.dispatcher.publish(record.id, {"state": FAILURE})
        for record in swept.expired:
            logger.info("job %s (%s) was not begun in time, or revoked", record.id, record.task)
            self._recorder.record("task-revoked", id=str(record.id), task=record.task, attempt=record.attempt)
            await self._runtime.dispatcher.publish(record.id, {"state": REVOKED})
        for id_ in swept.ended:
            await self._runtime.dispatcher.publish(id_, {"state": FAILURE})

    async def prune(self) -> None:
        """Delete what ended long ago, and add up the charts' old figures."""
        now = datetime.now(UTC)
        if self._expires_s:
            await self._runtime.ledger.prune(now - timedelta(seconds=self._expires_s), _BATCH)
        await self._runtime.ledger.sum_up(now, _BATCH)
