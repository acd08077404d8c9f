"""Groups and chords: counted down, failed, and their callbacks inserted, in the transaction that ended their jobs."""

# ruff: noqa: S608 - the parts are ours, and values are parameters
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from ..codec import encode_error
from ..errors import ChordError
from ..job import Group, Job
from .inserting import insert
from .rows import COLUMNS, Fetch, Record, ids_of, record_of

__all__ = ["Broken", "Consequences", "GroupDone", "GroupFailed", "Hooks", "consequences", "settle"]

logger = logging.getLogger("decant.tasks")
GroupDone = Callable[[Group, Sequence[bytes | None]], Job]
GroupFailed = Callable[[Group, bytes], Sequence[Job]]
Broken = Callable[["Record"], tuple[Sequence[Job], UUID | None]]


@dataclass(slots=True)
class Hooks:
    """How callbacks become jobs; see :class:`~decant.tasks.ledger.Ledger`."""

    done: GroupDone | None = None
    failed: GroupFailed | None = None
    broken: Broken | None = None


@dataclass(slots=True)
class Consequences:
    """What the end of jobs led to: jobs that were inserted, and callbacks that ended as FAILURE without being run."""

    inserted: list[tuple[UUID, Job]] = field(default_factory=list)
    """With the id of the group that each is the callback of."""
    ended: list[UUID] = field(default_factory=list)


_LOCK: Final = "SELECT g.id FROM decant_groups g WHERE g.id = ANY($1::uuid[]) ORDER BY g.id FOR UPDATE"
_COUNT: Final = """
UPDATE decant_groups g SET remaining = g.remaining - c.done
FROM unnest($1::uuid[], $2::int[]) AS c(id, done)
WHERE g.id = c.id AND g.id = ANY($1::uuid[]) AND g.remaining > 0
RETURNING g.id, g.total, g.remaining, g.callback, g.callback_id
"""
_FAIL: Final = """
UPDATE decant_groups g SET failed = true WHERE g.id = ANY($1::uuid[]) AND NOT g.failed
RETURNING g.id, g.total, g.remaining, g.callback, g.callback_id
"""
_RESULTS: Final = """
SELECT j.result FROM decant_jobs j WHERE j.group_id = $1::uuid AND j.state = 'SUCCESS' ORDER BY j.group_index, j.id
"""
_END: Final = """
UPDATE decant_jobs j SET state = 'FAILURE', error = $2::bytea, finished = now()
WHERE j.id = $1::uuid AND j.state = 'PENDING' AND j.attempt = 0
RETURNING j.id
"""
# Its header failed, and was run again by hand until all of it succeeded.
_REVIVE: Final = """
UPDATE decant_jobs j SET state = 'PENDING', payload = $2::bytea, error = NULL, finished = NULL, push_after = now()
WHERE j.id = $1::uuid AND j.state = 'FAILURE' AND j.attempt = 0
RETURNING j.id
"""


async def settle(fetch: Fetch, succeeded: Iterable[UUID], failed: Iterable[UUID], hooks: Hooks) -> Consequences:
    """Count groups down, once for each time that one is in ``succeeded``, and fail those in ``failed``."""
    counts, lost = Counter(succeeded), ids_of(failed)
    found = Consequences()
    if not counts and not lost:
        return found
    await fetch(_LOCK, ids_of([*counts, *lost]))
    if counts:
        for row in await fetch(_COUNT, [*counts], [*counts.values()]):
            if row["remaining"] <= 0 and row["callback_id"] is not None:
                await _complete(fetch, _group(row), hooks, found)
    while lost:
        rows = [row for row in await fetch(_FAIL, lost) if row["callback_id"] is not None]
        lost = []
        for row in rows:
            lost += await _fail(fetch, _group(row), hooks, found)
    return found


_ENDED: Final = f"SELECT {COLUMNS} FROM decant_jobs j WHERE j.id = ANY($1::uuid[]) ORDER BY j.id"


async def consequences(fetch: Fetch, ids: Iterable[UUID], hooks: Hooks) -> Consequences:
    """What follows for others from jobs that have ended without a worker that would have seen to it."""
    wanted = ids_of(ids)
    if not wanted:
        return Consequences()
    jobs: list[Job] = []
    failed: list[UUID] = []
    for row in await fetch(_ENDED, wanted):
        record = record_of(row)
        more, group = _broken(record, hooks)
        jobs += more
        if group is not None:
            failed.append(group)
    if jobs:
        await insert(fetch, jobs)
    found = await settle(fetch, [], failed, hooks)
    found.inserted += [(job.id, job) for job in jobs]
    return found


def _broken(record: Record, hooks: Hooks) -> tuple[Sequence[Job], UUID | None]:
    if hooks.broken is not None:
        try:
            return hooks.broken(record)
        except Exception:  # it concerns what would have followed, not the ledger
            logger.exception("what follows the end of job %s cannot be made", record.id)
    return (), record.group_id


def _group(row: Any) -> Group:
    return Group(id=row["id"], total=row["total"], callback=row["callback"], callback_id=row["callback_id"])


async def _complete(fetch: Fetch, group: Group, hooks: Hooks, found: Consequences) -> None:
    results = [row["result"] for row in await fetch(_RESULTS, group.id)]
    try:
        job = _made(group, results, hooks)
    except Exception as error:  # it concerns whoever waits for the callback, not the job that ended
        logger.exception("the callback of the chord %s cannot be made", group.id)
        await _end(fetch, [_unknown(group)], error, found)
        return
    assert group.callback_id is not None
    if await insert(fetch, [job]) or await fetch(_REVIVE, job.id, job.payload):
        found.inserted.append((group.id, job))


async def _fail(fetch: Fetch, group: Group, hooks: Hooks, found: Consequences) -> list[UUID]:
    """End a callback before it begins; the groups that it belongs to itself."""
    error = ChordError(f"a task of the chord's header failed: its group is {group.id}")
    try:
        failed = hooks.failed
        jobs = [_made(group, [], hooks)] if failed is None else [*failed(group, encode_error(error))]
    except Exception:
        logger.exception("the callback of the chord %s cannot be made", group.id)
        jobs = [_unknown(group)]
    await _end(fetch, jobs, error, found)
    return [job.group for job in jobs[:1] if job.group is not None]


async def _end(fetch: Fetch, jobs: list[Job], error: Exception, found: Consequences) -> None:
    callback, *others = jobs
    await insert(fetch, jobs)
    if await fetch(_END, callback.id, encode_error(error)):
        found.ended.append(callback.id)
    found.inserted += [(other.id, other) for other in others]


def _made(group: Group, results: list[bytes | None], hooks: Hooks) -> Job:
    if hooks.done is None:
        raise RuntimeError("the ledger has no on_group_done: nobody says how the callback of a chord becomes a job")
    job = hooks.done(group, results)
    assert group.callback_id is not None
    job.id = group.callback_id
    return job


def _unknown(group: Group) -> Job:
    assert group.callback_id is not None
    return Job(id=group.callback_id, task="", queue="", payload=b"", summary=f"the callback of {group.id}")
