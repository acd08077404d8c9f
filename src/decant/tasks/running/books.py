"""Where a job is written up: in the ledger, or, if it is not durable, in Redis alone."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from redis.exceptions import RedisError

from ...errors import Overloaded, Unavailable
from ..dispatch import claimed_from
from ..job import Claimed, Job, Outcome
from ..ledger import Finished
from ..states import RETRY, STARTED
from .state import Running

__all__ = ["Alone", "Books", "Durable", "GaveUp", "insist"]

T = TypeVar("T")
logger = logging.getLogger("decant.tasks")
_INSIST_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_LAPSE: Final = """
UPDATE decant_jobs SET lease_until = now() - interval '1 s'
WHERE id = $1::uuid AND attempt = $2::int AND worker = $3::text AND state = 'STARTED'
"""


class GaveUp(Exception):
    """The end of a job could not be written for a minute, or the job is another's by now."""


async def insist(call: Callable[[], Awaitable[T]], what: str, lost: Callable[[], bool]) -> T:
    """Do it, again and again while the server is away, for a minute at most, and not once ``lost()``.

    :raises GaveUp: with the last failure as its cause.
    """
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + _INSIST_S, _FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except (Unavailable, Overloaded) as error:
            if lost() or loop.time() + pause_s > deadline:
                raise GaveUp(str(error)) from error
            logger.warning("%s waits: %s", what, error)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class Books(Protocol):
    """What both kinds of jobs have in common."""

    async def finish(self, job: Claimed, outcome: Outcome) -> Finished:
        """End the attempt. What follows from it is the caller's to push."""

    async def retry(self, job: Claimed, eta: datetime, error: bytes, payload: bytes | None) -> bool:
        """End the attempt so that the job is run again; ``False``: it is not ours any more, or was revoked."""

    async def give_back(self, job: Claimed) -> None:
        """As if it had never been begun."""

    async def lapse(self, job: Claimed) -> None:
        """What ran it has died: that counts, and it is begun again if it may."""

    async def progress(self, job: Claimed, state: str, meta: bytes) -> bool:
        """Note what the job says of itself."""


class Durable:
    """In the ledger."""

    def __init__(self, running: Running) -> None:
        self.ledger, self.dispatcher = running.runtime.ledger, running.runtime.dispatcher
        self.worker, self.lease_s = running.worker, running.lease_s

    async def claim(self, id_: UUID) -> Claimed | None:
        """Begin it; ``None``: it has ended, is another's, or not due."""
        claimed: Claimed | None = await self.ledger.claim(id_, self.worker, self.lease_s)
        return claimed

    async def finish(self, job: Claimed, outcome: Outcome) -> Finished:
        """See :class:`Books`."""
        finished: Finished = await self.ledger.finish(outcome)
        if finished.to_push:
            self.dispatcher.push_soon(finished.to_push)
        return finished

    async def retry(self, job: Claimed, eta: datetime, error: bytes, payload: bytes | None) -> bool:
        """See :class:`Books`."""
        kept: bool = await self.ledger.retry(job.id, job.attempt, self.worker, eta=eta, error=error, payload=payload)
        return kept

    async def give_back(self, job: Claimed) -> None:
        """See :class:`Books`."""
        self.dispatcher.push_soon(await self.ledger.give_back([(job.id, job.attempt)], self.worker))

    async def lapse(self, job: Claimed) -> None:
        """See :class:`Books`: the lease ends now, and whoever begins the job next counts a death."""
        async with self.ledger.connection() as connection:
            await connection.execute(_LAPSE, job.id, job.attempt, self.worker)

    async def progress(self, job: Claimed, state: str, meta: bytes) -> bool:
        """See :class:`Books`."""
        kept: bool = await self.ledger.progress(job.id, job.attempt, self.worker, state, meta)
        return kept


class Alone:
    """In Redis: what the job is came with arq's job, and its result is kept for ``result_expires``."""

    def __init__(self, running: Running, ctx: dict[Any, Any]) -> None:
        self.runtime, self.worker, self.ctx = running.runtime, running.worker, ctx

    def claim(self, name: str, id_: UUID, payload: bytes, extras: dict[str, Any]) -> Claimed:
        """Arq's claim is the only one. What it has counted besides retries are workers that died with the job."""
        retries = int(extras.get("retries") or 0)
        deaths = max(0, int(self.ctx.get("job_try") or 1) - 1 - retries)
        job = claimed_from(name, id_, payload, extras, attempt=retries + deaths + 1)
        job.rerun = deaths > 0
        return job

    async def finish(self, job: Claimed, outcome: Outcome) -> Finished:
        """See :class:`Books`."""
        await self.runtime.keep(job, outcome.state, worker=self.worker, result=outcome.result, error=outcome.error)
        if outcome.children or outcome.groups:
            await self.runtime.submit(outcome.children, outcome.groups, session=None)
        return Finished(ok=True)

    async def retry(self, job: Claimed, eta: datetime, error: bytes, payload: bytes | None) -> bool:
        """See :class:`Books`."""
        again = _job_of(job)
        again.retries, again.eta, again.payload = job.retries + 1, eta, payload or job.payload
        await self.runtime.dispatcher.push([again])
        await self.runtime.keep(job, RETRY, worker=self.worker, error=error)
        return True

    async def give_back(self, job: Claimed) -> None:
        """See :class:`Books`: arq's job is still there, and has been counted."""
        await self.uncount(job.id)

    async def uncount(self, id_: UUID) -> None:
        """Arq has counted a beginning that was none. Where Redis is away, that stays; it must not cost the job."""
        with suppress(RedisError, OSError):
            await self.ctx["redis"].decr(f"arq:retry:{id_}")

    async def lapse(self, job: Claimed) -> None:
        """See :class:`Books`: arq counts by itself."""

    async def progress(self, job: Claimed, state: str, meta: bytes) -> bool:
        """See :class:`Books`."""
        await self.runtime.keep(job, STARTED, worker=self.worker, custom_state=state, progress=meta)
        return True


def _job_of(job: Claimed) -> Job:
    return Job(**{name: getattr(job, name) for name in Job.__dataclass_fields__})
