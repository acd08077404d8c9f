"""``decant_stats`` stays small: what is old is added up by longer times than a minute, and what is very old is deleted.

Each of six workers that runs eight tasks all day writes 11,520 rows a day. A chart of a week needs 56 figures.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

__all__ = ["KEPT", "STEPS", "drop_old", "sum_up"]

STEPS: Final = (
    (timedelta(hours=25), timedelta(hours=1)),
    (timedelta(hours=7), timedelta(minutes=20)),
    (timedelta(hours=2), timedelta(minutes=5)),
)
"""What is older than the first is added up by the second, which divides the slots of the charts that go so far back."""
KEPT: Final = timedelta(days=8)
"""Charts show a week."""
_LOCK_KEY: Final = 0x6465_6361_6E74_5355  # "decantSU": one worker at a time
_NEXT: Final = """
SELECT date_bin($1::interval, minute, 'epoch'::timestamptz) FROM decant_stats
WHERE minute < date_bin($1::interval, $2::timestamptz, 'epoch'::timestamptz)
  AND minute <> date_bin($1::interval, minute, 'epoch'::timestamptz)
ORDER BY minute LIMIT 1
"""
# The row at the start itself stays, and the others are added to it.
_SUM: Final = """
WITH gone AS (
  DELETE FROM decant_stats WHERE minute > $1::timestamptz AND minute < $1::timestamptz + $2::interval RETURNING *
)
INSERT INTO decant_stats AS kept (minute, task, worker, succeeded, failed, retried, run_s, run_max_s, wait_s)
SELECT $1::timestamptz, task, worker, sum(succeeded), sum(failed), sum(retried), sum(run_s), max(run_max_s), sum(wait_s)
FROM gone GROUP BY task, worker ORDER BY task, worker
ON CONFLICT (minute, task, worker) DO UPDATE SET
    succeeded = kept.succeeded + excluded.succeeded,
    failed = kept.failed + excluded.failed,
    retried = kept.retried + excluded.retried,
    run_s = kept.run_s + excluded.run_s,
    run_max_s = greatest(kept.run_max_s, excluded.run_max_s),
    wait_s = kept.wait_s + excluded.wait_s
"""
_DROP: Final = """
WITH old AS (
  SELECT minute, task, worker FROM decant_stats WHERE minute < $1::timestamptz
  ORDER BY minute, task, worker LIMIT $2::int FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM decant_stats s USING old o
  WHERE s.minute = o.minute AND s.task = o.task AND s.worker = o.worker RETURNING 1
)
SELECT count(*) FROM gone
"""


async def sum_up(connection: Any, now: datetime) -> bool:
    """Add up the rows of one time that is due, in a transaction; whether there may be more.

    The longest times come first: they take the minutes that would be added up by a shorter one before.
    """
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1::bigint)", _LOCK_KEY):
            return False
        for age, step in STEPS:
            start = await connection.fetchval(_NEXT, step, now - age)
            if start is not None:
                await connection.execute(_SUM, start, step)
                return True
    return False


async def drop_old(connection: Any, now: datetime, batch: int) -> int:
    """Delete at most ``batch`` rows that are older than :data:`KEPT`; how many."""
    return int(await connection.fetchval(_DROP, now - KEPT, batch))
