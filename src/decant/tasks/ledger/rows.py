"""Rows as records, and statements that run on asyncpg's connection and in a session of SQLAlchemy's alike."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text

from ..job import Job

__all__ = ["COLUMNS", "Fetch", "Record", "in_session", "job_of", "record_of"]

Fetch = Callable[..., Awaitable[list[Any]]]
"""``await fetch(sql, *arguments)``: the rows, by name. Each ``$1`` in the statement is followed by its ``::type``."""


@dataclass(slots=True, kw_only=True)
class Record:
    """A row of ``decant_jobs``; ``payload``, ``progress``, ``result`` and ``error`` as they are encoded."""

    id: UUID
    task: str
    queue: str
    priority: int
    payload: bytes
    summary: str
    state: str
    eta: datetime | None
    expires: datetime | None
    attempt: int
    max_attempts: int
    retries: int
    deaths: int
    push_after: datetime
    lease_until: datetime | None
    worker: str | None
    revoked: bool
    custom_state: str | None
    progress: bytes | None
    result: bytes | None
    error: bytes | None
    parent: UUID | None
    root: UUID | None
    group_id: UUID | None
    group_index: int | None
    request_id: str | None
    created: datetime
    started: datetime | None
    finished: datetime | None

    @property
    def shown_state(self) -> str:
        """The state as users see it: what ``update_state`` said, while the job runs."""
        return self.custom_state if self.custom_state is not None and self.state == "STARTED" else self.state


COLUMNS: Final = ", ".join(field.name for field in fields(Record))
_OF_JOB: Final = tuple(field.name for field in fields(Job) if field.name not in {"durable", "group"})


def record_of(row: Any) -> Record:
    """A row that has all of :data:`COLUMNS`."""
    return Record(**dict(row))


def job_of(record: Record) -> Job:
    """The call that a record is of."""
    values = {name: getattr(record, name) for name in _OF_JOB}
    return Job(**values, group=record.group_id)


@cache
def _text(sql: str) -> TextClause:
    return text(re.sub(r"\$(\d+)::(\w+(?:\[\])?)", r"CAST(:p\1 AS \2)", sql))


def in_session(session: Any) -> Fetch:
    """Run statements in the transaction of an ``AsyncSession``, whichever its driver is."""

    async def fetch(sql: str, *arguments: Any) -> list[Any]:
        given = {f"p{number}": value for number, value in enumerate(arguments, 1)}
        result = await session.execute(_text(sql), given)
        return list(result.mappings()) if result.returns_rows else []

    return fetch


def ids_of(ids: Iterable[UUID]) -> list[UUID]:
    """Each once, in the order in which rows are locked."""
    return sorted(set(ids))
