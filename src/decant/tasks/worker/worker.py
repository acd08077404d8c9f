"""arq's worker, woken by publish, claiming in batches, and outliving every loss of Redis.

What it changes of :class:`arq.worker.Worker`, and why:

- ``main`` waits on an event, with a fallback of a second, instead of sleeping for ``poll_delay``: set by a publish, a
  freed slot, or the next due score. Every error of Redis is waited out.
- ``start_jobs``: one Lua call claims from all queues for all free slots (arq: ``WATCH``/``MULTI`` per id).
- ``finish_job``, ``finish_failed_job``: the ends of many jobs share a round trip.
- ``run_job`` is arq's for plain arq functions and cron jobs. The one function that every task goes through is run
  without it: in one asyncio task, not two, without the round trip for what the claim has brought along, and without
  its lines of log with all arguments. That was measured: of jobs that do nothing, at 100 at once on two cores, arq's
  ran 800 a second and this 7,700.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import arq.worker
from arq.constants import retry_key_prefix
from arq.jobs import SerializationError, deserialize_job_raw
from arq.utils import ms_to_datetime, timestamp_ms
from arq.worker import Retry

from ...errors import Unavailable
from .claims import CONNECTION_ERRORS, Claim, Claims, Ending
from .pausing import Pause
from .queues import Queues

__all__ = ["RUN", "Worker"]

RUN: Final = "decant.run"
"""The arq function that every task goes through."""
_FALLBACK_S: Final = 1.0
_AWAY_AGAIN_MS: Final = 2000
logger = logging.getLogger("decant.worker")


class Worker(arq.worker.Worker):
    """Runs arq jobs of several queues.

    :param queues: the key of each queue and its weight; arq's ``queue_name`` stays where cron jobs are put.
    :param worker: the id that claims are made in.
    :param wake: the channel on which workers are woken.
    :param lease_s: for how long a claim is good; whoever uses this renews (:mod:`.leases`).
    :param options: :class:`arq.worker.Worker`'s. ``redis_pool`` is needed, with socket timeouts.
    """

    def __init__(
        self, functions: Any = (), *, queues: Queues, worker: str, wake: str, lease_s: float, **options: Any
    ) -> None:
        super().__init__(functions, handle_signals=False, **options)
        self.queues, self.worker, self.lease_s = queues, worker, lease_s
        self.key_of: Callable[[str], str] = str
        self.claims = Claims(self.pool, worker, wake)
        self.claimed: dict[str, Claim] = {}
        self.paused = self._ending = False
        self._wake, self._more, self._due_in_s = asyncio.Event(), True, _FALLBACK_S

    def wake(self) -> None:
        """There may be something to claim."""
        self._more = True
        self._wake.set()

    def end(self) -> None:
        """Claim nothing more, and let :meth:`main` return; what runs goes on."""
        self._ending, self.allow_pick_jobs = True, False
        self._wake.set()

    @property
    def free_slots(self) -> int:
        return self.max_jobs - self.job_counter

    async def main(self) -> None:
        """Claim and run until :meth:`end`, or in burst mode until nothing waits."""
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)
        pause = Pause("the connection was lost")
        while not self._ending:
            try:
                await self._poll_iteration()
                if self.burst and await self._is_over():
                    return
                pause.over()
            except CONNECTION_ERRORS as error:
                self._more = True
                await pause.wait(error)
            except Exception as error:
                logger.exception("looking for jobs failed")
                await pause.wait(error)
            else:
                await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_FALLBACK_S, self._due_in_s)):
                await self._wake.wait()

    async def _is_over(self) -> bool:
        while self.tasks and (self.max_burst_jobs >= 0 or not self._more):
            await asyncio.wait(list(self.tasks.values()), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
            if self._more:
                return False
        await self.claims.written()
        if 0 <= self.max_burst_jobs <= self._jobs_started():
            return True
        return not any([await self.pool.zcard(self.key_of(name)) for name in self.queues])

    async def _poll_iteration(self) -> None:
        self._wake.clear()
        self._due_in_s = _FALLBACK_S
        slots = self.free_slots
        if self.burst and self.max_burst_jobs >= 0:
            slots = min(slots, self.max_burst_jobs - self._jobs_started())
        if self.allow_pick_jobs and not self.paused and slots > 0 and self.queues:
            self._more = False
            await self._claim(slots)
        if self.cron_jobs and self.queue_name in map(self.key_of, self.queues):
            await self.heart_beat()

    async def _claim(self, slots: int) -> None:
        shares = dict(zip(map(self.key_of, self.queues), self.queues.shares(slots), strict=True))
        claims, due_in_s = await self.claims.claim(shares, int(self.lease_s * 1000))
        for claim in claims:
            if claim.id not in self.tasks:  # it is, if Redis has forgotten who runs it
                self._begin(claim)
        if len(claims) == slots:
            self._more = True
        elif due_in_s is not None:
            self._due_in_s = max(0.001, due_in_s)

    def _begin(self, claim: Claim) -> None:
        self.claimed[claim.id] = claim
        self.job_counter += 1
        task = asyncio.create_task(self.run_job(claim.id, claim.score))
        self.tasks[claim.id] = task
        task.add_done_callback(lambda _: self._ended(claim, task))

    def _ended(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self.job_counter -= 1
        self.tasks.pop(claim.id, None)
        self.claimed.pop(claim.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("job %s was left to be found again: %s: %s", claim.id, type(error).__name__, error)
        if self._more:
            self._wake.set()

    async def run_job(self, job_id: str, score: int) -> None:
        """Run a claimed job to its end, whatever that is."""
        claim = self.claimed[job_id]
        if claim.definition is None:
            logger.warning("job %s is not run: what was to be done is no longer in Redis", job_id)
            self.claims.end(Ending(claim))
            return
        try:
            function, args, kwargs, _, enqueued_ms = deserialize_job_raw(
                claim.definition, deserializer=self.job_deserializer
            )
        except SerializationError as error:
            logger.error("job %s cannot be read and is taken out of Redis: %s", job_id, error.__cause__ or error)
            self.claims.end(Ending(claim))
            return
        if function != RUN:
            await self.pool.decr(retry_key_prefix + job_id)  # the claim has counted, and arq's run_job will
            await super().run_job(job_id, score)
            return
        ctx = {
            **self.ctx,
            "job_id": job_id,
            "job_try": claim.job_try,
            "enqueue_time": ms_to_datetime(enqueued_ms),
            "score": score,
            "queue": claim.queue,
        }
        await self._run_task(claim, ctx, args, kwargs)

    async def _run_task(self, claim: Claim, ctx: dict[Any, Any], args: Any, kwargs: Mapping[str, Any]) -> None:
        coroutine: Any = getattr(self.functions[RUN], "coroutine")  # noqa: B009  (a cron job has one too)
        again_ms: int | None = None
        try:
            await coroutine(ctx, *args, **kwargs)
            self.jobs_complete += 1
        except Retry as retry:
            self.jobs_retried += 1
            again_ms = retry.defer_score or 0
        except asyncio.CancelledError:
            self.jobs_retried += 1
            again_ms = 0
            raise
        except Unavailable as error:
            self.jobs_retried += 1
            again_ms = _AWAY_AGAIN_MS
            logger.warning("job %s waits: %s", claim.id, error)
        except Exception:
            self.jobs_failed += 1  # a durable one is found by the sweeper, which counts how often
            logger.exception("job %s ended outside of its task", claim.id)
        finally:
            self.claims.end(Ending(claim, again_ms))

    async def finish_job(
        self,
        job_id: str,
        finish: bool,
        result_data: bytes | None,
        result_timeout_s: float | None,
        keep_result_forever: bool,
        incr_score: int | None,
        keep_in_progress: float | None,
    ) -> None:
        """arq's, for its own functions: written soon, together with others."""
        claim = self.claimed[job_id]
        if finish:
            ttl_ms = 0 if keep_result_forever else int((result_timeout_s or 0) * 1000)
            hold_ms = 0 if keep_in_progress is None else int(keep_in_progress * 1000)
            self.claims.end(Ending(claim, None, result_data, ttl_ms, hold_ms))
        else:
            due_ms = claim.score + incr_score if incr_score else 0
            self.claims.end(Ending(claim, max(0, due_ms - timestamp_ms())))

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """arq's, for jobs that cannot be begun."""
        keeps = self.keep_result_forever or bool(self.keep_result_s)
        ttl_ms = 0 if self.keep_result_forever else int((self.keep_result_s or 0) * 1000)
        self.claims.end(Ending(self.claimed[job_id], None, result_data if keeps else None, ttl_ms))
