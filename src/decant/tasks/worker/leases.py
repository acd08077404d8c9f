"""Renews the leases of all running jobs: a statement in the ledger and a script in Redis, every third of a lease."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol
from uuid import UUID

from ...errors import Unavailable
from ..job import Claimed
from ..states import PENDING
from .claims import CONNECTION_ERRORS, Claim, Claims

__all__ = ["ActiveJob", "Leases"]

logger = logging.getLogger("decant.worker")


class ActiveJob(Protocol):
    """A job that runs here. ``started`` is in seconds since 1970."""

    id: UUID
    attempt: int
    job: Claimed
    started: float
    durable: bool


class Leases:
    """Keeps what runs here, and stops what was revoked, or is no longer this worker's.

    :param active: the jobs that run.
    :param claimed: the same in Redis, with those that have not begun yet.
    :param stop: ``await stop(id, "revoked" | "lost")``.
    :param alone: see :meth:`.Claims.renew`.
    """

    def __init__(
        self,
        ledger: Any,
        claims: Claims,
        worker: str,
        lease_s: float,
        *,
        active: Callable[[], Iterable[ActiveJob]],
        claimed: Callable[[], Iterable[Claim]],
        stop: Callable[[UUID, str], Awaitable[object]],
        alone: bool = True,
    ) -> None:
        self._ledger, self._claims, self._worker, self.lease_s = ledger, claims, worker, lease_s
        self._active, self._claimed, self._stop, self._alone = active, claimed, stop, alone
        self.revoked: set[UUID] = set()
        self._suspects: set[UUID] = set()

    async def renew(self) -> None:
        """Renew all once. One server that is away is no reason not to renew at the other.

        :raises Unavailable: if PostgreSQL is away; redis-py's errors if Redis is.
        """
        away: Exception | None = None
        for renew in (self._renew_in_ledger, self._renew_in_redis):
            try:
                await renew()
            except (*CONNECTION_ERRORS, Unavailable) as error:
                away = away or error
        if away is not None:
            raise away

    async def _renew_in_ledger(self) -> None:
        jobs = {job.id: job for job in self._active() if job.durable}
        self.revoked &= jobs.keys()
        if self._ledger is None or not jobs:
            self._suspects.clear()
            return
        asked = [(job.id, job.attempt) for job in jobs.values()]
        kept, revoked = await self._ledger.renew(asked, self._worker, self.lease_s)
        running = {job.id for job in self._active() if jobs.get(job.id) is job}  # others have ended meanwhile
        for id_ in revoked & running - self.revoked:
            self.revoked.add(id_)
            logger.info("job %s (%s) is stopped: it was revoked", id_, jobs[id_].job.task)
            await self._stop(id_, "revoked")
        for id_ in await self._lost({id_: jobs[id_] for id_ in running - kept}):
            logger.warning("job %s (%s) is stopped: its lease ended, it is no longer ours", id_, jobs[id_].job.task)
            await self._stop(id_, "lost")

    async def _lost(self, jobs: dict[UUID, ActiveJob]) -> set[UUID]:
        """Those that are another's by now, or wait for one; not those whose ends were just written."""
        records = await self._ledger.read(jobs) if jobs else {}
        again, self._suspects = self._suspects & jobs.keys(), set(jobs)
        for id_, job in jobs.items():
            record = records.get(id_)
            if record is not None and (record.state == PENDING or record.attempt > job.attempt):
                again.add(id_)
        return again & {job.id for job in self._active()}

    async def _renew_in_redis(self) -> None:
        lost = await self._claims.renew(list(self._claimed()), int(self.lease_s * 1000), alone=self._alone)
        for job in list(self._active()):
            if not job.durable and str(job.id) in lost:  # for the others, the ledger decides
                logger.warning("job %s (%s) is stopped: another worker has begun it", job.id, job.job.task)
                await self._stop(job.id, "lost")
