"""Attempts end: fenced by attempt and worker, with what follows from it in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from ..job import Group, Job, Outcome
from ..states import FAILURE, REJECTED, REVOKED, SUCCESS
from .grouping import Hooks, settle
from .inserting import insert
from .rows import Fetch

__all__ = ["FAILED_STATES", "Finished", "finish", "finish_calls"]

FAILED_STATES: Final = frozenset({FAILURE, REVOKED, REJECTED})
"""What a chord does not survive in its header."""


@dataclass(slots=True, kw_only=True)
class Finished:
    """What became of an outcome. Its truth value is :attr:`ok`."""

    ok: bool
    """Whether it was written; ``False``: the attempt was not the worker's any more."""
    to_push: list[Job] = field(default_factory=list)
    """Its children, and the callback of its chord."""
    ended: list[UUID] = field(default_factory=list)
    """Jobs that ended with it without being run: callbacks of chords that failed, as FAILURE."""

    def __bool__(self) -> bool:
        return self.ok


# "again": this very attempt has written the same end, and its answer was lost with the connection.
_FINISH: Final = """
WITH held AS (
  SELECT j.id, j.attempt, j.worker, j.started, j.state <> 'STARTED' AS again, g.state, g.result, g.error
  FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::bytea[], $6::bytea[])
    AS g(id, attempt, worker, state, result, error)
  JOIN decant_jobs j ON j.id = g.id AND j.attempt = g.attempt AND j.worker = g.worker
  WHERE j.id = ANY($1::uuid[]) AND (j.state = 'STARTED' OR j.state = g.state)
  ORDER BY j.id FOR UPDATE OF j
), noted AS (
  INSERT INTO decant_attempts (job_id, attempt, worker, state, error, started)
  SELECT h.id, h.attempt, h.worker, h.state, h.error, h.started FROM held h WHERE h.state = 'FAILURE' AND NOT h.again
), ended AS (
  UPDATE decant_jobs j SET state = h.state, result = h.result, error = h.error, finished = now(), lease_until = NULL,
    custom_state = NULL
  FROM held h WHERE j.id = h.id AND j.id = ANY($1::uuid[]) AND NOT h.again
)
SELECT h.id, h.attempt, h.worker, h.again FROM held h
"""
_Key = tuple[UUID, int, str]


def _key(outcome: Outcome) -> _Key:
    return outcome.id, outcome.attempt, outcome.worker


async def finish(fetch: Fetch, outcomes: Sequence[Outcome], hooks: Hooks) -> list[Finished]:
    """End attempts, insert their children and count their groups down, in the transaction of ``fetch``."""
    given = {_key(outcome): outcome for outcome in reversed(outcomes)}
    ordered = [given[key] for key in sorted(given)]
    rows = await fetch(
        _FINISH,
        [outcome.id for outcome in ordered],
        [outcome.attempt for outcome in ordered],
        [outcome.worker for outcome in ordered],
        [outcome.state for outcome in ordered],
        [outcome.result for outcome in ordered],
        [outcome.error for outcome in ordered],
    )
    again = {(row["id"], row["attempt"], row["worker"]): row["again"] for row in rows}
    finished = [
        Finished(ok=_key(outcome) in again, to_push=[*outcome.children] if _key(outcome) in again else [])
        for outcome in outcomes
    ]
    await _follow(
        fetch,
        [given[key] for key in again],
        [given[key] for key, was in again.items() if not was],
        hooks,
        finished,
        outcomes,
    )
    return finished


async def _follow(
    fetch: Fetch,
    written: list[Outcome],
    new: list[Outcome],
    hooks: Hooks,
    finished: list[Finished],
    outcomes: Sequence[Outcome],
) -> None:
    children = [child for outcome in written for child in outcome.children]
    groups: list[Group] = [group for outcome in written for group in outcome.groups]
    if children or groups:
        await insert(fetch, children, groups)
    ended = [outcome for outcome in new if outcome.group is not None]
    found = await settle(
        fetch,
        [outcome.group for outcome in ended if outcome.group is not None and outcome.state == SUCCESS],
        [outcome.group for outcome in ended if outcome.group is not None and outcome.state in FAILED_STATES],
        hooks,
    )
    if found.inserted or found.ended:  # any of those that ended may tell: the last one of its group, say
        tells = next(
            done for outcome, done in zip(outcomes, finished, strict=True) if done and outcome.group is not None
        )
        tells.to_push += [job for _, job in found.inserted]
        tells.ended += found.ended


def _is_plain(outcome: Outcome) -> bool:
    return not outcome.children and not outcome.groups and outcome.group is None


async def finish_calls(connection: Any, outcomes: list[Outcome], hooks: Hooks) -> list[Finished]:
    """End attempts in one transaction: one statement, if nothing follows from any of them."""
    if all(map(_is_plain, outcomes)):
        return await finish(connection.fetch, outcomes, hooks)
    async with connection.transaction():
        return await finish(connection.fetch, outcomes, hooks)
