"""The clock of periodic tasks, in every worker: no beat to forget, and none to start twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final
from uuid import UUID

from ... import context
from ...errors import ConfigError, Unavailable
from ..job import Job
from .entries import ScheduleEntry, read
from .making import make_job
from .redis_store import RedisStore
from .store import LedgerStore, Row, Store

__all__ = ["Ticker"]

logger = logging.getLogger("decant.tasks")
_SHORTEST_S: Final = 0.02  # also while another worker holds what is due
_BACK_OFF_S: Final = (0.5, 1.0, 2.0, 5.0)


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class Ticker:
    """Runs the entries of ``tasks.conf.beat_schedule`` when they are due, each tick once, however many run.

    :param tasks: the :class:`~decant.tasks.Tasks`.
    :param app: the application.
    :param clock: says what time it is, in UTC.
    """

    def __init__(self, tasks: Any, app: Any, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.tasks, self.app, self._clock = tasks, app, clock
        self._runtime = tasks.runtime(app)
        ledger = self._runtime.ledger
        self._store: Store = RedisStore(self._runtime) if ledger is None else LedgerStore(ledger)
        self._entries: dict[str, ScheduleEntry] = {}
        self._read_from: dict[str, Any] | None = None
        self._synced = False
        self._due: datetime | None = None
        self._woken = asyncio.Event()
        self.failures = 0
        """How often in a row it has failed by now."""

    @property
    def entries(self) -> Mapping[str, ScheduleEntry]:
        """The checked entries, as the configuration has them now.

        :raises ConfigError: if one of them is wrong.
        """
        conf = self._runtime.conf
        given = conf.beat_schedule
        if given != self._read_from:
            self._entries = read(given, conf.tz, conf.beat_catch_up)
            self._read_from = {name: dict(entry) for name, entry in given.items()}
            self._synced = False
        return self._entries

    async def check(self) -> None:
        """Look whether every entry can run: at the start of a worker, when all tasks are known.

        :raises ConfigError: names the entry whose task does not exist, or whose arguments or options are wrong.
        """
        registry = self.tasks.registry
        for name, entry in self.entries.items():
            if entry.task not in registry:
                close = get_close_matches(entry.task, list(registry), 1)
                told = f"did you mean {close[0]!r}?" if close else "is its module imported (conf.imports)?"
                raise ConfigError(f"beat_schedule[{name!r}]['task']", entry.task, f"there is no such task; {told}")
            try:
                async with self._context():
                    make_job(self.tasks, entry, self._clock())
            except (TypeError, ValueError) as error:
                raise ConfigError(f"beat_schedule[{name!r}]", entry.task, str(error)) from error

    def wake(self) -> None:
        """Look now: the entries were changed."""
        self._woken.set()

    async def run(self) -> None:
        """Tick until cancelled. A database or a Redis that is away is waited for.

        :raises ConfigError: at once, as :meth:`check`.
        """
        await self.check()
        while True:
            self._woken.clear()
            pause_s = await self._look()
            try:
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _look(self) -> float:
        """Tick, and say for how many seconds there is nothing to do."""
        try:
            await self.tick()
        except Exception as error:
            return self._failed(error)
        if self.failures:
            logger.info("beat: the schedule is read again")
            self.failures = 0
        longest = float(self._runtime.conf.beat_max_loop_interval)
        if self._due is None:
            return longest
        return max(_SHORTEST_S, min(longest, (self._due - self._clock()).total_seconds()))

    def _failed(self, error: Exception) -> float:
        pause_s = _BACK_OFF_S[min(self.failures, len(_BACK_OFF_S) - 1)]
        self.failures += 1
        if self.failures == 1:
            traceback = None if isinstance(error, Unavailable) else error
            logger.warning("beat: no task is scheduled for now: %s", error, exc_info=traceback)
        return pause_s

    async def tick(self) -> list[UUID]:
        """Run what is due, and return the ids of the jobs.

        :raises Unavailable: if the database, or without a ledger Redis, is away.
        """
        now = self._clock()
        entries = dict(self.entries)
        if not self._synced:
            await self._store.sync(entries, now, start=True)
            self._synced = True
        ids: list[UUID] = []
        more = bool(entries)
        while more:
            more = False
            if self._is_due(await self._rows(entries, now), entries, now):
                async with self._context():
                    ticked = await self._store.tick(entries, now, self._made)
                more = bool(ticked.jobs) or ticked.more
                ids += [job.id for job in ticked.jobs]
                await self._push(ticked.jobs)
        return ids

    async def _rows(self, entries: Mapping[str, ScheduleEntry], now: datetime) -> list[Row]:
        rows = await self._store.rows()
        if not entries.keys() <= {row.name for row in rows}:  # Redis was flushed, or older code has deleted them
            await self._store.sync(entries, now, start=False)
            rows = await self._store.rows()
        return rows

    def _is_due(self, rows: list[Row], entries: Mapping[str, ScheduleEntry], now: datetime) -> bool:
        ours = [row for row in rows if row.enabled and row.name in entries and row.spec == entries[row.name].spec]
        self._due = min((row.next_run for row in ours), default=None)
        return self._due is not None and self._due <= now

    @asynccontextmanager
    async def _context(self) -> AsyncIterator[None]:
        if context.on_quart(self.app):
            async with self.app.app_context():
                yield
        else:
            with self.app.app_context():
                yield

    def _made(self, entry: ScheduleEntry, tick: datetime) -> Job | None:
        try:
            job = make_job(self.tasks, entry, tick)
        except Exception:  # one entry's, which must not stop the others
            logger.exception("beat: %s cannot run: no job of %s can be made", entry.name, entry.task)
            return None
        logger.info("beat: %s is due: job %s of %s", entry.name, job.id, entry.task)
        return job

    async def _push(self, jobs: list[Job]) -> None:
        if self._store.pushes:
            return
        await self._runtime.push([job for job in jobs if job.durable])
        if only_in_redis := [job for job in jobs if not job.durable]:
            try:
                await self._runtime.dispatcher.push(only_in_redis)
            except Unavailable as error:
                logger.warning("beat: %d jobs that are in Redis only are lost: %s", len(only_in_redis), error)

    # -- what the monitor does -------------------------------------------------------------------------------------

    async def rows(self) -> list[Row]:
        """What is kept of each entry, by name.

        :raises Unavailable: as :meth:`tick`.
        """
        return await self._store.rows()

    async def run_now(self, name: str) -> UUID:
        """Run an entry once more, now, whether it is enabled or not; its next run stays where it is.

        :returns: the id of the job.
        :raises LookupError: if there is no such entry.
        :raises Unavailable: as :meth:`tick`.
        """
        now = self._clock()
        entry = self._named(name)
        async with self._context():
            job = make_job(self.tasks, entry, now)
        await self._rows({name: entry}, now)
        if not await self._store.run_now(name, job, now):
            raise LookupError(f"beat_schedule has no entry {name!r}")
        await self._push([job])
        return job.id

    async def enable(self, name: str, enabled: bool = True) -> None:
        """Switch an entry on, from its next time on, or off, for all workers and until it is switched again.

        :raises LookupError: if there is no such entry.
        :raises Unavailable: as :meth:`tick`.
        """
        now = self._clock()
        entry = self._named(name)
        await self._rows({name: entry}, now)
        if not await self._store.enable(name, enabled, entry.next_run(now) if enabled else None):
            raise LookupError(f"beat_schedule has no entry {name!r}")
        self.wake()

    def _named(self, name: str) -> ScheduleEntry:
        try:
            return self.entries[name]
        except KeyError:
            known = ", ".join(sorted(self.entries)) or "it is empty"
            raise LookupError(f"beat_schedule has no entry {name!r}: {known}") from None
