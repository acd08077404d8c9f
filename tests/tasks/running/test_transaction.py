"""``transaction=True``: effects and end are one, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from decant import wait
from decant.tasks.errors import InvalidTaskError

from .conftest import Site
from .test_outcomes import started


async def insert(site: Site, value: str) -> None:
    await site.db.session.execute(text("INSERT INTO note (text) VALUES (:t)"), {"t": value})


async def notes(site: Site) -> int:
    return int(await site.sql("SELECT count(*) FROM note"))


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_effects_and_end_are_committed_at_once(site: Site, kind: str) -> None:
    seen: list[Any] = []

    async def write(value: str) -> str:
        await insert(site, value)
        seen.append(await notes(site))
        return value

    def write_in_thread(value: str) -> str:
        wait(insert(site, value))
        seen.append(wait(notes(site)))
        return value

    task = site.tasks.task(transaction=True)(write if kind == "async" else write_in_thread)
    job = await task.delay("once")
    assert (await site.done(job)).state == "SUCCESS"
    assert await site.value(job) == "once"
    assert (seen, await notes(site)) == ([0], 1)


async def test_run_twice_at_once_the_effects_are_there_once(site: Site) -> None:
    """The first worker is taken for dead, and lives: what it wrote is rolled back."""
    both = asyncio.Barrier(2)

    @site.tasks.task(transaction=True, bind=True)
    async def write(self: Any) -> int:
        await insert(site, f"attempt {self.request.attempt}")
        await both.wait()
        return int(self.request.attempt)

    job = await write.delay()
    first = await started(site, job)
    await site.sql("UPDATE decant_jobs SET lease_until = now() - interval '1 s'")
    second = asyncio.create_task(site.run(job, "another"))
    await asyncio.wait([first, second])
    assert await notes(site) == 1
    assert await site.sql("SELECT text FROM note") == "attempt 2"
    assert await site.value(job) == 2


async def test_a_failure_or_a_retry_leaves_no_effects(site: Site) -> None:
    @site.tasks.task(transaction=True, bind=True, max_retries=1)
    async def write(self: Any) -> None:
        await insert(site, "never")
        self.retry(exc=OSError("away"), countdown=0)

    job = await write.delay()
    assert await site.run(job) == 0
    assert await notes(site) == 0
    assert await site.run(job) is None
    assert (await site.record(job)).state == "FAILURE"
    assert await notes(site) == 0


async def test_hooks_after_a_failure_have_a_session_that_works(site: Site) -> None:
    class Base(site.tasks.Task):  # type: ignore[name-defined, misc]
        abstract = True

        async def on_failure(self, *args: Any) -> None:
            await insert(site, "failed")
            await site.db.session.commit()

    @site.tasks.task(transaction=True, base=Base)
    async def write() -> None:
        await site.db.session.execute(text("SELECT 1 / 0"))

    await site.done(await write.delay())
    assert await site.sql("SELECT text FROM note") == "failed"


async def test_a_function_that_commits_by_itself_fails_and_says_why(site: Site) -> None:
    """Its savepoints are its own."""

    @site.tasks.task(transaction=True)
    async def write(commits: bool) -> None:
        async with site.db.session.begin_nested():
            await insert(site, "in a savepoint")
        if commits:
            await site.db.session.commit()

    job = await write.delay(False)
    assert (await site.done(job)).state == "SUCCESS"
    assert await notes(site) == 1
    job = await write.delay(True)
    assert (await site.done(job)).state == "FAILURE"
    error = await site.error(job)
    assert isinstance(error.exception, InvalidTaskError)
    assert "must not commit" in error.message
    assert await notes(site) == 1


async def test_a_function_that_gives_its_session_away_fails(site: Site) -> None:
    @site.tasks.task(transaction=True)
    async def write() -> None:
        await insert(site, "lost")
        await site.db.session.remove()

    job = await write.delay()
    assert (await site.done(job)).state == "FAILURE"
    assert "took db.session away" in (await site.error(job)).message
    assert await notes(site) == 0


async def test_what_fails_at_the_commit_is_the_jobs_failure(site: Site) -> None:
    await site.sql("ALTER TABLE note ADD CONSTRAINT u UNIQUE (text) DEFERRABLE INITIALLY DEFERRED")

    @site.tasks.task(transaction=True)
    async def write() -> None:
        await insert(site, "same")
        await insert(site, "same")

    job = await write.delay()
    assert (await site.done(job)).state == "FAILURE"
    assert "IntegrityError" in (await site.error(job)).type
    assert await notes(site) == 0


async def test_children_are_a_part_of_it(site: Site) -> None:
    """Those that the function asks for, and those that follow from its end."""

    @site.tasks.task
    async def add(x: int, y: int = 0) -> int:
        return x + y

    @site.tasks.task(transaction=True, bind=True)
    async def write(self: Any, fails: bool) -> int:
        await insert(site, "one")
        await add.delay(7)
        if fails:
            raise ValueError("no")
        return 1

    job = await write.apply_async((True,), link=add.s(1))
    assert (await site.done(job)).state == "FAILURE"
    assert await site.sql("SELECT count(*) FROM decant_jobs") == 1
    job = await write.apply_async((False,), link=add.s(1))
    assert (await site.done(job)).state == "SUCCESS"
    assert await site.sql("SELECT count(*) FROM decant_jobs WHERE task = $1 AND state = 'PENDING'", add.name) == 2


async def test_a_connection_that_dies_at_the_end_costs_neither_the_job_nor_its_effects(site: Site) -> None:
    """What was not committed is done again, without an attempt having been counted."""
    runs: list[int] = []

    @site.tasks.task(transaction=True)
    async def write() -> int:
        await insert(site, "once")
        runs.append(1)
        if len(runs) == 1:
            pid = (await site.db.session.execute(text("SELECT pg_backend_pid()"))).scalar()
            await site.sql("SELECT pg_terminate_backend($1)", pid)
        return len(runs)

    job = await write.delay()
    assert await site.run(job) == 1
    record = await site.record(job)
    assert (record.state, record.attempt) == ("PENDING", 0)
    assert await notes(site) == 0
    assert await site.run(job) is None
    assert (await site.value(job), await notes(site)) == (2, 1)


async def test_a_commit_whose_answer_was_lost_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from decant.database.session import AsyncSession
    from decant.errors import DatabaseUnavailable

    commit = AsyncSession.commit

    async def lost(self: Any) -> None:
        await commit(self)
        raise DatabaseUnavailable("the answer was lost")

    @site.tasks.task(transaction=True)
    async def write() -> str:
        await insert(site, "once")
        return "done"

    job = await write.delay()
    monkeypatch.setattr(AsyncSession, "commit", lost)
    assert await site.run(job) is None
    assert (await site.value(job), await notes(site)) == ("done", 1)


async def test_it_needs_a_durable_job_and_the_ledgers_database(
    make_site: Callable[..., Site], ledger_url: str, servers: Any
) -> None:
    other = make_site(TASKS_DATABASE_URL=ledger_url, database_url=servers.database_url)
    for site, options, why in (
        (make_site(), {"durable": False}, "durable"),
        (other, {}, "SQLALCHEMY_DATABASE_URI"),
    ):

        @site.tasks.task(transaction=True, **options)
        async def write() -> None: ...

        job = await write.delay()
        await site.run(job)
        error = await site.error(job)
        assert error.type.endswith("ConfigError")
        assert why in error.message


async def test_a_job_that_is_asked_for_before_anything_is_written_is_a_part_of_it_too(site: Site) -> None:
    @site.tasks.task
    async def child() -> None:
        """Nothing."""

    @site.tasks.task(transaction=True, bind=True, max_retries=1)
    async def ask(self: Any) -> str:
        job = await child.delay()
        if not self.request.retries:
            self.retry(countdown=0)
        return str(job.id)

    job = await ask.delay()
    await site.run(job)
    assert await site.sql("SELECT count(*) FROM decant_jobs") == 1
    await site.run(job)
    assert await site.sql("SELECT count(*) FROM decant_jobs") == 2
    assert str(await site.sql("SELECT id FROM decant_jobs WHERE parent IS NOT NULL")) == await site.value(job)
