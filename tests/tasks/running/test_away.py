"""PostgreSQL or Redis is away for a while: nothing is lost, nothing is counted that was not done."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from decant.errors import DatabaseUnavailable

from .conftest import Site

KILL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_connections_killed_at_the_end_of_a_job_do_not_cost_it(site: Site) -> None:
    @site.tasks.task
    async def work() -> str:
        await site.sql(KILL)
        return "done"

    job = await work.delay()
    await asyncio.gather(*(site.record(job) for _ in range(4)))  # so that several connections are open
    assert await site.run(job) is None
    assert await site.value(job) == "done"


async def test_a_database_that_is_away_at_the_end_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finish, tries = type(site.runtime.ledger).finish, []

    async def away(self: Any, outcome: Any) -> Any:
        tries.append(outcome)
        if len(tries) < 3:
            raise DatabaseUnavailable("it restarts")
        return await finish(self, outcome)

    @site.tasks.task
    async def work() -> str:
        return "done"

    job = await work.delay()
    monkeypatch.setattr(type(site.runtime.ledger), "finish", away)
    assert await site.run(job) is None
    assert len(tries) == 3
    assert await site.value(job) == "done"
    assert "waits: it restarts" in caplog.text


async def test_what_cannot_be_written_for_too_long_is_left_to_the_sweeper(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker goes on, hooks are told, and the job is run again when its lease has ended."""
    from decant.tasks.running import books

    after: list[Any] = []

    class Base(site.tasks.Task):  # type: ignore[name-defined, misc]
        abstract = True

        async def after_return(self, status: str, *args: Any) -> None:
            after.append(status)

    async def away(self: Any, outcome: Any) -> Any:
        raise DatabaseUnavailable("it is gone")

    @site.tasks.task(base=Base)
    async def work() -> str:
        return "done"

    job = await work.delay()
    with monkeypatch.context() as patch:
        patch.setattr(type(site.runtime.ledger), "finish", away)
        patch.setattr(books, "_INSIST_S", 0.5)
        assert await site.run(job) is None
    assert (await site.record(job)).state == "STARTED"
    assert "left to the sweeper" in caplog.text
    assert after == ["LOST"]
    await site.sql("UPDATE decant_jobs SET lease_until = now() - interval '1 s'")
    assert await site.run(job, "another") is None
    assert await site.value(job) == "done"


async def test_who_waits_for_the_database_stops_once_the_job_is_anothers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()

    async def away(self: Any, outcome: Any) -> Any:
        waiting.set()
        raise DatabaseUnavailable("it is gone")

    @site.tasks.task
    async def work() -> str:
        return "done"

    job = await work.delay()
    monkeypatch.setattr(type(site.runtime.ledger), "finish", away)
    running = asyncio.create_task(site.run(job))
    await asyncio.wait_for(waiting.wait(), 10)
    await site.running.stop(UUID(job.id), "lost")
    assert await asyncio.wait_for(running, 10) is None


async def test_a_database_that_is_away_at_the_claim_loses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(self: Any, *args: Any) -> Any:
        raise DatabaseUnavailable("it is gone")

    @site.tasks.task
    async def work() -> str:
        return "done"

    job = await work.delay()
    with monkeypatch.context() as patch:
        patch.setattr(type(site.runtime.ledger), "claim", away)
        again = await site.run(job)
    assert again is not None
    assert 1 <= again <= 5
    assert "is not lost" in caplog.text
    assert (await site.record(job)).attempt == 0
    assert await site.run(job) is None
    assert await site.value(job) == "done"


async def test_without_redis_a_durable_job_ends_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from decant.errors import RedisUnavailable

    async def away(*args: Any, **kwargs: Any) -> Any:
        raise RedisUnavailable("it is gone")

    @site.tasks.task
    async def add(x: int, y: int = 0) -> int:
        return x + y

    job = await add.apply_async((1,), link=add.s(2))
    monkeypatch.setattr(type(site.runtime.redis), "publish", away)
    monkeypatch.setattr(type(site.runtime.dispatcher), "push", away)
    assert await site.run(job) is None
    assert await site.value(job) == 1
    assert await site.sql("SELECT count(*) FROM decant_jobs WHERE state = 'PENDING'") == 1
