"""The scripts over arq's keys: who claims what, for how long, and what is left when it has ended."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis

from decant.tasks.worker.claims import Claim, Claims, Ending
from tests.tasks.worker.toys import WAKE, claims_of, connected, put
from tests.valkey import running


@pytest.fixture
async def redis(redis_url: str) -> Any:
    async with connected(redis_url) as made:
        yield made


async def ids(claims: Claims, lease_ms: int = 10_000, **shares: int) -> list[str]:
    return [claim.id for claim in (await claims.claim(shares, lease_ms))[0]]


async def test_due_jobs_are_claimed_in_the_order_of_their_scores(redis: ArqRedis) -> None:
    later, first, second = [await put(redis, due_in_s=due) for due in (60, -2, -1)]
    [one, two], due_in_s = await claims_of(redis, "w").claim({"q": 5}, 10_000)
    assert (one.id, two.id) == (first, second)
    assert one.definition == await redis.get(f"arq:job:{first}")
    assert due_in_s is not None
    assert 9 < due_in_s <= 10  # that of the claims themselves
    assert await redis.exists(f"arq:in-progress:{later}") == 0


async def test_a_claimed_job_is_nobody_elses_until_its_lease_has_ended(redis: ArqRedis) -> None:
    held = await put(redis)
    assert await ids(claims_of(redis, "w1"), 60_000, q=5) == [held]
    assert await ids(claims_of(redis, "w2"), 60_000, q=5) == []
    id_ = await put(redis)
    assert await ids(claims_of(redis, "w1"), 20, q=5) == [id_]
    await asyncio.sleep(0.05)
    [again], _ = await claims_of(redis, "w2").claim({"q": 5}, 60_000)
    assert (again.id, again.job_try) == (id_, 2)


async def test_running_jobs_never_hide_waiting_ones(redis: ArqRedis) -> None:
    """However many run; a stock worker reads the first 100 of a queue only, and sees nothing but those."""
    for _ in range(300):
        await put(redis, due_in_s=-60)
    assert len(await ids(claims_of(redis, "w1"), q=300)) == 300
    waiting = await put(redis)
    assert await ids(claims_of(redis, "w2"), q=1) == [waiting]


async def test_jobs_that_a_stock_worker_runs_are_passed_over(redis: ArqRedis) -> None:
    """It leaves them at the front of the queue."""
    for _ in range(50):
        await redis.set(f"arq:in-progress:{await put(redis, due_in_s=-60)}", b"1", px=60_000)
    waiting = await put(redis)
    assert await ids(claims_of(redis, "w"), q=3) == [waiting]


async def test_queues_get_their_shares_and_what_the_others_cannot_use(redis: ArqRedis) -> None:
    a = [await put(redis, queue="a") for _ in range(6)]
    b = [await put(redis, queue="b") for _ in range(6)]
    claims = claims_of(redis, "w")
    got = await ids(claims, a=3, b=1)
    assert [len(set(got) & set(queue)) for queue in (a, b)] == [3, 1]
    got = await ids(claims, a=6, b=2)
    assert [len(set(got) & set(queue)) for queue in (a, b)] == [3, 5]
    assert await ids(claims, a=3, b=1) == []


async def test_what_has_ended_leaves_nothing_behind(redis: ArqRedis) -> None:
    claims = claims_of(redis, "w")
    await put(redis)
    [claim], _ = await claims.claim({"q": 1}, 10_000)
    claims.end(Ending(claim))
    await claims.aclose()
    assert await redis.keys("*") == []


async def test_a_job_to_be_run_again_is_due_later_and_wakes_workers(redis: ArqRedis) -> None:
    claims = claims_of(redis, "w")
    id_ = await put(redis)
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(WAKE)
        assert (await pubsub.get_message(timeout=20))["type"] == "subscribe"
        [claim], _ = await claims.claim({"q": 1}, 10_000)
        before = time.time()
        claims.end(Ending(claim, again_ms=60_000))
        await claims.written()
        after = time.time()
        await claims.aclose()
        assert (await pubsub.get_message(timeout=20))["data"] == b"q"
    assert await redis.exists(f"arq:in-progress:{id_}") == 0
    assert before + 59.99 <= await redis.zscore("q", id_) / 1000 <= after + 60


async def test_only_its_holder_ends_a_job(redis: ArqRedis) -> None:
    """Whoever has lost its lease must not take away what another worker runs."""
    first, second = claims_of(redis, "w1"), claims_of(redis, "w2")
    id_ = await put(redis)
    [lost], _ = await first.claim({"q": 1}, 20)
    await asyncio.sleep(0.05)
    [held], _ = await second.claim({"q": 1}, 10_000)
    for ending in (Ending(lost), Ending(lost, again_ms=0)):
        first.end(ending)
    await first.aclose()
    assert await redis.get(f"arq:in-progress:{id_}") == b"w2"
    assert await redis.exists(f"arq:job:{id_}") == 1
    second.end(Ending(held))
    await second.aclose()
    assert await redis.keys("*") == []


async def test_what_another_worker_has_put_off_is_left_alone(redis: ArqRedis) -> None:
    """A worker was frozen, the next one ran its job and has it wait for a retry."""
    frozen = claims_of(redis, "w1")
    id_ = await put(redis)
    [claim], _ = await frozen.claim({"q": 1}, 20)
    await redis.delete(f"arq:in-progress:{id_}")
    await redis.zadd("q", {id_: time.time() * 1000 + 60_000})
    frozen.end(Ending(claim))
    await frozen.aclose()
    assert await redis.zcard("q") == await redis.exists(f"arq:job:{id_}") == 1


async def test_renewed_claims_outlive_their_lease_and_lost_ones_are_told(redis: ArqRedis) -> None:
    claims = claims_of(redis, "w1")
    mine, other, flushed = [await put(redis) for _ in range(3)]
    held, _ = await claims.claim({"q": 3}, 10_000)
    await redis.set(f"arq:in-progress:{other}", "w2", px=60_000)
    await redis.delete(f"arq:in-progress:{flushed}")
    assert await claims.renew(held, 60_000) == {other}
    assert await redis.pttl(f"arq:in-progress:{mine}") > 50_000
    assert await redis.exists(f"arq:in-progress:{flushed}") == 0
    assert await redis.zscore("q", mine) / 1000 - time.time() > 50
    assert await claims.renew([], 1000) == set()


async def test_a_stock_workers_claims_keep_their_place_when_they_are_renewed(redis: ArqRedis) -> None:
    """arq computes the score of a retry from what it was when the job began."""
    id_ = await put(redis)
    score = await redis.zscore("q", id_)
    await redis.set(f"arq:in-progress:{id_}", b"1", px=10_000)
    assert await claims_of(redis, "w1").renew([Claim(id_, "q", 0, None, 0)], 60_000, alone=False) == set()
    assert await redis.zscore("q", id_) == score
    assert await redis.pttl(f"arq:in-progress:{id_}") > 50_000
    assert await redis.get(f"arq:in-progress:{id_}") == b"1"


async def test_ends_wait_for_a_redis_that_is_away(tmp_path: Path) -> None:
    def prepared() -> Any:
        return running(tmp_path)

    manager = await asyncio.to_thread(prepared)
    server = await asyncio.to_thread(manager.__enter__)
    try:
        async with connected(server.url) as redis:
            claims = claims_of(redis, "w")
            await put(redis)
            [claim], _ = await claims.claim({"q": 1}, 60_000)
            await asyncio.to_thread(server.kill)
            claims.end(Ending(claim, result=b"kept", result_ttl_ms=60_000))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(30):
                await claims.written()
            assert await redis.get(f"arq:result:{claim.id}") == b"kept"
            await claims.aclose()
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
