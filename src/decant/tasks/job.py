"""What a producer hands over, and what a worker gets: plain records, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

__all__ = ["Claimed", "Group", "Job", "Outcome"]


@dataclass(slots=True, kw_only=True)
class Job:
    """One call of a task, on its way into the ledger, Redis, or both.

    ``payload`` is the encoded :class:`~decant.tasks.codec.Envelope`; whoever only moves jobs never decodes it.
    ``priority`` is 0 to 9, where 9 is claimed first. ``max_attempts`` counts how often a worker may begin it before it
    is given up as lost with its workers; the retries of the task itself are counted in ``retries``.
    """

    id: UUID
    task: str
    queue: str
    payload: bytes
    priority: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    max_attempts: int = 3
    retries: int = 0
    durable: bool = True
    parent: UUID | None = None
    root: UUID | None = None
    group: UUID | None = None
    group_index: int | None = None
    summary: str = ""
    """Its arguments, at most 200 characters, for people who look for it."""
    request_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Group:
    """Jobs that belong together; with a ``callback``, a chord: it is inserted when the last one has succeeded.

    ``callback`` is an encoded signature with the id ``callback_id``.
    """

    id: UUID
    total: int
    callback: bytes | None = None
    callback_id: UUID | None = None


@dataclass(slots=True, kw_only=True)
class Claimed(Job):
    """A job that a worker has begun: attempt ``attempt`` is its own until the lease ends, and what it writes is fenced
    by it.
    """

    attempt: int = 1
    created: datetime | None = None
    rerun: bool = False
    """Whether a worker died with it before."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How an attempt ended.

    ``state`` is SUCCESS, FAILURE, REVOKED or REJECTED. ``children`` and ``groups`` are inserted in the same
    transaction: callbacks of links, the rest of a chain, what a chord waits for.
    """

    id: UUID
    attempt: int
    worker: str
    state: str
    result: bytes | None = None
    error: bytes | None = None
    children: list[Job] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    group: UUID | None = None
