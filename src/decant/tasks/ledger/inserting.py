"""Jobs and groups into the ledger."""

# ruff: noqa: S608 - the parts are ours, and values are parameters
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from ..job import Group, Job
from .batching import MAX_BATCH
from .rows import Fetch

__all__ = ["FIRST_PUSH_S", "insert", "insert_calls"]

FIRST_PUSH_S: Final = 10
"""Seconds after which the sweeper pushes a job that waits although its producer should have pushed it."""

# A job of the future is pushed again when it is due, and one that expires is looked at then.
_JOBS: Final = f"""
INSERT INTO decant_jobs (id, task, queue, payload, priority, eta, expires, max_attempts, retries, parent, root,
  group_id, group_index, summary, request_id, push_after)
SELECT j.*, LEAST(CASE WHEN j.eta > now() THEN j.eta ELSE now() + interval '{FIRST_PUSH_S} s' END, j.expires)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::int[], $6::timestamptz[], $7::timestamptz[],
  $8::int[], $9::int[], $10::uuid[], $11::uuid[], $12::uuid[], $13::int[], $14::text[], $15::text[])
  AS j(id, task, queue, payload, priority, eta, expires, max_attempts, retries, parent, root, group_id, group_index,
  summary, request_id)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""
_GROUPS: Final = """
INSERT INTO decant_groups (id, total, remaining, callback, callback_id)
SELECT g.id, g.total, g.total, g.callback, g.callback_id
FROM unnest($1::uuid[], $2::int[], $3::bytea[], $4::uuid[]) AS g(id, total, callback, callback_id)
ON CONFLICT (id) DO NOTHING
"""


def _clean(value: str | None) -> str | None:
    """Text that PostgreSQL takes, of what came from outside: without NUL, and without half a surrogate pair."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()


_VALUES: Final[tuple[Callable[[Job], Any], ...]] = (
    lambda job: job.id,
    lambda job: job.task,
    lambda job: job.queue,
    lambda job: job.payload,
    lambda job: job.priority,
    lambda job: job.eta,
    lambda job: job.expires,
    lambda job: job.max_attempts,
    lambda job: job.retries,
    lambda job: job.parent,
    lambda job: job.root,
    lambda job: job.group,
    lambda job: job.group_index,
    lambda job: _clean(job.summary),
    lambda job: _clean(job.request_id),
)


def _chunks(jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    ordered = sorted(jobs, key=lambda job: job.id)  # two that insert the same ids never wait for each other in a circle
    for start in range(0, len(ordered), MAX_BATCH):
        yield ordered[start : start + MAX_BATCH]


async def insert(fetch: Fetch, jobs: Sequence[Job], groups: Sequence[Group] = ()) -> set[UUID]:
    """Insert; more than :data:`MAX_BATCH` in several statements. The ids that are new."""
    if groups:
        kept = sorted(groups, key=lambda group: group.id)
        columns = zip(*((g.id, g.total, g.callback, g.callback_id) for g in kept), strict=True)
        await fetch(_GROUPS, *map(list, columns))
    new: set[UUID] = set()
    for chunk in _chunks(jobs):
        rows = await fetch(_JOBS, *([value(job) for job in chunk] for value in _VALUES))
        new.update(row["id"] for row in rows)
    return new


Call = tuple[Sequence[Job], Sequence[Group]]


async def insert_calls(connection: Any, calls: list[Call]) -> list[set[UUID]]:
    """Insert the jobs and groups of several callers in one transaction; to each the ids that are new by its call."""
    jobs = [job for call in calls for job in call[0]]
    groups = [group for call in calls for group in call[1]]
    if groups or len(jobs) > MAX_BATCH:
        async with connection.transaction():
            new = await insert(connection.fetch, jobs, groups)
    else:
        new = await insert(connection.fetch, jobs)
    results = []
    for own, _ in calls:
        mine = {job.id for job in own} & new
        new -= mine  # the same id in a later call was there already
        results.append(mine)
    return results
