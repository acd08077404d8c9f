"""The worker itself, over plain arq jobs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from arq import Retry, cron
from arq.connections import ArqRedis
from arq.jobs import Job
from arq.worker import func

from decant.errors import DatabaseUnavailable
from decant.tasks.worker import worker as worker_module
from decant.tasks.worker.claims import CONNECTION_ERRORS
from tests.tasks.worker.toys import claims_of, connected, decode, paused, put, until, working
from tests.valkey import Server, running


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    async with connected(redis_url) as made:
        yield made


@asynccontextmanager
async def own_server(folder: Path) -> AsyncIterator[Server]:
    manager = running(folder)
    server = await asyncio.to_thread(manager.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


class Record:
    """Runs jobs and notes when; ``block`` of the arguments waits for :attr:`go`."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.at: dict[str, float] = {}
        self.go = asyncio.Event()

    async def __call__(self, ctx: dict[str, Any], *args: Any) -> None:
        self.begun.append(args)
        self.at[ctx["job_id"]] = time.time()
        if "block" in args:
            await self.go.wait()
        self.ended.append(args)


async def runs(record: Record) -> Any:
    async def run(ctx: dict[str, Any], *args: Any) -> None:
        await record(ctx, *args)

    return run


@pytest.fixture
def looks_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker finds by its own looking only after a minute what it is not woken for."""
    monkeypatch.setattr(worker_module, "_FALLBACK_S", 60.0)


@pytest.mark.usefixtures("looks_seldom")
async def test_an_idle_worker_is_woken_by_a_publish(redis: ArqRedis) -> None:
    record = Record()
    async with working(redis, await runs(record)) as worker:
        for number in range(20):
            await until(lambda: not worker._more)
            id_ = await put(redis, number)
            await until(lambda: id_ in record.at)  # noqa: B023
        await worker.claims.written()
        assert await redis.keys("*") == []


async def test_without_a_publish_jobs_are_found_within_a_second(redis: ArqRedis) -> None:
    record = Record()
    async with working(redis, await runs(record)):
        await put(redis, "quiet", wake=False)
        await until(lambda: record.ended)


@pytest.mark.usefixtures("looks_seldom")
async def test_a_later_job_begins_when_it_is_due(redis: ArqRedis) -> None:
    record = Record()
    async with working(redis, await runs(record)):
        due = time.time() + 0.4
        id_ = await put(redis, "later", due_in_s=0.4)
        await until(lambda: record.ended)
        assert record.at[id_] >= due - 0.002


@pytest.mark.usefixtures("looks_seldom")
async def test_a_freed_slot_takes_the_next_job_at_once(redis: ArqRedis) -> None:
    """arq sleeps for its poll_delay there."""
    done = 0

    async def run(ctx: dict[str, Any]) -> None:
        nonlocal done
        done += 1

    for _ in range(300):
        await put(redis)
    async with working(redis, run, max_jobs=2):
        await until(lambda: done == 300, 30)


async def test_no_more_run_at_once_than_there_are_slots(redis: ArqRedis) -> None:
    record = Record()
    for number in range(5):
        await put(redis, number, "block")
    async with working(redis, await runs(record), max_jobs=3) as worker:
        await until(lambda: len(record.begun) == 3)
        await asyncio.sleep(0.1)
        assert len(record.begun) == 3
        worker.max_jobs = 4
        worker.wake()
        await until(lambda: len(record.begun) == 4)
        record.go.set()
        await until(lambda: len(record.ended) == 5)


async def test_long_jobs_do_not_starve_short_ones(redis: ArqRedis, redis_url: str) -> None:
    """110 that run and a queue_read_limit of 100: a stock worker saw a new job after 12 s."""
    record, other = Record(), Record()
    for _ in range(110):
        await put(redis, "block")
    async with working(redis, await runs(record), max_jobs=110), connected(redis_url) as second:
        await until(lambda: len(record.begun) == 110)
        async with working(second, await runs(other), worker="w2"):
            id_ = await put(redis, "short")
            await until(lambda: id_ in other.at)
        record.go.set()


async def test_a_paused_worker_claims_nothing(redis: ArqRedis) -> None:
    record = Record()
    async with working(redis, await runs(record)) as worker:
        await paused(worker)
        await put(redis, 1)
        await asyncio.sleep(0.2)
        assert record.begun == []
        worker.paused = False
        worker.wake()
        await until(lambda: record.ended)


@pytest.mark.usefixtures("looks_seldom")
async def test_retry_runs_it_again_as_late_as_it_says(redis: ArqRedis) -> None:
    tries: list[tuple[int, float]] = []

    async def run(ctx: dict[str, Any]) -> None:
        tries.append((ctx["job_try"], time.time()))
        if len(tries) < 3:
            raise Retry(defer=0.2)

    async with working(redis, run) as worker:
        await put(redis)
        await until(lambda: len(tries) == 3)
        await worker.claims.written()
    assert [number for number, _ in tries] == [1, 2, 3]
    assert all(later - earlier > 0.19 for (_, earlier), (_, later) in itertools.pairwise(tries))
    assert await redis.keys("*") == []


async def test_what_one_job_raises_ends_neither_the_worker_nor_other_jobs(
    redis: ArqRedis, caplog: pytest.LogCaptureFixture
) -> None:
    record = Record()

    async def run(ctx: dict[str, Any], *args: Any) -> None:
        if args == ("bad",):
            raise ZeroDivisionError("a bug")
        await record(ctx, *args)

    async with working(redis, run) as worker:
        await put(redis, "bad")
        await put(redis, "good")
        await until(lambda: record.ended)
        await until(lambda: not worker.tasks)
        await worker.claims.written()
    assert "ZeroDivisionError: a bug" in caplog.text
    assert await redis.keys("*") == []


async def test_a_job_waits_for_a_database_that_is_away(redis: ArqRedis) -> None:
    async def run(ctx: dict[str, Any]) -> None:
        raise DatabaseUnavailable("it is away")

    async with working(redis, run) as worker:
        before = time.time()
        id_ = await put(redis)
        await until(lambda: worker.jobs_retried == 1)
        await worker.claims.written()
        after = time.time()
        assert before + 1.99 <= await redis.zscore("q", id_) / 1000 <= after + 2


async def test_unreadable_and_missing_jobs_are_taken_out(redis: ArqRedis, caplog: pytest.LogCaptureFixture) -> None:
    record = Record()
    async with working(redis, await runs(record)) as worker:
        gone, broken = await put(redis, due_in_s=60), await put(redis, due_in_s=60)
        await redis.delete(f"arq:job:{gone}")
        await redis.set(f"arq:job:{broken}", b"\xc1")
        await redis.zadd("q", {gone: 1, broken: 1})
        worker.wake()
        await until(lambda: "cannot be read" in caplog.text and "no longer in Redis" in caplog.text)
        await worker.claims.written()
        await put(redis, "fine")
        await until(lambda: record.ended)
        await until(lambda: not worker.tasks)
        await worker.claims.written()
    assert await redis.keys("*") == []


async def test_a_cancelled_job_is_given_back_and_one_that_is_lost_too(redis: ArqRedis) -> None:
    record = Record()
    async with working(redis, await runs(record)) as worker:
        id_ = await put(redis, "block")
        await until(lambda: record.begun)
        await paused(worker)
        worker.tasks[id_].cancel()
        await until(lambda: not worker.tasks)
        await worker.claims.written()
    assert [claim.id for claim in (await claims_of(redis, "w2").claim({"q": 1}, 1000))[0]] == [id_]


async def test_plain_arq_functions_run_with_arqs_own_rules(redis: ArqRedis) -> None:
    """Results, tries, and what raises."""
    tries: list[int] = []

    async def add(ctx: dict[str, Any], a: int, b: int) -> int:
        tries.append(ctx["job_try"])
        if len(tries) == 1:
            raise Retry(defer=0.05)
        return a + b

    async def fail(ctx: dict[str, Any]) -> None:
        raise KeyError("no")

    record = Record()
    options = {"functions": [func(add, name="add", keep_result=60), func(fail, name="fail", keep_result=0)]}
    async with working(redis, await runs(record), **options) as worker:
        id_ = await put(redis, 2, 3, function="add")
        await put(redis, function="fail")
        await put(redis, function="unknown")
        assert await Job(id_, redis, "q", _deserializer=decode).result(timeout=10, poll_delay=0.05) == 5
        await until(lambda: worker.jobs_failed == 2)
        await until(lambda: not worker.tasks)
        await worker.claims.written()
    assert tries == [1, 2]
    assert await redis.zcard("q") == 0
    assert await redis.keys("arq:in-progress:*") == []


async def test_cron_jobs_run_once_a_tick(redis: ArqRedis) -> None:
    ticks: list[tuple[int, float]] = []

    async def tick(ctx: dict[str, Any]) -> None:
        ticks.append((int(ctx["job_id"].rpartition(":")[2]), time.time()))

    record = Record()
    each = cron(tick, second=set(range(60)), keep_result=0, unique=True)  # type: ignore[arg-type]
    async with working(redis, await runs(record), cron_jobs=[each]):
        await until(lambda: len(ticks) >= 3, 20)
    assert len({due_ms // 1000 for due_ms, _ in ticks}) == len(ticks)
    assert all(at >= due_ms / 1000 for due_ms, at in ticks)


async def test_burst_mode_ends_when_nothing_waits(redis: ArqRedis) -> None:
    record = Record()
    for number in range(30):
        await put(redis, number)
    async with working(redis, await runs(record), burst=True, max_jobs=4) as worker:
        await until(lambda: len(record.ended) == 30)
        await until(lambda: not worker.tasks)
    assert await redis.keys("*") == []


async def test_queues_are_served_by_weight(redis: ArqRedis) -> None:
    order: list[str] = []

    async def run(ctx: dict[str, Any], queue: str) -> None:
        order.append(queue)

    for queue in ("light", "heavy"):
        for _ in range(40):
            await put(redis, queue, queue=queue, wake=False)
    async with working(redis, run, queues={"heavy": 3, "light": 1}, max_jobs=1):
        await until(lambda: len(order) == 80)
    assert order[:40].count("heavy") in range(28, 33)
    assert set(order[60:]) == {"light"}  # and nobody waits for an empty queue


async def test_a_restart_of_redis_ends_neither_the_worker_nor_its_jobs(tmp_path: Path) -> None:
    record = Record()
    async with (
        own_server(tmp_path) as server,
        connected(server.url, 2.0) as redis,
        working(redis, await runs(record)) as worker,
    ):
        await put(redis, "block")
        await until(lambda: record.begun)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1.5)
        record.go.set()
        await until(lambda: record.ended)
        await asyncio.to_thread(server.start)
        await until(lambda: _put(redis, "after"), 30)
        await until(lambda: ("after",) in record.ended, 30)
        await until(lambda: not worker.tasks)


async def _put(redis: ArqRedis, *args: Any) -> bool:
    try:
        return bool(await put(redis, *args))
    except CONNECTION_ERRORS:
        return False


async def test_a_frozen_redis_is_waited_for(tmp_path: Path) -> None:
    """Socket timeouts: without them its answers are waited for until it is restarted."""
    record = Record()
    async with (
        own_server(tmp_path) as server,
        connected(server.url, 0.5) as redis,
        connected(server.url) as other,
        working(redis, await runs(record)),
    ):
        await put(other, "before")
        await until(lambda: record.ended)
        server.freeze()
        await asyncio.sleep(2)
        server.thaw()
        await put(other, "after")
        await until(lambda: len(record.ended) == 2, 30)
