"""Workers begin jobs, keep them, and hand them back."""

# ruff: noqa: S608 - the parts are ours, and values are parameters
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ..job import Claimed, Job
from .inserting import FIRST_PUSH_S
from .rows import Fetch

__all__ = ["Claim", "claim_calls", "give_back", "progress", "renew", "retry"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants which job, and for how long before it is looked after."""

    id: UUID
    worker: str
    lease_s: float


_JOB: Final = """j.id, j.task, j.queue, j.priority, j.eta, j.expires, j.max_attempts, j.retries, j.parent, j.root,
  j.group_id AS group, j.group_index, j.summary, j.request_id"""

# A dead worker's job is taken over here as well as by the sweeper, since arq brings it again by itself. One that must
# not be begun once more is left to the sweeper, and so is one that came before its time.
_CLAIM: Final = f"""
WITH wanted AS (
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::float8[]) AS w(id, worker, lease_s)
), held AS (
  SELECT j.id, j.state, j.attempt, j.worker, j.started FROM decant_jobs j
  WHERE j.id = ANY($1::uuid[]) AND NOT j.revoked
    AND (j.state IN ('PENDING', 'RETRY') AND (j.eta IS NULL OR j.eta < now() + interval '1 s')
      OR j.state = 'STARTED' AND j.lease_until < now() AND j.deaths + 1 < j.max_attempts)
  ORDER BY j.id FOR UPDATE
), lost AS (
  INSERT INTO decant_attempts (job_id, attempt, worker, state, started)
  SELECT h.id, h.attempt, h.worker, 'LOST', h.started FROM held h WHERE h.state = 'STARTED'
)
UPDATE decant_jobs j SET state = 'STARTED', attempt = j.attempt + 1, worker = w.worker, started = now(),
  deaths = j.deaths + (h.state = 'STARTED')::int, lease_until = now() + w.lease_s * interval '1 s',
  custom_state = NULL, progress = NULL
FROM held h JOIN wanted w ON w.id = h.id
WHERE j.id = h.id AND j.id = ANY($1::uuid[])
RETURNING {_JOB}, j.payload, j.attempt, j.created, j.deaths > 0 AS rerun
"""


async def claim_calls(connection: Any, claims: list[Claim]) -> list[Claimed | None]:
    """Begin jobs in one statement: to each claim its job, or ``None``. Of two for the same job the first has it."""
    first = {claim.id: claim for claim in reversed(claims)}
    rows = await connection.fetch(
        _CLAIM, [*first], [claim.worker for claim in first.values()], [claim.lease_s for claim in first.values()]
    )
    begun = {row["id"]: row for row in rows}
    return [Claimed(**begun[claim.id]) if first[claim.id] is claim and claim.id in begun else None for claim in claims]


# Whoever was asked to stop is not run again: it is left to the sweeper, at once.
_FENCED: Final = """
  SELECT j.id FROM unnest($1::uuid[], $2::int[]) AS g(id, attempt)
  JOIN decant_jobs j ON j.id = g.id AND j.attempt = g.attempt
  WHERE j.id = ANY($1::uuid[]) AND j.worker = $3::text AND j.state = 'STARTED'
  ORDER BY j.id FOR UPDATE OF j
"""
_GIVE_BACK: Final = f"""
WITH held AS ({_FENCED})
UPDATE decant_jobs j SET state = CASE WHEN j.revoked THEN j.state ELSE 'PENDING' END,
  attempt = j.attempt - 1, worker = CASE WHEN j.revoked THEN j.worker END,
  lease_until = CASE WHEN j.revoked THEN now() END,
  push_after = now() + interval '{FIRST_PUSH_S} s', custom_state = NULL
FROM held h WHERE j.id = h.id AND j.id = ANY($1::uuid[])
RETURNING {_JOB}, ''::bytea AS payload, j.revoked
"""
_RENEW: Final = f"""
WITH held AS ({_FENCED})
UPDATE decant_jobs j SET lease_until = now() + $4::float8 * interval '1 s'
FROM held h WHERE j.id = h.id AND j.id = ANY($1::uuid[])
RETURNING j.id, j.revoked
"""
_PROGRESS: Final = """
UPDATE decant_jobs j SET custom_state = $4::text, progress = $5::bytea
WHERE j.id = $1::uuid AND j.attempt = $2::int AND j.worker = $3::text AND j.state = 'STARTED'
RETURNING j.id
"""
_RETRY: Final = f"""
WITH held AS (
  SELECT j.id, j.attempt, j.worker, j.started, j.revoked FROM decant_jobs j
  WHERE j.id = $1::uuid AND j.attempt = $2::int AND j.worker = $3::text AND j.state = 'STARTED' FOR UPDATE
), noted AS (
  INSERT INTO decant_attempts (job_id, attempt, worker, state, error, started)
  SELECT h.id, h.attempt, h.worker, 'RETRY', $5::bytea, h.started FROM held h
)
UPDATE decant_jobs j SET
  state = CASE WHEN h.revoked THEN j.state ELSE 'RETRY' END,
  lease_until = CASE WHEN h.revoked THEN now() END, worker = CASE WHEN h.revoked THEN j.worker END,
  retries = j.retries + 1, eta = $4::timestamptz, error = $5::bytea, payload = COALESCE($6::bytea, j.payload),
  push_after = LEAST(CASE WHEN $4::timestamptz > now() THEN $4::timestamptz
    ELSE now() + interval '{FIRST_PUSH_S} s' END, j.expires),
  custom_state = NULL
FROM held h WHERE j.id = h.id
RETURNING h.revoked
"""


def _columns(ids_attempts: Sequence[tuple[UUID, int]]) -> tuple[list[UUID], list[int]]:
    ordered = sorted(ids_attempts)
    return [id_ for id_, _ in ordered], [attempt for _, attempt in ordered]


async def give_back(fetch: Fetch, ids_attempts: Sequence[tuple[UUID, int]], worker: str) -> list[Job]:
    """See :meth:`~decant.tasks.ledger.Ledger.give_back`."""
    rows = await fetch(_GIVE_BACK, *_columns(ids_attempts), worker)
    given = [dict(row) for row in rows]
    return [Job(**row) for row in given if not row.pop("revoked")]


async def renew(
    fetch: Fetch, ids_attempts: Sequence[tuple[UUID, int]], worker: str, lease_s: float
) -> tuple[set[UUID], set[UUID]]:
    """See :meth:`~decant.tasks.ledger.Ledger.renew`."""
    rows = await fetch(_RENEW, *_columns(ids_attempts), worker, lease_s)
    return {row["id"] for row in rows}, {row["id"] for row in rows if row["revoked"]}


async def progress(fetch: Fetch, id_: UUID, attempt: int, worker: str, state: str, meta: bytes | None) -> bool:
    """See :meth:`~decant.tasks.ledger.Ledger.progress`."""
    return bool(await fetch(_PROGRESS, id_, attempt, worker, state, meta))


async def retry(
    fetch: Fetch,
    id_: UUID,
    attempt: int,
    worker: str,
    eta: datetime | None,
    error: bytes | None,
    payload: bytes | None,
) -> bool:
    """See :meth:`~decant.tasks.ledger.Ledger.retry`."""
    rows = await fetch(_RETRY, id_, attempt, worker, eta, error, payload)
    return bool(rows) and not rows[0]["revoked"]
