"""What goes on without those who should have seen to it: dead workers, lost pushes, a flushed Redis, old rows."""

# ruff: noqa: S608 - the parts are ours, and values are parameters
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ..codec import encode_error
from ..errors import TaskRevokedError, WorkerLostError
from ..job import Job
from ..states import REVOKED
from .grouping import Hooks, consequences
from .rows import COLUMNS, Record, job_of, record_of

__all__ = ["AGAIN_S", "Swept", "prune_groups", "prune_jobs", "something_due", "sweep"]

AGAIN_S: Final = 30
"""Seconds after which what still waits is pushed again."""
_LOCK_KEY: Final = 0x64656361_6E740001  # "decant", 1


@dataclass(slots=True, kw_only=True)
class Swept:
    """What a sweep found."""

    push: list[Job] = field(default_factory=list)
    """To be pushed into Redis, without payloads: what waits is durable."""
    freed: list[UUID] = field(default_factory=list)
    """Of these, the ones that a dead worker held: what Redis says of who runs them is no longer true."""
    lost: list[Record] = field(default_factory=list)
    """Ended as FAILURE: their workers died, as often as they may be begun."""
    expired: list[Record] = field(default_factory=list)
    """Ended as REVOKED: not begun in time, or asked to stop when their worker died."""
    ended: list[UUID] = field(default_factory=list)
    """Besides those: callbacks of chords that failed, as FAILURE."""
    more: bool = False
    """Whether there is more of it than ``limit``: sweep again soon."""
    skipped: bool = False
    """Whether another worker was sweeping."""


_RECORD: Final = ", ".join(f"j.{name}" for name in COLUMNS.split(", ") if name not in {"payload", "progress", "result"})
_BARE: Final = f"{_RECORD}, ''::bytea AS payload, NULL::bytea AS progress, NULL::bytea AS result"
# By order and not by EXISTS: only one index has the order, while several have the rows.
_DUE: Final = """
SELECT COALESCE((SELECT min(j.lease_until) FROM decant_jobs j WHERE j.state = 'STARTED') < now(), false)
  OR COALESCE((SELECT min(j.push_after) FROM decant_jobs j WHERE j.state IN ('PENDING', 'RETRY'))
    <= COALESCE($1::timestamptz, now()), false) AS due
"""
_DEAD: Final = f"""
WITH dead AS (
  SELECT j.id, j.attempt, j.worker, j.started FROM decant_jobs j
  WHERE j.state = 'STARTED' AND j.lease_until < now()
  ORDER BY j.lease_until LIMIT $1::int FOR UPDATE SKIP LOCKED
), noted AS (
  INSERT INTO decant_attempts (job_id, attempt, worker, state, started)
  SELECT d.id, d.attempt, d.worker, 'LOST', d.started FROM dead d
)
UPDATE decant_jobs j SET deaths = j.deaths + 1, lease_until = NULL, custom_state = NULL,
  state = CASE WHEN j.revoked THEN 'REVOKED' WHEN j.deaths + 1 >= j.max_attempts THEN 'FAILURE' ELSE 'PENDING' END,
  finished = CASE WHEN j.revoked OR j.deaths + 1 >= j.max_attempts THEN now() END,
  push_after = now() + interval '{AGAIN_S} s'
FROM dead d WHERE j.id = d.id
RETURNING {_BARE}
"""
_WAITING: Final = f"""
WITH due AS (
  SELECT j.id FROM decant_jobs j
  WHERE j.state IN ('PENDING', 'RETRY') AND j.push_after <= COALESCE($2::timestamptz, now())
  ORDER BY j.push_after LIMIT $1::int FOR UPDATE SKIP LOCKED
)
UPDATE decant_jobs j SET
  state = CASE WHEN j.revoked OR j.expires < now() THEN 'REVOKED' ELSE j.state END,
  finished = CASE WHEN j.revoked OR j.expires < now() THEN now() END,
  push_after = GREATEST(LEAST(GREATEST(j.eta, now() + interval '{AGAIN_S} s'), j.expires + interval '1 ms'),
    $2::timestamptz + interval '1 ms')
FROM due d WHERE j.id = d.id
RETURNING {_BARE}
"""
_ERRORS: Final = """
UPDATE decant_jobs j SET error = e.error FROM unnest($1::uuid[], $2::bytea[]) AS e(id, error)
WHERE j.id = e.id AND j.id = ANY($1::uuid[])
"""


async def something_due(connection: Any, flushed: datetime | None) -> bool:
    """Whether a sweep would find anything: one cheap look, which is all that an idle ledger costs."""
    return bool(await connection.fetchval(_DUE, flushed))


async def sweep(connection: Any, limit: int, flushed: datetime | None, hooks: Hooks) -> Swept:
    """One sweep, in one transaction, by one worker at a time.

    :param flushed: what was pushed before this has to be pushed again. Times are the database's.
    """
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1::bigint)", _LOCK_KEY):
            return Swept(skipped=True)
        dead = [record_of(row) for row in await connection.fetch(_DEAD, limit)]
        due = [record_of(row) for row in await connection.fetch(_WAITING, limit, flushed)]
        swept = Swept(
            push=[job_of(record) for record in (*dead, *due) if record.finished is None],
            freed=[record.id for record in dead if record.finished is None],
            lost=[record for record in dead if record.finished is not None and record.state != REVOKED],
            expired=[record for record in (*dead, *due) if record.state == REVOKED],
            more=limit in (len(dead), len(due)),
        )
        await _tell(connection, [*swept.lost, *swept.expired])
        over = [record.id for record in (*swept.lost, *swept.expired)]
        found = await consequences(connection.fetch, over, hooks)
        swept.push += [job for _, job in found.inserted]
        swept.ended = found.ended
        return swept


def _error(record: Record) -> bytes:
    if record.state != REVOKED:
        return encode_error(
            WorkerLostError(f"its worker {record.worker} died with it, as {record.deaths - 1} did before")
            if record.deaths > 1
            else WorkerLostError(f"its worker {record.worker} died with it")
        )
    return encode_error(TaskRevokedError("revoked" if record.revoked else f"expired: not begun by {record.expires}"))


async def _tell(connection: Any, records: Sequence[Record]) -> None:
    if not records:
        return
    for record in records:
        record.error = _error(record)
    await connection.fetch(_ERRORS, [record.id for record in records], [record.error for record in records])


# A chord that is not complete needs the results of its header.
_PRUNE: Final = """
WITH old AS (
  SELECT j.id FROM decant_jobs j
  WHERE j.finished < $1::timestamptz AND NOT EXISTS (
    SELECT 1 FROM decant_groups g
    WHERE g.id = j.group_id AND g.remaining > 0 AND NOT g.failed AND g.callback_id IS NOT NULL)
  ORDER BY j.finished LIMIT $2::int FOR UPDATE OF j SKIP LOCKED
), gone AS (
  DELETE FROM decant_jobs j USING old o WHERE j.id = o.id RETURNING j.id
), attempts AS (
  DELETE FROM decant_attempts a USING gone g WHERE a.job_id = g.id
)
SELECT count(*) FROM gone
"""
_PRUNE_GROUPS: Final = """
WITH old AS (
  SELECT g.id FROM decant_groups g
  WHERE g.created < $1::timestamptz AND NOT EXISTS (SELECT 1 FROM decant_jobs j WHERE j.group_id = g.id)
  ORDER BY g.created LIMIT $2::int FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM decant_groups g USING old o WHERE g.id = o.id RETURNING g.id
)
SELECT count(*) FROM gone
"""


async def prune_jobs(connection: Any, older_than: datetime, batch: int) -> int:
    """Delete at most ``batch`` jobs that ended before ``older_than``, with their attempts; how many."""
    return int(await connection.fetchval(_PRUNE, older_than, batch))


async def prune_groups(connection: Any, older_than: datetime, batch: int) -> int:
    """Delete at most ``batch`` groups that have no jobs any more; how many."""
    return int(await connection.fetchval(_PRUNE_GROUPS, older_than, batch))
