"""The schedule of an application without a ledger: a hash in Redis, as safe as Redis is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

from ..job import Job
from .entries import ScheduleEntry
from .store import Make, Row, Ticked

__all__ = ["RedisStore"]

_SOURCE: Final = files(__package__).joinpath("move.lua").read_text()
_AT_ONCE: Final = 100
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class _Move:
    name: str
    read: str
    row: Row
    jobs: list[Job]


class RedisStore:
    """A :class:`~decant.tasks.beat.store.Store`; entries are moved, and their jobs pushed, by one Lua script.

    After a flush of Redis each entry begins anew, with its next time. Every method raises
    :exc:`~decant.errors.RedisUnavailable` when Redis does not answer.

    :param runtime: the application's, whose ``dispatcher`` knows how a job is pushed.
    """

    pushes = True

    def __init__(self, runtime: Any) -> None:
        self._redis, self._dispatcher = runtime.redis, runtime.dispatcher
        self._key, self._wake = f"{runtime.names.beat}:entries", runtime.names.wake
        self._move = self._redis.script(_SOURCE)

    async def sync(self, entries: Mapping[str, ScheduleEntry], now: datetime, *, start: bool) -> None:
        read = await self._read()
        changed = []
        for name, entry in entries.items():
            if name not in read:
                row = Row(name, entry.task, entry.spec, entry.next_run(now))
                await self._redis.hsetnx(self._key, name, _written(row))
            elif start and (read[name][1].task, read[name][1].spec) != (entry.task, entry.spec):
                text, row = read[name]
                next_run = row.next_run if row.spec == entry.spec else entry.next_run(now)
                changed.append(_Move(name, text, replace(row, task=entry.task, spec=entry.spec, next_run=next_run), []))
        await self._moved(changed)
        if start and (old := [name for name in read if name not in entries]):
            await self._redis.hdel(self._key, *old)

    async def rows(self) -> list[Row]:
        return [row for _, (_, row) in sorted((await self._read()).items())]

    async def tick(self, entries: Mapping[str, ScheduleEntry], now: datetime, make: Make) -> Ticked:
        due = [
            (entries[name], text, row)
            for name, (text, row) in (await self._read()).items()
            if name in entries and row.spec == entries[name].spec and row.enabled and row.next_run <= now
        ]
        due.sort(key=lambda one: one[2].next_run)
        moves = []
        for entry, text, row in due[:_AT_ONCE]:
            found = entry.advance(row.next_run, now)
            jobs = [job for tick in found.ticks if (job := make(entry, tick)) is not None]
            skipped = row.skipped + found.skipped
            moves.append(_Move(entry.name, text, _ran(row, jobs, now, next_run=found.next_run, skipped=skipped), jobs))
        moved = await self._moved(moves)
        return Ticked([job for move in moves if move.name in moved for job in move.jobs], len(due) > _AT_ONCE)

    async def run_now(self, name: str, job: Job, now: datetime) -> bool:
        return await self._changed(name, lambda row: _ran(row, [job], now), [job])

    async def enable(self, name: str, enabled: bool, next_run: datetime | None) -> bool:
        return await self._changed(name, lambda row: replace(row, enabled=enabled, next_run=next_run or row.next_run))

    async def _changed(self, name: str, change: Any, jobs: list[Job] | None = None) -> bool:
        for _ in range(_TRIES):
            found = (await self._read()).get(name)
            if found is None:
                return False
            if await self._moved([_Move(name, found[0], change(found[1]), jobs or [])]):
                return True
        raise RuntimeError(f"the entry {name!r} of the schedule was changed {_TRIES} times while it was to be changed")

    async def _read(self) -> dict[str, tuple[str, Row]]:
        """By name: the text, and what it says."""
        found = {_text(name): _text(value) for name, value in (await self._redis.hgetall(self._key)).items()}
        return {name: (text, _row(name, text)) for name, text in found.items()}

    async def _moved(self, moves: list[_Move]) -> set[str]:
        if not moves:
            return set()
        keys, args = [self._key], [self._wake]
        for move in moves:
            queues, jobs = self._dispatcher.arguments(move.jobs)
            keys += queues
            args += [move.name, move.read, _written(move.row), len(move.jobs), *jobs]
        return set(map(_text, await self._move(keys, args)))


def _ran(row: Row, jobs: list[Job], now: datetime, **more: Any) -> Row:
    if jobs:
        more |= {"runs": row.runs + len(jobs), "last_run": now, "last_job": jobs[-1].id}
    return replace(row, **more)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _written(row: Row) -> str:
    values = asdict(row)
    del values["name"]
    return json.dumps(values, default=str)


def _row(name: str, text: str) -> Row:
    values = json.loads(text)
    for key in ("next_run", "last_run"):
        values[key] = values[key] and datetime.fromisoformat(values[key])
    values["last_job"] = values["last_job"] and UUID(values["last_job"])
    return Row(name=name, **values)
