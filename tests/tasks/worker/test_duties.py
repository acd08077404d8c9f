"""What a worker does beside its jobs, over a real ledger: leases, sweeping, statistics, the heartbeat."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from arq.connections import ArqRedis

from decant.errors import DatabaseUnavailable
from decant.tasks.events import Recorder
from decant.tasks.job import Claimed, Job
from decant.tasks.ledger import Ledger
from decant.tasks.worker.claims import Claim, Ending
from decant.tasks.worker.heartbeat import Heartbeat, LoopLag
from decant.tasks.worker.leases import Leases
from decant.tasks.worker.loops import Loops
from decant.tasks.worker.minutes import Minutes
from decant.tasks.worker.pausing import Pause
from tests.tasks.worker.toys import claims_of, connected, put, until


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    async with connected(redis_url) as made:
        yield made


class Runs:
    """Jobs that "run" here: claimed in the ledger, and stopped by whoever says so."""

    def __init__(self, ledger: Ledger, redis: ArqRedis) -> None:
        self.ledger = ledger
        self.active: dict[UUID, Any] = {}
        self.claimed: list[Claim] = []
        self.stopped: list[tuple[UUID, str]] = []
        self.leases = Leases(
            ledger,
            claims_of(redis, "w1"),
            "w1",
            1.0,
            active=lambda: list(self.active.values()),
            claimed=lambda: self.claimed,
            stop=self.stop,
        )

    async def stop(self, id_: UUID, reason: str) -> None:
        self.stopped.append((id_, reason))

    async def begin(self, *, durable: bool = True) -> Claimed:
        id_ = uuid4()
        job: Claimed | None = Claimed(id=id_, task="t", queue="q", payload=b"", durable=durable)
        if durable:
            await self.ledger.insert([Job(id=id_, task="t", queue="q", payload=b"")])
            job = await self.ledger.claim(id_, "w1", 1.0)
        assert job is not None
        self.active[id_] = SimpleNamespace(id=id_, attempt=job.attempt, job=job, started=time.time(), durable=durable)
        return job

    async def state(self, id_: UUID) -> Any:
        return (await self.ledger.read([id_]))[id_]


@pytest.fixture
def runs(ledger: Ledger, redis: ArqRedis) -> Runs:
    return Runs(ledger, redis)


async def test_leases_are_renewed_for_as_long_as_jobs_run(runs: Runs) -> None:
    job = await runs.begin()
    before = (await runs.state(job.id)).lease_until
    await asyncio.sleep(0.05)
    await runs.leases.renew()
    assert (await runs.state(job.id)).lease_until > before
    assert runs.stopped == []


async def test_a_revoked_job_is_stopped_once(runs: Runs) -> None:
    job = await runs.begin()
    await runs.ledger.revoke([job.id], terminate=True)
    await runs.leases.renew()
    await runs.leases.renew()
    assert runs.stopped == [(job.id, "revoked")]
    assert runs.leases.revoked == {job.id}
    runs.active.clear()
    await runs.leases.renew()
    assert runs.leases.revoked == set()


async def test_a_job_that_another_worker_has_is_stopped_at_once(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    job = await runs.begin()
    async with runs.ledger.connection() as connection:
        await connection.execute("UPDATE decant_jobs SET lease_until = now() - interval '1 s'")
    assert await runs.ledger.claim(job.id, "w2", 10.0) is not None
    await runs.leases.renew()
    assert runs.stopped == [(job.id, "lost")]
    assert "is no longer ours" in caplog.text


async def test_a_job_whose_end_was_just_written_is_left_alone(runs: Runs) -> None:
    """It is still among those that run while its end is told; only one that stays there is stopped."""
    job = await runs.begin()
    assert await runs.ledger.retry(job.id, job.attempt, "w1")
    await runs.leases.renew()
    assert runs.stopped == []
    await runs.leases.renew()
    assert runs.stopped == [(job.id, "lost")]


async def test_jobs_that_are_in_redis_alone_go_by_what_redis_says(runs: Runs, redis: ArqRedis) -> None:
    durable, alone = await runs.begin(), await runs.begin(durable=False)
    for job in (durable, alone):
        await redis.set(f"arq:in-progress:{job.id}", "w2", px=60_000)
        runs.claimed.append(Claim(str(job.id), "q", 0, None, 1))
    await runs.leases.renew()
    assert runs.stopped == [(alone.id, "lost")]


async def test_without_redis_the_ledgers_leases_are_renewed_all_the_same(runs: Runs, redis: ArqRedis) -> None:
    job = await runs.begin()
    runs.claimed.append(Claim(str(job.id), "q", 0, None, 1))
    await redis.set(f"arq:in-progress:{job.id}", "w1")
    await redis.zadd("q", {str(job.id): 1})
    await redis.set("other", 1)
    await redis.set("arq:in-progress:x", "w1")
    runs.claimed.append(Claim("x", "other", 0, None, 1))  # no sorted set: the script is refused
    before = (await runs.state(job.id)).lease_until
    with pytest.raises(Exception, match="WRONGTYPE"):
        await runs.leases.renew()
    assert (await runs.state(job.id)).lease_until > before


async def test_statistics_add_up_by_minute_and_task(ledger: Ledger) -> None:
    minutes = Minutes(ledger, "w1")
    at = time.time() // 60 * 60
    for kind, fields in (
        ("task-started", {"wait": 0.5}),
        ("task-succeeded", {"runtime": 2.0}),
        ("task-failed", {"runtime": 1.0}),
        ("task-retried", {"runtime": 0.5}),
        ("worker-heartbeat", {}),
    ):
        minutes.note({"type": kind, "time": at + 1, "task": "t", **fields})
    await minutes.write()
    minutes.note({"type": "task-succeeded", "time": at + 2, "task": "t", "runtime": 4.0})
    minutes.note({"type": "task-succeeded", "time": at + 61, "task": "t"})
    await minutes.write()
    await minutes.write()
    async with ledger.connection() as connection:
        rows = [dict(row) for row in await connection.fetch("SELECT * FROM decant_stats ORDER BY minute")]
    first, second = rows
    assert (first["succeeded"], first["failed"], first["retried"]) == (2, 1, 1)
    assert (first["run_s"], first["run_max_s"], first["wait_s"]) == (7.5, 4.0, 0.5)
    assert (first["task"], first["worker"], second["succeeded"]) == ("t", "w1", 1)
    assert minutes.totals == {"succeeded": 3, "failed": 1, "retried": 1}


async def test_statistics_wait_for_a_database_that_is_away(ledger: Ledger) -> None:
    away = Minutes(Ledger("postgresql://nobody:x@127.0.0.1:1/none?sslmode=disable"), "w1")
    away.note({"type": "task-succeeded", "time": 60.0, "task": "t", "runtime": 1.0})
    with pytest.raises(DatabaseUnavailable):
        await away.write()
    away.note({"type": "task-succeeded", "time": 60.0, "task": "t", "runtime": 3.0})
    away._ledger = ledger
    await away.write()
    async with ledger.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM decant_stats")
    assert (row["succeeded"], row["run_s"], row["run_max_s"]) == (2, 4.0, 3.0)


async def test_the_heartbeat_ends_by_itself_and_says_what_is_asked_for(redis: ArqRedis) -> None:
    described = {"queues": {"a": 1}, "concurrency": 3, "active": [{}] * 500, "paused": False}
    beat = Heartbeat(redis, "beat", "w1", "one", lambda: dict(described))
    await beat.beat()
    told = json.loads(await redis.get("beat"))
    assert set(told) >= {"id", "host", "pid", "queues", "rss_bytes", "loop_lag_s", "started", "time", "version"}
    assert len(told["active"]) == 200
    assert told["rss_bytes"] > 1_000_000
    assert 5 < await redis.ttl("beat") <= 10
    await beat.forget()
    assert await redis.exists("beat") == 0


async def test_the_lag_of_the_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.tasks.worker.heartbeat._SAMPLE_S", 0.1)
    lag = LoopLag()
    lag.start()
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:  # holds the loop up
        pass
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lag.stop()
    assert lag.take() > 0.15
    assert lag.take() == 0.0


async def test_a_loop_that_fails_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    async def step() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("a bug")
        if calls == 2:
            raise DatabaseUnavailable("away")

    loops = Loops()
    loops.every(0.01, step, "stepping")
    with caplog.at_level(logging.WARNING):
        await until(lambda: calls > 4, 30)
    await loops.aclose()
    after = calls
    await asyncio.sleep(0.05)
    assert calls == after
    assert "KeyError: 'a bug'" in caplog.text
    assert "stepping failed, next attempt in" in caplog.text


async def test_pauses_grow_to_a_limit_and_are_short_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("decant.tasks.worker.pausing.asyncio", SimpleNamespace(sleep=sleep))  # and nobody else's
    pause = Pause("it failed", level=logging.DEBUG)
    for _ in range(8):
        await pause.wait(OSError())
    assert 0.37 <= slept[0] <= 0.63
    assert all(earlier < 7 or 7.5 <= later <= 12.5 for earlier, later in itertools.pairwise(slept))
    pause.over()
    assert pause.delay_s == 10.0  # it has worked for a moment only
    now = time.monotonic()
    monkeypatch.setattr("decant.tasks.worker.pausing.time", SimpleNamespace(monotonic=lambda: now + 60))
    pause.over()
    assert pause.delay_s == 0.5


async def test_a_recorder_feeds_the_statistics(ledger: Ledger, redis: ArqRedis) -> None:
    recorder, minutes = Recorder(redis, "events", "w1"), Minutes(ledger, "w1")
    recorder.listen(minutes.note)
    recorder.record("task-succeeded", id="1", task="t", runtime=0.1)
    assert minutes.totals["succeeded"] == 1


async def test_jobs_that_have_ended_are_not_claimed_again(redis: ArqRedis) -> None:
    """A renewal that comes late must not bring back what has ended."""
    claims = claims_of(redis, "w1")
    await put(redis)
    [claim], _ = await claims.claim({"q": 1}, 10_000)
    claims.end(Ending(claim))
    await claims.written()
    await claims.renew([claim], 1000)
    assert await redis.keys("*") == []
    await claims.aclose()


async def test_a_loop_that_has_lost_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As happens where a library's ``wait_for`` drops one: the worker must end all the same."""
    monkeypatch.setattr("decant.tasks.worker.loops._AGAIN_S", 0.01)
    lost = 0

    async def step() -> None:
        nonlocal lost
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
            if lost > 1:
                raise

    loops = Loops()
    loops.every(0, step, "a step")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await loops.aclose()
    assert lost == 2
