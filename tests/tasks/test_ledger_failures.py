"""The ledger when things go wrong: the database away, callers cancelled, one bad job among good ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest

from decant.errors import DatabaseUnavailable, Overloaded
from decant.tasks.job import Group, Job, Outcome
from decant.tasks.ledger import Ledger
from decant.tasks.ledger.batching import MAX_BATCH, MAX_WAITING, Batcher
from tests.ports import kept_port
from tests.tasks.worker.toys import until


def make_job(**more: Any) -> Job:
    return Job(**{"id": uuid4(), "task": "mail.send", "queue": "default", "payload": b"x", **more})


@asynccontextmanager
async def locked(ledger: Ledger) -> AsyncIterator[None]:
    """Nobody else gets at the table meanwhile."""
    async with ledger.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE decant_jobs IN ACCESS EXCLUSIVE MODE")
        yield


async def waiting(ledger: Ledger) -> None:
    """Return once a statement waits for the lock."""
    async with ledger.connection() as connection, asyncio.timeout(10):
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'decant_jobs'::regclass"
        ):
            await asyncio.sleep(0.01)


async def test_a_database_that_is_away_is_told_soon() -> None:
    with kept_port() as reserved:  # nobody listens there
        ledger = Ledger(f"postgresql://me:secret@127.0.0.1:{reserved.getsockname()[1]}/x?sslmode=disable")
        for call in (
            lambda: ledger.insert([make_job()]),
            lambda: ledger.claim(uuid4(), "w", 10),
            lambda: ledger.read([uuid4()]),
            lambda: ledger.sweep(),
        ):
            with pytest.raises(DatabaseUnavailable, match="cannot be reached") as caught:
                async with asyncio.timeout(5):
                    await call()
            assert "secret" not in str(caught.value)
        await ledger.aclose()


async def test_a_database_that_does_not_answer_is_told_within_the_deadline(ledger: Ledger, ledger_url: str) -> None:
    hurried = Ledger(ledger_url, command_timeout_s=0.5)
    async with locked(ledger):
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await hurried.insert([make_job()])
        assert time.monotonic() - begun < 8, "it would be 10 s by itself"

    async def inserted() -> bool:
        job = make_job()
        with suppress(DatabaseUnavailable):  # a busy machine misses such a deadline now and then
            return await hurried.insert([job]) == {job.id}
        return False

    await until(inserted)
    await hurried.aclose()


async def test_dead_connections_are_replaced_without_a_word(ledger: Ledger, ledger_url: str) -> None:
    jobs = [make_job() for _ in range(4)]
    await ledger.insert(jobs)
    other = Ledger(ledger_url)
    for turn in range(4):
        await asyncio.gather(*(ledger.read([uuid4()]) for _ in range(8)))
        async with other.connection() as connection:
            killed = await connection.fetch(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'decant.tasks' AND pid <> pg_backend_pid() AND datname = current_database()"
            )
        assert len(killed) >= 2
        assert await ledger.claim(jobs[turn].id, "w", 10) is not None
        assert await ledger.finish(Outcome(id=jobs[turn].id, attempt=1, worker="w", state="SUCCESS"))
    await other.aclose()


async def test_one_caller_of_a_batch_is_cancelled_and_the_others_are_served(ledger: Ledger, ledger_url: str) -> None:
    other = Ledger(ledger_url)
    jobs = [make_job() for _ in range(6)]
    async with locked(ledger):
        first = [asyncio.create_task(other.insert([job])) for job in jobs[:3]]
        await waiting(ledger)
        second = [asyncio.create_task(other.insert([job])) for job in jobs[3:]]
        await asyncio.sleep(0)
        first[1].cancel()
        second[1].cancel()
        await asyncio.wait([first[1], second[1]])
    assert [await task for task in (first[0], first[2])] == [{jobs[0].id}, {jobs[2].id}]
    assert [await task for task in (second[0], second[2])] == [{jobs[3].id}, {jobs[5].id}]
    known = await other.read([job.id for job in jobs])
    assert jobs[4].id not in known, "it had not been sent"
    await other.aclose()


async def test_what_was_begun_for_a_cancelled_caller_is_given_back(ledger: Ledger, ledger_url: str) -> None:
    other, job = Ledger(ledger_url), make_job()
    await ledger.insert([job])
    async with locked(ledger):
        claim = asyncio.create_task(other.claim(job.id, "w1", 3600))
        await waiting(ledger)
        claim.cancel()
        await asyncio.wait([claim])
    await other.aclose()
    claimed = await ledger.claim(job.id, "w2", 10)
    assert claimed is not None
    assert (claimed.attempt, claimed.rerun) == (1, False)


async def test_one_bad_job_fails_its_own_caller_only(ledger: Ledger) -> None:
    bad = make_job(priority=100_000)
    unreadable = make_job(task="\ud800")
    good = [make_job() for _ in range(3)]
    found = await asyncio.gather(
        *(ledger.insert([job]) for job in (good[0], bad, good[1], unreadable, good[2])), return_exceptions=True
    )
    assert [isinstance(one, Exception) for one in found] == [False, True, False, True, False]
    assert set(await ledger.read([job.id for job in (*good, bad)])) == {job.id for job in good}


async def test_text_from_outside_that_postgresql_refuses_is_cleaned(ledger: Ledger) -> None:
    job = make_job(summary="a\0b\ud800", request_id="\0")
    await ledger.insert([job])
    record = (await ledger.read([job.id]))[job.id]
    assert (record.summary, record.request_id) == ("ab?", "")


async def test_a_large_group_is_inserted_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    group = Group(id=uuid4(), total=2 * MAX_BATCH + 1)
    jobs = [make_job(group=group.id, group_index=index) for index in range(group.total)]
    assert len(await ledger.insert(jobs, [group])) == group.total
    assert [record.id for record in await ledger.read_group(group.id)] == [job.id for job in jobs]
    other = [make_job() for _ in range(2 * MAX_BATCH)]
    other[-1].priority = 100_000
    with pytest.raises(Exception, match="out of range"):
        await ledger.insert(other)
    assert await ledger.read([job.id for job in other]) == {}


async def test_many_at_once_share_few_statements(ledger: Ledger) -> None:
    jobs = [make_job() for _ in range(2000)]
    assert all(await asyncio.gather(*(ledger.insert([job]) for job in jobs)))
    async with ledger.connection() as connection:
        transactions = await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM decant_jobs")
    assert transactions <= 2 * len(jobs) // MAX_BATCH


async def test_no_more_wait_than_may() -> None:
    async def never(items: list[int]) -> list[int]:
        await asyncio.Event().wait()
        return items

    batcher: Batcher[int, int] = Batcher(never, deadline_s=0.2)
    tasks = [asyncio.create_task(batcher.submit(1)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(1)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, DatabaseUnavailable) for one in found)
    await batcher.aclose()


def test_each_event_loop_has_connections_of_its_own(ledger_url: str) -> None:
    ledger, jobs = Ledger(ledger_url), [make_job(), make_job()]
    for job in jobs:
        assert asyncio.run(ledger.insert([job])) == {job.id}
    assert set(asyncio.run(ledger.read([job.id for job in jobs]))) == {job.id for job in jobs}


async def test_a_closed_ledger_opens_again(ledger: Ledger) -> None:
    job = make_job()
    await ledger.insert([job])
    await ledger.aclose()
    assert set(await ledger.read([job.id])) == {job.id}


@pytest.mark.parametrize("query", ["ssl=disable", "prepared_statement_cache_size=0&connect_timeout=3&options=-cjit=on"])
async def test_urls_of_sqlalchemy_and_of_libpq_are_understood(ledger_url: str, query: str) -> None:
    url = ledger_url.replace("postgresql://", "postgresql+asyncpg://") + ("&" if "?" in ledger_url else "?") + query
    ledger = Ledger(url)
    await ledger.start()
    await ledger.aclose()


async def test_between_transactions_of_pgbouncer_nothing_is_kept(ledger: Ledger, ledger_url: str) -> None:
    other = Ledger(ledger_url, pgbouncer=True)
    jobs = [make_job() for _ in range(3)]
    assert await other.insert(jobs, [Group(id=uuid4(), total=3)]) == {job.id for job in jobs}
    assert await other.claim(jobs[0].id, "w", 10) is not None
    child = make_job()
    outcome = Outcome(id=jobs[0].id, attempt=1, worker="w", state="SUCCESS", children=[child])
    assert (await other.finish(outcome)).to_push == [child]
    assert (await other.sweep(True)).push != []
    async with other.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
    await other.aclose()
