"""The sweeper finds what is due by index, pushes it again, ends what is over; and old rows go in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from decant.tasks.codec import decode_error
from decant.tasks.errors import TaskRevokedError
from decant.tasks.job import Group, Job, Outcome
from decant.tasks.ledger import Ledger, Swept
from decant.tasks.ledger.sweeping import AGAIN_S
from tests.ledgers import new_ledger


def make_job(**more: Any) -> Job:
    return Job(**{"id": uuid4(), "task": "mail.send", "queue": "default", "payload": b"x", **more})


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def execute(ledger: Ledger, statement: str, *arguments: Any) -> None:
    async with ledger.connection() as connection:
        await connection.execute(statement, *arguments)


async def due_in(ledger: Ledger, id_: UUID) -> float:
    return ((await ledger.read([id_]))[id_].push_after - datetime.now(UTC)).total_seconds()


def pushed(swept: Swept) -> set[UUID]:
    return {job.id for job in swept.push}


async def test_what_waits_is_pushed_again_when_its_time_has_come(ledger: Ledger) -> None:
    fresh, old = make_job(), make_job(priority=4, summary="1")
    await ledger.insert([fresh, old])
    assert await ledger.sweep() == Swept()
    await execute(ledger, "UPDATE decant_jobs SET push_after = now() WHERE id = $1", old.id)
    swept = await ledger.sweep()
    assert [(job.id, job.task, job.queue, job.priority) for job in swept.push] == [(old.id, "mail.send", "default", 4)]
    assert AGAIN_S - 5 < await due_in(ledger, old.id) <= AGAIN_S + 1
    assert await ledger.sweep() == Swept()


async def test_what_is_due_later_is_pushed_when_it_is_due(ledger: Ledger) -> None:
    later = make_job(eta=soon(3600))
    await ledger.insert([later])
    assert 3590 < await due_in(ledger, later.id) <= 3601


async def test_what_has_expired_ends_when_it_does(ledger: Ledger) -> None:
    group = Group(id=uuid4(), total=1, callback=b"x", callback_id=uuid4())
    ledger.on_group_done = lambda group, results: make_job()
    over = make_job(expires=soon(-1), group=group.id, group_index=0)
    await ledger.insert([over], [group])
    swept = await ledger.sweep()
    assert [record.id for record in swept.expired] == [over.id]
    assert swept.push == []
    assert swept.ended == [group.callback_id]
    record = (await ledger.read([over.id]))[over.id]
    assert record.state == "REVOKED"
    assert record.error is not None
    assert isinstance(decode_error(record.error).exception, TaskRevokedError)
    not_yet = make_job(expires=soon(5))
    await ledger.insert([not_yet])
    assert (await ledger.read([not_yet.id]))[not_yet.id].push_after == not_yet.expires


async def test_a_dead_workers_jobs_wait_again(ledger: Ledger) -> None:
    dead, alive = make_job(), make_job()
    await ledger.insert([dead, alive])
    await ledger.claim(dead.id, "w1", 10)
    await ledger.claim(alive.id, "w2", 10)
    await execute(ledger, "UPDATE decant_jobs SET lease_until = now() - interval '1 s' WHERE worker = 'w1'")
    assert pushed(await ledger.sweep()) == {dead.id}
    again = await ledger.claim(dead.id, "w2", 10)
    assert again is not None
    assert (again.attempt, again.rerun) == (2, True)
    assert not await ledger.finish(Outcome(id=dead.id, attempt=1, worker="w1", state="SUCCESS"))


async def test_after_a_flush_everything_that_waits_is_pushed_once_in_batches(ledger: Ledger) -> None:
    jobs = [make_job(expires=soon(25)) for _ in range(20)] + [make_job() for _ in range(30)]
    later, runs = make_job(eta=soon(3600)), make_job()
    await ledger.insert([*jobs, later, runs])
    await ledger.claim(runs.id, "w1", 10)
    swept = [await ledger.sweep(True, 15)]
    while swept[-1].more:
        swept.append(await ledger.sweep(len(swept) < 3, 15))  # whether it is said again makes no difference
    ids = [job.id for one in swept for job in one.push]
    assert sorted(ids) == sorted(job.id for job in jobs)
    assert [len(one.push) for one in swept] == [15, 15, 15, 5]
    assert await ledger.sweep() == Swept()
    assert len((await ledger.sweep(True)).push) == 50, "another flush is another round"


async def test_one_worker_sweeps_at_a_time(ledger: Ledger, ledger_url: str) -> None:
    await ledger.insert([make_job(expires=soon(-1)) for _ in range(50)])
    others = [Ledger(ledger_url) for _ in range(3)]
    swept = await asyncio.gather(*(each.sweep() for each in (ledger, *others)))
    for other in others:
        await other.aclose()
    assert sum(len(one.expired) for one in swept) == 50
    assert {len(one.expired) for one in swept} == {0, 50}


async def test_a_sweep_does_not_wait_for_what_is_being_begun(ledger: Ledger) -> None:
    job = make_job()
    await ledger.insert([job])
    await execute(ledger, "UPDATE decant_jobs SET push_after = now()")
    async with ledger.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM decant_jobs FOR UPDATE")
        async with asyncio.timeout(5):
            assert (await ledger.sweep()).push == []


async def test_old_rows_go_in_batches_but_not_what_a_chord_needs(ledger: Ledger) -> None:
    chord, over = Group(id=uuid4(), total=2, callback=b"x", callback_id=uuid4()), Group(id=uuid4(), total=1)
    needed, done, waits = make_job(group=chord.id), make_job(group=over.id), make_job()
    jobs = [make_job() for _ in range(25)]
    await ledger.insert([needed, done, waits, *jobs], [chord, over])
    for job in (needed, done, *jobs):
        await ledger.claim(job.id, "w", 10)
        await ledger.finish(Outcome(id=job.id, attempt=1, worker="w", state="FAILURE", error=b"e"))
    assert await ledger.prune(soon(-60), 10) == 0
    await execute(ledger, "UPDATE decant_jobs SET finished = now() - interval '1 h' WHERE finished IS NOT NULL")
    await execute(ledger, "UPDATE decant_groups SET created = now() - interval '1 h'")
    assert await ledger.prune(soon(-60), 10) == 26
    assert set(await ledger.read([needed.id, done.id, waits.id, jobs[0].id])) == {needed.id, waits.id}
    async with ledger.connection() as connection:
        assert [row["id"] for row in await connection.fetch("SELECT id FROM decant_groups")] == [chord.id]
        assert await connection.fetchval("SELECT count(*) FROM decant_attempts") == 1


@pytest.fixture
async def new(servers: Any) -> AsyncIterator[Ledger]:
    """A ledger whose tables were never filled, so that nothing is known of their columns."""
    with new_ledger(servers) as url:
        made = Ledger(url)
        yield made
        await made.aclose()


async def test_statements_use_indexes_though_they_were_prepared_on_an_empty_table(new: Ledger) -> None:
    """By the plans that a connection keeps: of each statement, prepared and run often, then again on many rows."""
    from decant.tasks.ledger import claiming, finishing, reading, sweeping

    ids = [uuid4() for _ in range(3)]
    given = (ids, [1, 1, 1])
    statements: list[tuple[str, tuple[Any, ...]]] = [
        (claiming._CLAIM, (ids, ["w"] * 3, [10.0] * 3)),
        (claiming._RENEW, (*given, "w", 10.0)),
        (claiming._GIVE_BACK, (*given, "w")),
        (finishing._FINISH, (*given, ["w"] * 3, ["SUCCESS"] * 3, [None] * 3, [None] * 3)),
        (reading._READ, (ids,)),
        (reading._REVOKE, (ids, False, b"")),
        (sweeping._DUE, (None,)),
        (sweeping._DEAD, (10,)),
        (sweeping._WAITING, (10, None)),
        (sweeping._PRUNE, (soon(-60), 10)),
    ]
    async with new.connection() as connection:
        prepared = [(await connection.prepare(statement), arguments) for statement, arguments in statements]
        for statement, arguments in prepared * 6:  # after five, PostgreSQL may keep one plan for all arguments
            await statement.fetch(*arguments)
        await connection.execute(
            "INSERT INTO decant_jobs (id, task, queue, payload, state, finished, push_after, lease_until)"
            " SELECT gen_random_uuid(), 't', 'q', '', CASE n % 3 WHEN 0 THEN 'PENDING' WHEN 1 THEN 'STARTED'"
            " ELSE 'SUCCESS' END, CASE n % 3 WHEN 2 THEN now() - interval '1 h' END, now() - interval '1 h',"
            " CASE n % 3 WHEN 1 THEN now() - interval '1 h' END FROM generate_series(1, 20000) AS n"
        )
        for statement, arguments in prepared:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            before = await connection.fetchrow(_READ_ROWS)
            await statement.fetch(*arguments)
            await connection.execute("SELECT pg_stat_force_next_flush()")
            after = await connection.fetchrow(_READ_ROWS)
            read = after["seq"] - before["seq"], after["idx"] - before["idx"]
            assert read[0] == 0, statement.get_query()
            assert read[1] < 100, statement.get_query()


_READ_ROWS = """
SELECT seq_tup_read AS seq,
  (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'decant_jobs')::int AS idx
FROM pg_stat_user_tables WHERE relname = 'decant_jobs'
"""
