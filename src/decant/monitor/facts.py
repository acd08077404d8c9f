"""What the ledger says beside the pages of jobs: one job, how many wait, names, schedules. All of it is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

__all__ = [
    "COUNTED",
    "Count",
    "Job",
    "QueueCount",
    "count",
    "counts",
    "job",
    "names",
    "queue_counts",
    "waiting_ids",
]

COUNTED: Final = 20_000
"""Rows that are counted at most, per state."""
_SHOWN: Final = 100
_ATTEMPTS: Final = 200
_NAMES: Final = 200


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows; ``more``: at least that many."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"


@dataclass(frozen=True, slots=True)
class Job:
    """A row of ``decant_jobs`` and what belongs to it, each list cut after 100 (attempts 200) rows."""

    row: Any
    attempts: list[Any]
    children: list[Any]
    group: Any | None
    members: list[Any]


_RELATED: Final = "id, task, state, custom_state, summary, created, finished, group_index"
JOB: Final = "SELECT * FROM decant_jobs WHERE id = $1"
ATTEMPTS: Final = f"SELECT * FROM decant_attempts WHERE job_id = $1 ORDER BY id LIMIT {_ATTEMPTS}"  # noqa: S608
CHILDREN: Final = f"SELECT {_RELATED} FROM decant_jobs WHERE parent = $1 LIMIT {_SHOWN}"  # noqa: S608
MEMBERS: Final = f"SELECT {_RELATED} FROM decant_jobs WHERE group_id = $1 ORDER BY group_index LIMIT {_SHOWN}"  # noqa: S608
GROUP: Final = "SELECT id, total, remaining, failed, callback_id, created FROM decant_groups WHERE id = $1"


async def job(connection: Any, id: UUID) -> Job | None:  # noqa: A002
    """One job; ``None`` if the ledger does not have it."""
    row = await connection.fetchrow(JOB, id)
    if row is None:
        return None
    group = members = None
    if row["group_id"] is not None:
        group = await connection.fetchrow(GROUP, row["group_id"])
        members = await connection.fetch(MEMBERS, row["group_id"])
    return Job(
        row, await connection.fetch(ATTEMPTS, id), await connection.fetch(CHILDREN, id), group, list(members or ())
    )


_COUNT: Final = "SELECT count(*) FROM (SELECT 1 FROM decant_jobs WHERE {} LIMIT {}) AS counted"
WAITING: Final = _COUNT.format("state IN ('PENDING', 'RETRY')", COUNTED + 1)
RUNNING: Final = _COUNT.format("state = 'STARTED'", COUNTED + 1)
ALL: Final = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('decant_jobs')"


async def count(connection: Any, sql: str) -> Count:
    found = int(await connection.fetchval(sql) or 0)
    return Count(min(found, COUNTED), found > COUNTED)


async def counts(connection: Any) -> dict[str, Count]:
    """``waiting`` and ``running``, counted; ``all``: PostgreSQL's own estimate."""
    return {
        "waiting": await count(connection, WAITING),
        "running": await count(connection, RUNNING),
        "all": Count(int(await connection.fetchval(ALL) or 0)),
    }


# From one name to the next in the index, instead of through all rows.
NAMES: Final = """
WITH RECURSIVE name(name, at) AS (
    (SELECT {0}, 1 FROM decant_jobs ORDER BY {0} LIMIT 1)
    UNION ALL
    SELECT (SELECT {0} FROM decant_jobs WHERE {0} > name.name ORDER BY {0} LIMIT 1), at + 1
    FROM name WHERE name.name IS NOT NULL AND at < {1}
)
SELECT name FROM name WHERE name IS NOT NULL
"""


async def names(connection: Any, column: str) -> list[str]:
    """The values of ``task`` or ``queue`` in the ledger, the first 200 in alphabetical order."""
    assert column in ("task", "queue")
    return [row["name"] for row in await connection.fetch(NAMES.format(column, _NAMES))]


@dataclass(frozen=True, slots=True)
class QueueCount:
    """What waits in a queue, as the ledger has it: how many, and since when the oldest does."""

    waiting: Count
    oldest: datetime | None


QUEUES: Final = f"""
SELECT queue, sum(number)::bigint AS number, min(oldest) AS oldest, sum(seen)::bigint AS seen FROM (
    SELECT queue, count(*) AS number, min(greatest(created, eta)) AS oldest, sum(count(*)) OVER () AS seen
    FROM (SELECT queue, created, eta FROM decant_jobs WHERE state = 'PENDING'
          ORDER BY created, id LIMIT {COUNTED + 1}) AS pending GROUP BY queue
    UNION ALL
    SELECT queue, count(*), min(greatest(created, eta)), sum(count(*)) OVER ()
    FROM (SELECT queue, created, eta FROM decant_jobs WHERE state = 'RETRY'
          ORDER BY created, id LIMIT {COUNTED + 1}) AS again GROUP BY queue
) AS together GROUP BY queue ORDER BY queue
"""  # noqa: S608


async def queue_counts(connection: Any) -> dict[str, QueueCount]:
    """Queue → what waits there, among the 20,000 oldest jobs that wait."""
    rows = await connection.fetch(QUEUES)
    return {row["queue"]: QueueCount(Count(row["number"], row["seen"] > COUNTED), row["oldest"]) for row in rows}


PURGED: Final = f"""
SELECT id FROM (
    (SELECT id, queue, created FROM decant_jobs WHERE state = 'PENDING' ORDER BY created, id LIMIT {COUNTED})
    UNION ALL
    (SELECT id, queue, created FROM decant_jobs WHERE state = 'RETRY' ORDER BY created, id LIMIT {COUNTED})
) AS waiting WHERE queue = $1 AND created <= $2 LIMIT 1000
"""  # noqa: S608


async def waiting_ids(connection: Any, queue: str, until: datetime) -> list[UUID]:
    """At most 1,000 jobs that wait in a queue and were made before ``until``."""
    return [row["id"] for row in await connection.fetch(PURGED, queue, until)]
