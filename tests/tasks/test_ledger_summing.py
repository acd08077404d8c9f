"""The figures of the charts are added up by longer times when they are old: the charts show the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from decant.monitor.history import PERIODS, busiest_tasks, history
from decant.tasks.ledger import Ledger, summing
from decant.tasks.worker.sweeper import Sweeper

NOW = datetime.now(UTC)
ROWS = """
INSERT INTO decant_stats (minute, task, worker, succeeded, failed, retried, run_s, run_max_s, wait_s)
SELECT date_trunc('minute', $1::timestamptz) - n * interval '1 minute', 'app.task' || k, 'web' || w,
  n % 5 + k, n % 3, n % 2, n % 7, n % 11, n % 13
FROM generate_series(0, 12000) AS n, generate_series(0, 1) AS k, generate_series(0, 1) AS w
"""


@pytest.fixture
async def week(ledger: Ledger) -> Ledger:
    """Two tasks that ran in each minute of more than eight days, on two workers."""
    async with ledger.connection() as connection:
        await connection.execute(ROWS, NOW)
    return ledger


async def charts(ledger: Ledger) -> list[Any]:
    async with ledger.connection() as connection:
        return [
            found
            for period in PERIODS.values()
            for found in (
                await history(connection, period, NOW),
                await history(connection, period, NOW, "web1"),
                await busiest_tasks(connection, period, NOW),
            )
        ]


async def count(ledger: Ledger, where: str = "true", *values: Any) -> int:
    async with ledger.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM decant_stats WHERE {where}", *values))


async def test_charts_are_the_same_of_a_tenth_of_the_rows(week: Ledger) -> None:
    before = await charts(week)
    await week.sum_up(NOW)
    assert await charts(week) == before
    assert await count(week) <= 4 * (122 + 62 + 57 + 171), "one more of each length, as the time of day has it"


async def test_what_comes_late_is_added_to_what_is_there(week: Ledger) -> None:
    """A worker that could not reach the database writes what it did hours ago, also at the start of an hour."""
    await week.sum_up(NOW)
    late = (NOW - timedelta(hours=40)).replace(minute=0, second=0, microsecond=0)
    async with week.connection() as connection:
        before = await history(connection, PERIODS["7d"], NOW)
        for minute in (late + timedelta(minutes=7), late + timedelta(minutes=8)):
            await connection.execute(
                "INSERT INTO decant_stats (minute, task, worker, succeeded, run_max_s)"
                " VALUES ($1, 'app.task1', 'web1', 10, 99)",
                minute,
            )
    rows = await count(week)
    await week.sum_up(NOW)
    assert await count(week) == rows - 2
    async with week.connection() as connection:
        after = await history(connection, PERIODS["7d"], NOW)
    assert after.total.succeeded == before.total.succeeded + 20
    assert after.total.run_max_s == 99


async def test_what_no_chart_shows_is_deleted(week: Ledger) -> None:
    await week.sum_up(NOW, 500)
    assert await count(week, "minute < $1", NOW - summing.KEPT) == 0
    assert await count(week, "minute < $1", NOW - summing.KEPT + timedelta(hours=2)) > 0


async def test_one_worker_at_a_time_adds_up(week: Ledger) -> None:
    """Who finds another one at it leaves it alone, and does not wait."""
    async with week.connection() as other, other.transaction():
        assert await other.fetchval("SELECT pg_try_advisory_xact_lock($1::bigint)", summing._LOCK_KEY)
        async with week.connection() as connection:
            assert await summing.sum_up(connection, NOW) is False
    async with week.connection() as connection:
        assert await summing.sum_up(connection, NOW) is True


async def test_a_worker_does_so_also_where_ended_jobs_are_kept_for_ever(week: Ledger) -> None:
    before = await count(week)
    await Sweeper(SimpleNamespace(ledger=week), None, None, None).prune()
    assert await count(week) < before / 10
