"""arq workers over plain arq settings, which outlive a restart of Redis and stop gracefully."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from contextlib import suppress
from typing import Any

from ..errors import CommandError, missing_extra

__all__ = ["JobRunner"]

_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 10.0
_STABLE_AFTER_S = 30.0
_COMPLETION_WAIT_S = 10.0
_CLOSE_TIMEOUT_S = 5.0
logger = logging.getLogger("decant.worker")


class JobRunner:
    """Runs arq workers over the same settings, one after another, until told to stop.

    :param overrides: what comes before the settings: ``max_jobs``, ``burst``, ``job_completion_wait``.
    """

    def __init__(self, settings: Any, **overrides: Any) -> None:
        try:
            from arq.worker import create_worker, get_kwargs
            from redis.exceptions import RedisError
        except ImportError as error:
            raise missing_extra("decant worker", "tasks", error) from error
        self.connection_errors = (RedisError, OSError, TimeoutError)
        self.settings, self.create_worker = settings, create_worker
        options: dict[str, Any] = {**get_kwargs(settings), **overrides}
        self.overrides = overrides
        self.completion_wait_s = float(options.get("job_completion_wait") or _COMPLETION_WAIT_S)
        self.asked_to_stop, self.asked_again = asyncio.Event(), asyncio.Event()
        self.delay_s = _FIRST_DELAY_S

    async def run(self) -> int:
        """Run until told to stop, or in burst mode until the queue is empty."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told_to_stop)
        while not self.asked_to_stop.is_set():
            started = time.monotonic()
            try:
                await self._run_one()
                return 0
            except self.connection_errors as error:
                if time.monotonic() - started > _STABLE_AFTER_S:
                    self.delay_s = _FIRST_DELAY_S
                await self._pause(error)
        return 0

    def _told_to_stop(self) -> None:
        (self.asked_again if self.asked_to_stop.is_set() else self.asked_to_stop).set()

    async def _pause(self, error: Exception) -> None:
        delay_s = self.delay_s * random.uniform(0.75, 1.25)
        logger.warning("the connection was lost, next attempt in %.1f s: %s: %s", delay_s, type(error).__name__, error)
        self.delay_s = min(self.delay_s * 2, _LONGEST_DELAY_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.asked_to_stop.wait(), delay_s)

    async def _run_one(self) -> None:
        """Run a worker to its end; raises what ended it."""
        try:
            job_worker = self.create_worker(self.settings, handle_signals=False, **self.overrides)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CommandError(f"arq does not accept the settings: {error}") from error
        begun = _noted(job_worker)
        running = asyncio.create_task(job_worker.async_run())
        stop = asyncio.create_task(self.asked_to_stop.wait())
        try:
            await asyncio.wait([running, stop], return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                await self._let_jobs_end(job_worker)
            else:
                running.result()
        finally:
            stop.cancel()
            running.cancel()
            await asyncio.wait([running])
            await self._close(job_worker, begun.is_set())

    async def _let_jobs_end(self, job_worker: Any) -> None:
        job_worker.allow_pick_jobs = False
        jobs = [job for job in job_worker.tasks.values() if not job.done()]
        if jobs:
            logger.info("waiting up to %g s for %d running jobs", self.completion_wait_s, len(jobs))
            again = asyncio.create_task(self.asked_again.wait())
            ends: list[asyncio.Future[Any]] = [asyncio.gather(*jobs, return_exceptions=True), again]
            await asyncio.wait(ends, timeout=self.completion_wait_s, return_when=asyncio.FIRST_COMPLETED)
            again.cancel()

    async def _close(self, job_worker: Any, begun: bool) -> None:
        """Cancel the jobs that still run (arq puts them back), then arq's own clean-up, which wants Redis, bounded.

        ``on_shutdown`` runs where ``on_startup`` has ``begun``: with a pool of its own, a worker may fail before.
        """
        jobs: list[asyncio.Task[Any]] = [job for job in job_worker.tasks.values() if not job.done()]
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs, timeout=_CLOSE_TIMEOUT_S)
        if job_worker.pool is None:
            return
        if begun and job_worker.on_shutdown is not None:
            try:
                await asyncio.wait_for(job_worker.on_shutdown(job_worker.ctx), _CLOSE_TIMEOUT_S)
            except Exception:
                logger.exception("on_shutdown failed")
        with suppress(*self.connection_errors):
            await asyncio.wait_for(job_worker.pool.delete(job_worker.health_check_key), _CLOSE_TIMEOUT_S)
        await job_worker.pool.close(close_connection_pool=True)


def _noted(job_worker: Any) -> asyncio.Event:
    """Set when the worker's ``on_startup`` begins, or would if it had one."""
    begun, on_startup = asyncio.Event(), job_worker.on_startup

    async def noted(ctx: dict[Any, Any]) -> None:
        begun.set()
        if on_startup is not None:
            await on_startup(ctx)

    job_worker.on_startup = noted
    return begun
