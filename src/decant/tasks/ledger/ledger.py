"""``Ledger``: every durable job, in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy.engine import URL

from ..job import Claimed, Group, Job, Outcome
from . import claiming, finishing, inserting, reading, summing, sweeping
from .batching import MAX_BATCH, Batcher
from .claiming import Claim
from .finishing import Finished
from .grouping import Broken, GroupDone, GroupFailed, Hooks
from .inserting import Call
from .pool import Pool
from .rows import Record, in_session
from .sweeping import AGAIN_S, Swept

__all__ = ["Ledger"]


class _Batchers:
    """Those of one event loop."""

    def __init__(self, ledger: Ledger, deadline_s: float) -> None:
        pool, hooks = ledger.pool, ledger.hooks

        async def claimed(dropped: list[tuple[Claim, Claimed | None]]) -> None:
            """Whoever wanted them is gone: they were never begun."""
            for claim, job in dropped:
                if job is not None:
                    await ledger.give_back([(job.id, job.attempt)], claim.worker)

        self.insert: Batcher[Call, set[UUID]] = Batcher(
            lambda calls: pool.run(partial(inserting.insert_calls, calls=calls), again=True), deadline_s=deadline_s
        )
        self.claim: Batcher[Claim, Claimed | None] = Batcher(
            lambda claims: pool.run(partial(claiming.claim_calls, claims=claims), again=True),
            deadline_s=deadline_s,
            dropped=claimed,
        )
        self.finish: Batcher[Outcome, Finished] = Batcher(
            lambda outcomes: pool.run(partial(finishing.finish_calls, outcomes=outcomes, hooks=hooks), again=True),
            deadline_s=deadline_s,
        )

    async def aclose(self) -> None:
        await asyncio.gather(self.insert.aclose(), self.claim.aclose(), self.finish.aclose())


class Ledger:
    """The table of jobs, usable on any event loop; each has connections of its own, opened when they are needed.

    Inserting, claiming and finishing are *batched*: what is asked for while a statement is on its way travels in the
    next one, so that a hundred at once cost little more than one. Each statement is a transaction.

    Every method raises :exc:`~decant.errors.DatabaseUnavailable` when PostgreSQL refuses, is gone, or does not answer
    within ``command_timeout_s``; the next call tries again. A connection that turns out to be dead is replaced, and the
    statement sent once more: what it did before its answer was lost is then a claim that its lease ends, or a retry
    that was written though ``False`` is answered. Times are compared by PostgreSQL's clock.

    A chord's callback is an encoded signature, and what that means is not the ledger's to know. The extension says it:

    * :attr:`on_group_done` ``(group, results)`` makes the callback's job of the results of the group's jobs, encoded
      and in their order (``None`` of a job that kept none). It is called, without I/O, within the transaction that ends
      the last of them; the job's id becomes ``group.callback_id``.
    * :attr:`on_group_failed` ``(group, error)`` makes the jobs to insert when one of the group's failed: the callback
      itself first, which is recorded as FAILURE with ``error`` (an encoded :exc:`~decant.tasks.errors.ChordError`) and
      never run, then what is to be run because of that. By default the first alone, made by :attr:`on_group_done`
      with no results.

    * :attr:`on_broken` ``(record)`` says what follows from a job that has ended without a worker to see to it (lost
      with its workers, expired, revoked while it waited): jobs to insert, as its errbacks, and the group that fails by
      it. By default that is its own group alone.

    Jobs of a group that are replaced end as IGNORED: those neither count nor fail it.

    :param url: of PostgreSQL, SQLAlchemy's or libpq's.
    :param pool_size: connections per event loop.
    :param command_timeout_s: how long a call may take.
    :param pgbouncer: whether its transaction mode is in between.
    """

    def __init__(
        self, url: str | URL, *, pool_size: int = 4, command_timeout_s: float = 10.0, pgbouncer: bool = False
    ) -> None:
        self.pool = Pool(url, size=pool_size, command_timeout_s=command_timeout_s, pgbouncer=pgbouncer)
        self.hooks = Hooks()
        self._batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Batchers] = WeakKeyDictionary()
        self._flushed: datetime | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pool.name}>"

    @property
    def on_group_done(self) -> GroupDone | None:
        """See the class."""
        return self.hooks.done

    @on_group_done.setter
    def on_group_done(self, value: GroupDone | None) -> None:
        self.hooks.done = value

    @property
    def on_group_failed(self) -> GroupFailed | None:
        """See the class."""
        return self.hooks.failed

    @on_group_failed.setter
    def on_group_failed(self, value: GroupFailed | None) -> None:
        self.hooks.failed = value

    @property
    def on_broken(self) -> Broken | None:
        """See the class."""
        return self.hooks.broken

    @on_broken.setter
    def on_broken(self, value: Broken | None) -> None:
        self.hooks.broken = value

    def connection(self) -> AbstractAsyncContextManager[Any]:
        """A connection of asyncpg's, from the ledger's pool: ``async with ledger.connection() as connection``."""
        return self.pool.connection()

    def _here(self) -> _Batchers:
        loop = asyncio.get_running_loop()
        found = self._batchers.get(loop)
        if found is None:
            found = self._batchers[loop] = _Batchers(self, self.pool.command_timeout_s)
        return found

    async def start(self) -> None:
        """Connect, and see that the tables are there.

        :raises asyncpg.UndefinedTableError: if they are not: migrate the database.
        """
        await self.read([UUID(int=0)])

    async def aclose(self) -> None:
        """Let what is on its way end, and close the connections of the running loop."""
        found = self._batchers.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.aclose()
        await self.pool.aclose()

    async def insert(self, jobs: Sequence[Job], groups: Sequence[Group] = ()) -> set[UUID]:
        """Insert jobs and groups, all or none; return the ids of the jobs that are new. Others are left alone.

        If a connection is lost after the statement was sent, it is sent once more, and what it had inserted is then
        not new.
        """
        if not jobs and not groups:
            return set()
        weight = len(jobs) + len(groups)
        if weight <= MAX_BATCH:
            return await self._here().insert.submit((jobs, groups), weight)
        found = await self.pool.run(partial(inserting.insert_calls, calls=[(jobs, groups)]), again=True)
        return found[0]

    async def insert_into(self, session: Any, jobs: Sequence[Job], groups: Sequence[Group] = ()) -> set[UUID]:
        """The same in the transaction of a SQLAlchemy ``AsyncSession`` on the ledger's database."""
        return await inserting.insert(in_session(session), jobs, groups)

    async def claim(self, id: UUID, worker: str, lease_s: float) -> Claimed | None:  # noqa: A002
        """Begin a job that waits and is due, or whose worker has let its lease run out.

        ``None`` if it is unknown, has ended, is somebody else's, was revoked, or its time has not come. A job whose
        time to expire has passed is returned: whoever claims it ends it. What was claimed for a caller that was
        cancelled meanwhile is given back.
        """
        return await self._here().claim.submit(Claim(id, worker, lease_s))

    async def finish(self, outcome: Outcome) -> Finished:
        """End an attempt, insert its children and count its group down, in one transaction.

        What it returns is true if the attempt was still the worker's; saying the same end twice is as good as once.
        The caller pushes :attr:`Finished.to_push`.
        """
        return await self._here().finish.submit(outcome, 1 + len(outcome.children))

    async def finish_in(self, session: Any, outcome: Outcome) -> Finished:
        """The same in the transaction of an ``AsyncSession`` on the ledger's database: it is done when that commits."""
        return (await finishing.finish(in_session(session), [outcome], self.hooks))[0]

    async def retry(
        self,
        id: UUID,  # noqa: A002
        attempt: int,
        worker: str,
        *,
        eta: datetime | None = None,
        error: bytes | None = None,
        payload: bytes | None = None,
    ) -> bool:
        """End an attempt so that the job is run again, at ``eta``: its state is RETRY. The caller pushes it.

        ``False`` if the attempt was not the worker's any more, or the job was revoked meanwhile.
        """
        return await self.pool.run(
            lambda c: claiming.retry(c.fetch, id, attempt, worker, eta, error, payload), again=True
        )

    async def give_back(self, ids_attempts: Sequence[tuple[UUID, int]], worker: str) -> list[Job]:
        """Hand back what was begun and is not going to be finished, as if it had never been begun.

        Returns those that wait again, without payloads; the caller pushes them. What was revoked meanwhile is ended by
        the next sweep.
        """
        if not ids_attempts:
            return []
        return await self.pool.run(lambda c: claiming.give_back(c.fetch, ids_attempts, worker), again=True)

    async def renew(
        self, ids_attempts: Sequence[tuple[UUID, int]], worker: str, lease_s: float
    ) -> tuple[set[UUID], set[UUID]]:
        """Keep jobs for ``lease_s`` seconds from now: the ids that are still the worker's, and of these the revoked."""
        if not ids_attempts:
            return set(), set()
        return await self.pool.run(lambda c: claiming.renew(c.fetch, ids_attempts, worker, lease_s), again=True)

    async def progress(
        self,
        id: UUID,  # noqa: A002
        attempt: int,
        worker: str,
        state: str,
        meta: bytes | None,
    ) -> bool:
        """Note a state of the task's own and its meta; ``False`` if the attempt is not the worker's any more."""
        return await self.pool.run(lambda c: claiming.progress(c.fetch, id, attempt, worker, state, meta), again=True)

    async def revoke(self, ids: Iterable[UUID], *, terminate: bool = False) -> dict[UUID, str]:
        """End what waits as REVOKED, and with ``terminate`` ask what runs to stop (:meth:`renew` tells its worker).

        Returns the states after it, of those that are known, and of callbacks of chords that failed by it.
        """
        kept = [*ids]
        return await self.pool.run(lambda c: reading.revoke(c, kept, terminate, self.hooks), again=True)

    async def read(self, ids: Iterable[UUID]) -> dict[UUID, Record]:
        """The rows of those that are known."""
        return await self.pool.run(lambda c: reading.read(c.fetch, ids), again=True)

    async def read_group(self, group_id: UUID) -> list[Record]:
        """The jobs of a group, in their order."""
        return await self.pool.run(lambda c: reading.read_group(c.fetch, group_id), again=True)

    async def children(self, id: UUID) -> list[Record]:  # noqa: A002
        """The jobs whose parent it is, oldest first."""
        return await self.pool.run(lambda c: reading.children(c.fetch, id), again=True)

    async def requeue(self, id: UUID) -> Job | None:  # noqa: A002
        """Have a job that has ended run again, under the same id, from its first attempt; the caller pushes it.

        ``None`` if it is not known or has not ended. A chord that failed by it goes on once all of its header succeed.
        """
        return await self.pool.run(lambda c: reading.requeue(c.fetch, id))

    async def forget(self, ids: Iterable[UUID]) -> None:
        """Delete what has ended, but not what a chord still needs."""
        await self.pool.run(lambda c: reading.forget(c.fetch, ids), again=True)

    async def sweep(self, marker_missing: bool = False, limit: int = 1000) -> Swept:
        """See to what is left over; at most ``limit`` of each kind. One worker at a time does.

        * A lease that has run out: the job waits again, or has failed with
          :exc:`~decant.tasks.errors.WorkerLostError` if that has happened ``max_attempts`` times.
        * A job that still waits long after it was pushed: it is to be pushed again. One that has expired ends.
        * ``marker_missing``, Redis was flushed: everything that waits is to be pushed, but what is due later. Call
          again while :attr:`Swept.more` is true, then set the marker; if it was :attr:`Swept.skipped`, look later.
        """

        async def work(connection: Any) -> Swept:
            if marker_missing and self._flushed is None:
                # What is pushed from now on is looked at later than this, so each is pushed once.
                now: datetime = await connection.fetchval("SELECT clock_timestamp()")
                self._flushed = now + timedelta(seconds=AGAIN_S)
            if not await sweeping.something_due(connection, self._flushed):
                return Swept()
            return await sweeping.sweep(connection, limit, self._flushed, self.hooks)

        swept = await self.pool.run(work)
        if not swept.more:
            self._flushed = None
        return swept

    async def prune(self, older_than: datetime, batch: int = 1000) -> int:
        """Delete what ended before a time, ``batch`` rows per transaction; return how many jobs."""
        total = 0
        while True:
            count = await self.pool.run(partial(sweeping.prune_jobs, older_than=older_than, batch=batch))
            total += count
            if count < batch:
                break
        while await self.pool.run(partial(sweeping.prune_groups, older_than=older_than, batch=batch)) == batch:
            pass
        return total

    async def sum_up(self, now: datetime, batch: int = 1000) -> None:
        """Add up the figures of old minutes by longer times, and delete the oldest; a bit per transaction."""
        while await self.pool.run(partial(summing.sum_up, now=now)):
            pass
        while await self.pool.run(partial(summing.drop_old, now=now, batch=batch)) == batch:
            pass
