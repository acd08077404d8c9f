"""What the ledger knows, and what people do to it: look, revoke, run again, forget."""

# ruff: noqa: S608 - the parts are ours, and values are parameters
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from ..codec import encode_error
from ..errors import TaskRevokedError
from ..job import Job
from ..states import FAILURE, REVOKED
from .grouping import Hooks, consequences
from .inserting import FIRST_PUSH_S
from .rows import COLUMNS, Fetch, Record, ids_of, job_of, record_of

__all__ = ["children", "forget", "read", "read_group", "requeue", "revoke"]

_READ: Final = f"SELECT {COLUMNS} FROM decant_jobs j WHERE j.id = ANY($1::uuid[])"
_GROUP: Final = f"SELECT {COLUMNS} FROM decant_jobs j WHERE j.group_id = $1::uuid ORDER BY j.group_index, j.id"
_CHILDREN: Final = f"SELECT {COLUMNS} FROM decant_jobs j WHERE j.parent = $1::uuid ORDER BY j.created, j.id"


async def read(fetch: Fetch, ids: Iterable[UUID]) -> dict[UUID, Record]:
    """See :meth:`~decant.tasks.ledger.Ledger.read`."""
    wanted = ids_of(ids)
    rows = await fetch(_READ, wanted) if wanted else []
    return {row["id"]: record_of(row) for row in rows}


async def read_group(fetch: Fetch, group: UUID) -> list[Record]:
    """See :meth:`~decant.tasks.ledger.Ledger.read_group`."""
    return [record_of(row) for row in await fetch(_GROUP, group)]


async def children(fetch: Fetch, parent: UUID) -> list[Record]:
    """See :meth:`~decant.tasks.ledger.Ledger.children`."""
    return [record_of(row) for row in await fetch(_CHILDREN, parent)]


_REVOKE: Final = """
WITH held AS (
  SELECT j.id, j.state IN ('PENDING', 'RETRY') AS waits FROM decant_jobs j
  WHERE j.id = ANY($1::uuid[]) ORDER BY j.id FOR UPDATE
)
UPDATE decant_jobs j SET
  state = CASE WHEN h.waits THEN 'REVOKED' ELSE j.state END,
  error = CASE WHEN h.waits THEN $3::bytea ELSE j.error END,
  finished = CASE WHEN h.waits THEN now() ELSE j.finished END,
  revoked = j.revoked OR h.waits OR $2::bool
FROM held h WHERE j.id = h.id AND j.id = ANY($1::uuid[]) AND (h.waits OR j.state = 'STARTED')
RETURNING j.id, j.state
"""
_STATES: Final = "SELECT j.id, j.state FROM decant_jobs j WHERE j.id = ANY($1::uuid[])"


async def revoke(connection: Any, ids: Iterable[UUID], terminate: bool, hooks: Hooks) -> dict[UUID, str]:
    """See :meth:`~decant.tasks.ledger.Ledger.revoke`."""
    wanted = ids_of(ids)
    async with connection.transaction():
        rows = await connection.fetch(_REVOKE, wanted, terminate, encode_error(TaskRevokedError("revoked")))
        over = [row["id"] for row in rows if row["state"] == REVOKED]
        found = await consequences(connection.fetch, over, hooks)
        states = {row["id"]: row["state"] for row in await connection.fetch(_STATES, wanted)}
    return states | dict.fromkeys(found.ended, FAILURE)


_REQUEUE: Final = f"""
WITH held AS (
  SELECT j.id, j.state, j.group_id FROM decant_jobs j
  WHERE j.id = $1::uuid AND j.finished IS NOT NULL FOR UPDATE
), counted AS (
  UPDATE decant_groups g SET remaining = g.remaining + 1 FROM held h WHERE g.id = h.group_id AND h.state = 'SUCCESS'
)
UPDATE decant_jobs j SET state = 'PENDING', attempt = 0, deaths = 0, retries = 0, eta = NULL, expires = NULL,
  push_after = now() + interval '{FIRST_PUSH_S} s', lease_until = NULL, worker = NULL, revoked = false,
  custom_state = NULL, progress = NULL, result = NULL, error = NULL, started = NULL, finished = NULL
FROM held h WHERE j.id = h.id
RETURNING {COLUMNS.replace("id,", "j.id,", 1).replace(", state", ", j.state").replace("group_id", "j.group_id")}
"""


async def requeue(fetch: Fetch, id_: UUID) -> Job | None:
    """See :meth:`~decant.tasks.ledger.Ledger.requeue`."""
    rows = await fetch(_REQUEUE, id_)
    return job_of(record_of(rows[0])) if rows else None


_FORGET: Final = """
WITH ended AS (
  SELECT j.id FROM decant_jobs j
  WHERE j.id = ANY($1::uuid[]) AND j.finished IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM decant_groups g
    WHERE g.id = j.group_id AND g.remaining > 0 AND NOT g.failed AND g.callback_id IS NOT NULL)
  ORDER BY j.id FOR UPDATE OF j
), gone AS (
  DELETE FROM decant_jobs j USING ended e WHERE j.id = e.id RETURNING j.id
)
DELETE FROM decant_attempts a USING gone g WHERE a.job_id = g.id
"""


async def forget(fetch: Fetch, ids: Iterable[UUID]) -> None:
    """See :meth:`~decant.tasks.ledger.Ledger.forget`."""
    wanted = ids_of(ids)
    if wanted:
        await fetch(_FORGET, wanted)
