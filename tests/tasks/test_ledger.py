"""The ledger: what is written is true, once, and only by whom it belongs to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from decant.tasks.codec import decode_error
from decant.tasks.errors import TaskRevokedError, WorkerLostError
from decant.tasks.job import Group, Job, Outcome
from decant.tasks.ledger import Ledger


def make_job(**more: Any) -> Job:
    return Job(**{"id": uuid4(), "task": "mail.send", "queue": "default", "payload": b"x", **more})


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def begun(ledger: Ledger, worker: str = "w1", **more: Any) -> Any:
    job = make_job(**more)
    await ledger.insert([job])
    claimed = await ledger.claim(job.id, worker, 10)
    assert claimed is not None
    return claimed


async def state_of(ledger: Ledger, id_: UUID) -> str:
    return (await ledger.read([id_]))[id_].state


async def test_a_job_comes_out_as_it_went_in(ledger: Ledger) -> None:
    job = make_job(
        priority=9,
        expires=soon(60),
        max_attempts=5,
        retries=2,
        parent=uuid4(),
        root=uuid4(),
        group=uuid4(),
        group_index=3,
        summary="1, 'ä'",
        request_id="r",
        payload=bytes(range(256)),
    )
    assert await ledger.insert([job]) == {job.id}
    claimed = await ledger.claim(job.id, "w1", 10)
    assert claimed is not None
    for name in Job.__slots__:
        assert getattr(claimed, name) == getattr(job, name), name
    assert (claimed.attempt, claimed.rerun) == (1, False)
    record = (await ledger.read([job.id]))[job.id]
    assert (record.state, record.worker, record.group_id) == ("STARTED", "w1", job.group)
    assert claimed.created == record.created


async def test_an_id_is_inserted_once(ledger: Ledger) -> None:
    old, new = make_job(), make_job()
    await ledger.insert([old])
    again = make_job(id=old.id, payload=b"other")
    assert await ledger.insert([again, new, make_job(id=new.id)]) == {new.id}
    assert (await ledger.read([old.id]))[old.id].payload == b"x"
    together = make_job()
    found = await asyncio.gather(ledger.insert([together]), ledger.insert([together]), ledger.insert([old]))
    assert sorted(map(len, found)) == [0, 0, 1]


async def test_only_what_waits_and_is_due_is_begun(ledger: Ledger) -> None:
    waits, later, revoked, ended = make_job(), make_job(eta=soon(60)), make_job(), make_job()
    await ledger.insert([waits, later, revoked, ended])
    await ledger.revoke([revoked.id])
    await ledger.claim(ended.id, "w0", 10)
    await ledger.finish(Outcome(id=ended.id, attempt=1, worker="w0", state="SUCCESS"))
    ids = [waits.id, later.id, revoked.id, ended.id, uuid4(), waits.id]
    claimed = await asyncio.gather(*(ledger.claim(id_, "w1", 10) for id_ in ids))
    assert [job is not None for job in claimed] == [True, False, False, False, False, False]
    assert await ledger.claim(waits.id, "w2", 10) is None


async def test_an_expired_job_is_begun_so_that_the_worker_ends_it(ledger: Ledger) -> None:
    job = await begun(ledger, expires=soon(-1))
    assert job.expires < datetime.now(UTC)


async def test_the_end_of_an_attempt_is_fenced(ledger: Ledger) -> None:
    job = await begun(ledger)
    for attempt, worker in ((2, "w1"), (1, "w2"), (0, "w1")):
        assert not await ledger.finish(Outcome(id=job.id, attempt=attempt, worker=worker, state="FAILURE"))
        assert not await ledger.retry(job.id, attempt, worker)
        assert not await ledger.progress(job.id, attempt, worker, "PROGRESS", b"1")
        assert await ledger.renew([(job.id, attempt)], worker, 10) == (set(), set())
        assert await ledger.give_back([(job.id, attempt)], worker) == []
    assert await ledger.finish(Outcome(id=job.id, attempt=1, worker="w1", state="SUCCESS", result=b"r"))
    record = (await ledger.read([job.id]))[job.id]
    assert (record.state, record.result, record.lease_until) == ("SUCCESS", b"r", None)
    assert record.finished is not None
    assert not await ledger.finish(Outcome(id=job.id, attempt=1, worker="w1", state="FAILURE"))


async def test_the_same_end_twice_is_as_good_as_once(ledger: Ledger) -> None:
    group, child = Group(id=uuid4(), total=2), make_job()
    job = make_job(group=group.id)
    await ledger.insert([job], [group])
    await ledger.claim(job.id, "w1", 10)
    outcome = Outcome(id=job.id, attempt=1, worker="w1", state="SUCCESS", children=[child], group=group.id)
    for finished in [
        await ledger.finish(outcome),
        *await asyncio.gather(ledger.finish(outcome), ledger.finish(outcome)),
    ]:
        assert finished
        assert finished.to_push == [child]
    async with ledger.connection() as connection:
        assert await connection.fetchval("SELECT remaining FROM decant_groups") == 1
    assert await state_of(ledger, child.id) == "PENDING"


async def test_what_follows_a_fenced_off_end_is_not_inserted(ledger: Ledger) -> None:
    job, child = await begun(ledger), make_job()
    finished = await ledger.finish(
        Outcome(
            id=job.id, attempt=7, worker="w1", state="SUCCESS", children=[child], groups=[Group(id=uuid4(), total=1)]
        )
    )
    assert not finished
    assert finished.to_push == []
    assert await ledger.read([child.id]) == {}
    async with ledger.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM decant_groups") == 0


async def test_a_retry_waits_for_its_time_and_shows_what_went_wrong(ledger: Ledger) -> None:
    job = await begun(ledger)
    eta = soon(3600)
    assert await ledger.retry(job.id, 1, "w1", eta=eta, error=b"e", payload=b"new")
    record = (await ledger.read([job.id]))[job.id]
    assert (record.state, record.retries, record.eta, record.error) == ("RETRY", 1, eta, b"e")
    assert (record.payload, record.worker, record.push_after) == (b"new", None, eta)
    assert await ledger.claim(job.id, "w2", 10) is None
    async with ledger.connection() as connection:
        row = await connection.fetchrow("SELECT attempt, worker, state, error FROM decant_attempts")
        assert tuple(row) == (1, "w1", "RETRY", b"e")
        await connection.execute("UPDATE decant_jobs SET eta = now()")
    claimed = await ledger.claim(job.id, "w2", 10)
    assert claimed is not None
    assert (claimed.attempt, claimed.retries, claimed.payload, claimed.rerun) == (2, 1, b"new", False)


async def test_what_is_given_back_was_never_begun(ledger: Ledger) -> None:
    one, other = await begun(ledger), await begun(ledger)
    given = await ledger.give_back([(one.id, 1), (other.id, 1)], "w1")
    assert {job.id for job in given} == {one.id, other.id}
    again = await ledger.claim(one.id, "w2", 10)
    assert again is not None
    assert (again.attempt, again.rerun) == (1, False)


async def test_a_lease_is_renewed_and_tells_of_a_revocation(ledger: Ledger) -> None:
    kept, stopped, lost = [await begun(ledger) for _ in range(3)]
    await ledger.finish(Outcome(id=lost.id, attempt=1, worker="w1", state="SUCCESS"))
    assert await ledger.revoke([stopped.id], terminate=True) == {stopped.id: "STARTED"}
    before = (await ledger.read([kept.id]))[kept.id].lease_until
    ours, revoked = await ledger.renew([(job.id, 1) for job in (kept, stopped, lost)], "w1", 60)
    assert (ours, revoked) == ({kept.id, stopped.id}, {stopped.id})
    after = (await ledger.read([kept.id]))[kept.id].lease_until
    assert before is not None
    assert after is not None
    assert after - before > timedelta(seconds=45)


async def test_progress_is_shown_as_the_state(ledger: Ledger) -> None:
    job = await begun(ledger)
    assert await ledger.progress(job.id, 1, "w1", "IMPORTING", b"meta")
    record = (await ledger.read([job.id]))[job.id]
    assert (record.state, record.shown_state, record.progress) == ("STARTED", "IMPORTING", b"meta")
    await ledger.finish(Outcome(id=job.id, attempt=1, worker="w1", state="SUCCESS"))
    assert (await ledger.read([job.id]))[job.id].shown_state == "SUCCESS"


async def test_revoking_ends_what_waits_and_only_what_waits(ledger: Ledger) -> None:
    waits, runs = make_job(), await begun(ledger)
    await ledger.insert([waits])
    assert await ledger.revoke([waits.id, runs.id, uuid4()]) == {waits.id: "REVOKED", runs.id: "STARTED"}
    record = (await ledger.read([waits.id]))[waits.id]
    assert record.error is not None
    assert isinstance(decode_error(record.error).exception, TaskRevokedError)
    assert (await ledger.read([runs.id]))[runs.id].revoked is False
    await ledger.finish(Outcome(id=runs.id, attempt=1, worker="w1", state="SUCCESS"))
    assert await ledger.revoke([runs.id], terminate=True) == {runs.id: "SUCCESS"}


async def test_what_was_asked_to_stop_is_not_run_again(ledger: Ledger) -> None:
    given, retried = await begun(ledger), await begun(ledger)
    await ledger.revoke([given.id, retried.id], terminate=True)
    assert await ledger.give_back([(given.id, 1)], "w1") == []
    assert not await ledger.retry(retried.id, 1, "w1")
    swept = await ledger.sweep()
    assert {record.id for record in swept.expired} == {given.id, retried.id}
    assert swept.push == []
    assert await state_of(ledger, given.id) == await state_of(ledger, retried.id) == "REVOKED"


async def test_an_ended_job_runs_again_under_its_id(ledger: Ledger) -> None:
    job = await begun(ledger, payload=b"args", expires=soon(60))
    assert await ledger.requeue(job.id) is None
    await ledger.finish(Outcome(id=job.id, attempt=1, worker="w1", state="FAILURE", error=b"e"))
    again = await ledger.requeue(job.id)
    assert again is not None
    assert (again.id, again.payload, again.expires) == (job.id, b"args", None)
    record = (await ledger.read([job.id]))[job.id]
    assert (record.state, record.attempt, record.error, record.finished) == ("PENDING", 0, None, None)
    assert await ledger.claim(job.id, "w2", 10) is not None
    assert await ledger.requeue(uuid4()) is None


async def test_what_has_ended_can_be_forgotten(ledger: Ledger) -> None:
    ended, runs = await begun(ledger), await begun(ledger)
    await ledger.finish(Outcome(id=ended.id, attempt=1, worker="w1", state="FAILURE", error=b"e"))
    await ledger.forget([ended.id, runs.id])
    assert set(await ledger.read([ended.id, runs.id])) == {runs.id}
    async with ledger.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM decant_attempts") == 0


async def test_children_and_groups_are_found(ledger: Ledger) -> None:
    parent, group = uuid4(), Group(id=uuid4(), total=3)
    jobs = [make_job(parent=parent, group=group.id, group_index=index) for index in range(3)]
    await ledger.insert([jobs[2], jobs[0], jobs[1]], [group])
    assert [record.id for record in await ledger.read_group(group.id)] == [job.id for job in jobs]
    assert {record.id for record in await ledger.children(parent)} == {job.id for job in jobs}


async def test_a_dead_workers_job_is_taken_over_by_whoever_claims_it(ledger: Ledger) -> None:
    job = await begun(ledger)
    async with ledger.connection() as connection:
        await connection.execute("UPDATE decant_jobs SET lease_until = now() - interval '1 s'")
    again = await ledger.claim(job.id, "w2", 10)
    assert again is not None
    assert (again.attempt, again.rerun) == (2, True)
    assert not await ledger.finish(Outcome(id=job.id, attempt=1, worker="w1", state="SUCCESS"))
    async with ledger.connection() as connection:
        assert await connection.fetchval("SELECT state FROM decant_attempts") == "LOST"


async def test_start_says_that_the_tables_are_missing(database_url: str) -> None:
    ledger = Ledger(database_url)
    with pytest.raises(Exception, match="decant_jobs"):
        await ledger.start()
    await ledger.aclose()


async def test_a_lost_job_fails_when_its_workers_died_often_enough(ledger: Ledger) -> None:
    job = await begun(ledger, max_attempts=2)
    for worker in ("w2", ""):
        async with ledger.connection() as connection:
            await connection.execute("UPDATE decant_jobs SET lease_until = now() - interval '1 s'")
        swept = await ledger.sweep()
        if worker:
            assert [pushed.id for pushed in swept.push] == [job.id]
            assert await ledger.claim(job.id, worker, 10) is not None
    assert [record.id for record in swept.lost] == [job.id]
    record = (await ledger.read([job.id]))[job.id]
    assert (record.state, record.deaths) == ("FAILURE", 2)
    assert record.error is not None
    assert isinstance(decode_error(record.error).exception, WorkerLostError)
