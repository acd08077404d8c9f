"""The schedule in the ledger: ``decant_schedule``, whose ticks are moved in the transaction that inserts their jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from ..job import Job
from ..ledger.inserting import insert
from .entries import ScheduleEntry

__all__ = ["LedgerStore", "Make", "Row", "Store", "Ticked"]

Make = Callable[[ScheduleEntry, datetime], Job | None]
"""Makes the job of one tick; None if it cannot be made, which it has logged."""
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of one entry. Times are aware; ``skipped`` counts missed ticks that were not caught up with."""

    name: str
    task: str
    spec: str
    next_run: datetime
    last_run: datetime | None = None
    last_job: UUID | None = None
    runs: int = 0
    skipped: int = 0
    enabled: bool = True


@dataclass(slots=True)
class Ticked:
    """What one look has done: the jobs to push, and whether more entries may be due."""

    jobs: list[Job] = field(default_factory=list)
    more: bool = False


class Store(Protocol):
    """Where the next runs are kept. Every method may be called by any number of processes at once."""

    pushes: bool
    """Whether :meth:`tick` and :meth:`run_now` push the jobs themselves."""

    async def sync(self, entries: Mapping[str, ScheduleEntry], now: datetime, *, start: bool) -> None:
        """Insert entries that are not there. At a ``start`` moreover: compute anew the next run of those whose
        schedule was changed, and delete those that are in the code no more.
        """

    async def rows(self) -> list[Row]:
        """Every entry, by name."""

    async def tick(self, entries: Mapping[str, ScheduleEntry], now: datetime, make: Make) -> Ticked:
        """Make the jobs of what is due, and move the next runs, both or neither."""

    async def run_now(self, name: str, job: Job, now: datetime) -> bool:
        """Have the job made for an entry outside of its schedule; False if there is no such entry."""

    async def enable(self, name: str, enabled: bool, next_run: datetime | None) -> bool:
        """Let an entry run, from ``next_run`` on, or not; False if there is no such entry."""


_INSERT: Final = """
INSERT INTO decant_schedule AS s (name, task, spec, next_run)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
ON CONFLICT (name) DO """
_CHANGE: Final = """UPDATE SET task = excluded.task, spec = excluded.spec, updated = now(),
  next_run = CASE WHEN s.spec = excluded.spec THEN s.next_run ELSE excluded.next_run END
WHERE (s.task, s.spec) IS DISTINCT FROM (excluded.task, excluded.spec)
"""
_DELETE: Final = "DELETE FROM decant_schedule WHERE name <> ALL($1::text[])"
_ROWS: Final = """
SELECT name, task, spec, next_run, last_run, last_job, runs, skipped, enabled FROM decant_schedule ORDER BY name
"""
# Only with the specification of this code: another version, started later, may have changed it.
_DUE: Final = """
SELECT s.name, s.next_run
FROM decant_schedule s JOIN unnest($1::text[], $2::text[]) AS e(name, spec) ON e.name = s.name AND e.spec = s.spec
WHERE s.enabled AND s.next_run <= $3 ORDER BY s.next_run, s.name LIMIT $4 FOR UPDATE OF s SKIP LOCKED
"""
_MOVE: Final = """
UPDATE decant_schedule s SET next_run = m.next_run, runs = s.runs + m.runs, skipped = s.skipped + m.skipped,
  last_run = CASE WHEN m.runs > 0 THEN $6 ELSE s.last_run END, last_job = coalesce(m.last_job, s.last_job)
FROM unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::uuid[])
  AS m(name, next_run, runs, skipped, last_job)
WHERE s.name = m.name
"""
_RUN_NOW: Final = """
UPDATE decant_schedule SET runs = runs + 1, last_run = $2, last_job = $3 WHERE name = $1 RETURNING name
"""
_ENABLE: Final = """
UPDATE decant_schedule SET enabled = $2, next_run = coalesce($3, next_run), updated = now() WHERE name = $1
RETURNING name
"""


class LedgerStore:
    """The :class:`Store` of an application with a ledger.

    :param ledger: lends connections of asyncpg's: ``async with ledger.connection() as connection``. Every method raises
        :exc:`~decant.errors.DatabaseUnavailable` when it cannot.
    """

    pushes = False

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    async def sync(self, entries: Mapping[str, ScheduleEntry], now: datetime, *, start: bool) -> None:
        ordered = [entries[name] for name in sorted(entries)]
        columns = zip(*((e.name, e.task, e.spec, e.next_run(now)) for e in ordered), strict=True)
        async with self._ledger.connection() as connection, connection.transaction():
            if ordered:
                await connection.execute(_INSERT + (_CHANGE if start else "NOTHING"), *map(list, columns))
            if start:
                await connection.execute(_DELETE, list(entries))

    async def rows(self) -> list[Row]:
        async with self._ledger.connection() as connection:
            return [Row(**dict(row)) for row in await connection.fetch(_ROWS)]

    async def tick(self, entries: Mapping[str, ScheduleEntry], now: datetime, make: Make) -> Ticked:
        specs = [entry.spec for entry in entries.values()]
        ticked = Ticked()
        async with self._ledger.connection() as connection, connection.transaction():
            due = await connection.fetch(_DUE, list(entries), specs, now, _AT_ONCE)
            moves = []
            for name, next_run in due:
                found = entries[name].advance(next_run, now)
                jobs = [job for tick in found.ticks if (job := make(entries[name], tick)) is not None]
                moves.append((name, found.next_run, len(jobs), found.skipped, jobs[-1].id if jobs else None))
                ticked.jobs += jobs
            if durable := [job for job in ticked.jobs if job.durable]:
                await insert(connection.fetch, durable)
            if moves:
                await connection.execute(_MOVE, *map(list, zip(*moves, strict=True)), now)
        ticked.more = len(due) == _AT_ONCE
        return ticked

    async def run_now(self, name: str, job: Job, now: datetime) -> bool:
        async with self._ledger.connection() as connection, connection.transaction():
            found = await connection.fetchval(_RUN_NOW, name, now, job.id)
            if found is not None and job.durable:
                await insert(connection.fetch, [job])
        return found is not None

    async def enable(self, name: str, enabled: bool, next_run: datetime | None) -> bool:
        async with self._ledger.connection() as connection:
            return await connection.fetchval(_ENABLE, name, enabled, next_run) is not None
