"""Chords: their callbacks are inserted once, with the last result; and fail with the first failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from decant.tasks.codec import decode_error
from decant.tasks.errors import ChordError
from decant.tasks.job import Group, Job, Outcome
from decant.tasks.ledger import Ledger


def make_job(**more: Any) -> Job:
    return Job(**{"id": uuid4(), "task": "add", "queue": "default", "payload": b"x", **more})


def as_job(group: Group, results: Sequence[bytes | None]) -> Job:
    return make_job(task="sum", payload=b"|".join(result or b"-" for result in results))


async def begin(ledger: Ledger, size: int, **more: Any) -> tuple[Group, list[Job]]:
    """A chord whose header a worker has begun."""
    group = Group(id=uuid4(), total=size, callback=b"sum", callback_id=uuid4())
    jobs = [make_job(group=group.id, group_index=index, **more) for index in range(size)]
    await ledger.insert(jobs, [group])
    await asyncio.gather(*(ledger.claim(job.id, "w1", 10) for job in jobs))
    return group, jobs


def success(job: Job, result: bytes | None = b"r", attempt: int = 1) -> Outcome:
    return Outcome(id=job.id, attempt=attempt, worker="w1", state="SUCCESS", result=result, group=job.group)


async def state_of(ledger: Ledger, id_: UUID | None) -> str:
    assert id_ is not None
    return (await ledger.read([id_]))[id_].state


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    ledger.on_group_done = as_job
    return ledger


async def test_the_last_result_brings_the_callback_with_all_results_in_order(ledger: Ledger) -> None:
    group, jobs = await begin(ledger, 3)
    assert not (await ledger.finish(success(jobs[2], b"2"))).to_push
    assert not (await ledger.finish(success(jobs[0], b"0"))).to_push
    finished = await ledger.finish(success(jobs[1], None))
    assert [job.id for job in finished.to_push] == [group.callback_id]
    claimed = await ledger.claim(finished.to_push[0].id, "w1", 10)
    assert claimed is not None
    assert claimed.payload == b"0|-|2"


async def test_a_whole_header_that_ends_at_once_brings_it_once(ledger: Ledger) -> None:
    chords = [await begin(ledger, 5) for _ in range(4)]
    done = await asyncio.gather(*(ledger.finish(success(job)) for _, jobs in chords for job in jobs))
    assert all(done)
    pushed = [job.id for finished in done for job in finished.to_push]
    assert sorted(pushed) == sorted(group.callback_id for group, _ in chords if group.callback_id)


async def test_a_job_that_runs_again_is_counted_once(ledger: Ledger) -> None:
    group, jobs = await begin(ledger, 2)
    assert await ledger.finish(success(jobs[0]))
    assert await ledger.finish(success(jobs[0]))
    assert not await ledger.finish(success(jobs[0], attempt=2))
    assert await ledger.retry(jobs[1].id, 1, "w1")
    assert await ledger.claim(jobs[1].id, "w1", 10) is not None
    assert not await ledger.finish(success(jobs[1], attempt=1))
    assert group.callback_id not in await ledger.read([group.callback_id or uuid4()])
    finished = await ledger.finish(success(jobs[1], attempt=2))
    assert [job.id for job in finished.to_push] == [group.callback_id]


@pytest.mark.parametrize("state", ["FAILURE", "REVOKED", "REJECTED"])
async def test_a_failure_ends_the_callback_at_once_and_once(ledger: Ledger, state: str) -> None:
    group, jobs = await begin(ledger, 3)
    bad = Outcome(id=jobs[1].id, attempt=1, worker="w1", state=state, error=b"e", group=group.id)
    finished = await ledger.finish(bad)
    assert finished.ended == [group.callback_id]
    assert finished.to_push == []
    assert group.callback_id is not None
    record = (await ledger.read([group.callback_id]))[group.callback_id]
    assert (record.state, record.task) == ("FAILURE", "sum")
    assert record.error is not None
    assert isinstance(decode_error(record.error).exception, ChordError)
    assert not (await ledger.finish(success(jobs[0]))).to_push
    other = Outcome(id=jobs[2].id, attempt=1, worker="w1", state=state, error=b"e", group=group.id)
    assert (await ledger.finish(other)).ended == []


async def test_revoking_a_waiting_job_fails_its_chord(ledger: Ledger) -> None:
    group = Group(id=uuid4(), total=1, callback=b"sum", callback_id=uuid4())
    job = make_job(group=group.id, group_index=0)
    await ledger.insert([job], [group])
    assert await ledger.revoke([job.id]) == {job.id: "REVOKED", group.callback_id: "FAILURE"}


async def test_a_header_that_dies_with_its_worker_fails_its_chord(ledger: Ledger) -> None:
    group, _ = await begin(ledger, 1, max_attempts=1)
    async with ledger.connection() as connection:
        await connection.execute("UPDATE decant_jobs SET lease_until = now() - interval '1 s'")
    swept = await ledger.sweep()
    assert swept.ended == [group.callback_id]
    assert await state_of(ledger, group.callback_id) == "FAILURE"


async def test_a_chord_within_a_chord_takes_the_outer_one_along(ledger: Ledger) -> None:
    outer = Group(id=uuid4(), total=1, callback=b"outer", callback_id=uuid4())
    await ledger.insert([], [outer])
    ledger.on_group_done = lambda group, results: make_job(group=None if group.id == outer.id else outer.id)
    group, jobs = await begin(ledger, 1)
    finished = await ledger.finish(Outcome(id=jobs[0].id, attempt=1, worker="w1", state="FAILURE", group=group.id))
    assert finished.ended == [group.callback_id, outer.callback_id]


async def test_what_is_to_run_because_of_a_failure_is_pushed(ledger: Ledger) -> None:
    errback = make_job(task="tell")
    ledger.on_group_failed = lambda group, error: [
        make_job(id=group.callback_id, payload=str(decode_error(error).exception).encode()),
        errback,
    ]
    group, jobs = await begin(ledger, 2)
    finished = await ledger.finish(Outcome(id=jobs[0].id, attempt=1, worker="w1", state="FAILURE", group=group.id))
    assert finished.to_push == [errback]
    assert await state_of(ledger, errback.id) == "PENDING"


async def test_a_callback_that_cannot_be_made_fails_alone(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    def broken(group: Group, results: Sequence[bytes | None]) -> Job:
        raise ValueError("no such task")

    ledger.on_group_done = broken
    group, jobs = await begin(ledger, 1)
    finished = await ledger.finish(success(jobs[0]))
    assert finished
    assert finished.ended == [group.callback_id]
    assert group.callback_id is not None
    record = (await ledger.read([group.callback_id]))[group.callback_id]
    assert record.error is not None
    assert decode_error(record.error).message == "no such task"
    assert "no such task" in caplog.text


async def test_a_header_that_is_run_again_by_hand_heals_its_chord(ledger: Ledger) -> None:
    group, jobs = await begin(ledger, 2)
    await ledger.finish(success(jobs[0], b"0"))
    await ledger.finish(Outcome(id=jobs[1].id, attempt=1, worker="w1", state="FAILURE", group=group.id))
    for job in jobs:  # one of them had succeeded: it counts once all the same
        assert await ledger.requeue(job.id) is not None
        assert await ledger.claim(job.id, "w1", 10) is not None
    assert not (await ledger.finish(success(jobs[0], b"1"))).to_push
    finished = await ledger.finish(success(jobs[1], b"2"))
    assert [job.id for job in finished.to_push] == [group.callback_id]
    claimed = await ledger.claim(finished.to_push[0].id, "w2", 10)
    assert claimed is not None
    assert claimed.payload == b"1|2"


async def test_a_group_without_a_callback_only_counts(ledger: Ledger) -> None:
    group = Group(id=uuid4(), total=1)
    job = make_job(group=group.id, group_index=0)
    await ledger.insert([job], [group])
    await ledger.claim(job.id, "w1", 10)
    finished = await ledger.finish(success(job))
    assert finished
    assert finished.to_push == []


async def test_the_end_can_be_part_of_a_sessions_transaction(ledger: Ledger, ledger_url: str) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    group, jobs = await begin(ledger, 1)
    engine = create_async_engine(ledger_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with AsyncSession(engine) as session:
        assert await ledger.finish_in(session, success(jobs[0]))
        await session.rollback()
    assert await state_of(ledger, jobs[0].id) == "STARTED"
    async with AsyncSession(engine) as session:
        child = make_job()
        outcome = success(jobs[0])
        outcome.children.append(child)
        finished = await ledger.finish_in(session, outcome)
        assert [job.id for job in finished.to_push] == [child.id, group.callback_id]
        assert await state_of(ledger, jobs[0].id) == "STARTED"
        await session.commit()
    await engine.dispose()
    assert await state_of(ledger, jobs[0].id) == "SUCCESS"
    assert await state_of(ledger, group.callback_id) == "PENDING"
