"""The index in Redis: what is pushed is found in its order, and news are heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from decant.errors import RedisUnavailable
from decant.redis import Redis
from decant.redis.options import Options
from decant.tasks.codec import decode_arq
from decant.tasks.dispatch import Dispatcher, Listener, Names, claimed_from
from decant.tasks.job import Job
from tests.ports import kept_port

NAMES = Names("test")


def make_job(**more: Any) -> Job:
    return Job(**{"id": uuid4(), "task": "mail.send", "queue": "default", "payload": b"x", **more})


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer to confirm a subscription, or to send the last jobs."""
    monkeypatch.setattr("decant.tasks.dispatch.listening._FIRST_S", 20.0)
    monkeypatch.setattr("decant.tasks.dispatch.later._LAST_S", 20.0)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    made = Redis(Options(redis_url, deadline_s=5))
    yield made
    await made.aclose()


@pytest.fixture
async def dispatcher(redis: Redis) -> AsyncIterator[Dispatcher]:
    made = Dispatcher(redis, NAMES)
    yield made
    await made.aclose()


@pytest.fixture
async def listener(redis: Redis) -> AsyncIterator[Listener]:
    made = Listener(redis, NAMES)
    yield made
    await made.aclose()


async def queued(redis: Redis, queue: str = "default") -> list[str]:
    return [id_.decode() for id_ in await redis.zrange(NAMES.queue(queue), 0, -1)]


async def test_a_durable_job_is_its_task_and_id_alone(redis: Redis, dispatcher: Dispatcher) -> None:
    job = make_job()
    await dispatcher.push([job])
    definition = decode_arq(await redis.get(f"arq:job:{job.id}"))
    assert definition["f"] == "decant.run"
    assert definition["a"] == ["mail.send", str(job.id)]
    assert await queued(redis) == [str(job.id)]
    assert 23 * 3600 < await redis.ttl(f"arq:job:{job.id}") <= 24 * 3600


async def test_one_that_is_not_durable_travels_with_all_it_is(redis: Redis, dispatcher: Dispatcher) -> None:
    job = make_job(
        durable=False,
        priority=3,
        retries=1,
        parent=uuid4(),
        root=uuid4(),
        group=uuid4(),
        group_index=0,
        summary="1",
        request_id="r",
        expires=datetime(2040, 1, 1, tzinfo=UTC),
        max_attempts=1,
    )
    await dispatcher.push([job])
    name, id_, payload, extras = decode_arq(await redis.get(f"arq:job:{job.id}"))["a"]
    claimed = claimed_from(name, id_, payload, extras, attempt=2)
    for field in Job.__slots__:
        assert getattr(claimed, field) == getattr(job, field), field
    assert (claimed.attempt, claimed.rerun) == (2, True)
    assert claimed.created is not None


async def test_priorities_come_first_and_the_older_of_equals(redis: Redis, dispatcher: Dispatcher) -> None:
    low, high, later = (
        make_job(),
        make_job(priority=9),
        make_job(priority=9, eta=datetime.now(UTC) + timedelta(hours=1)),
    )
    await dispatcher.push([low])
    await dispatcher.push([later, high])
    assert await queued(redis) == [str(high.id), str(low.id), str(later.id)]
    due = await redis.zscore(NAMES.queue("default"), str(later.id))
    assert due > time.time() * 1000, "or it would be begun before its time"


async def test_pushing_again_makes_no_difference(redis: Redis, dispatcher: Dispatcher) -> None:
    job = make_job(priority=1)
    await dispatcher.push([job])
    first = await redis.zscore(NAMES.queue("default"), str(job.id))
    await asyncio.sleep(0.005)
    await dispatcher.push([job])
    assert await redis.zscore(NAMES.queue("default"), str(job.id)) == first
    assert await redis.zcard(NAMES.queue("default")) == 1


async def test_workers_are_woken_once_per_queue(redis: Redis, dispatcher: Dispatcher) -> None:
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(NAMES.wake)
        assert (await pubsub.get_message(timeout=20))["type"] == "subscribe"
        await dispatcher.push([make_job(), make_job(), make_job(queue="mail")])
        woken = [(await pubsub.get_message(timeout=20))["data"] for _ in range(2)]
        assert sorted(woken) == [b"default", b"mail"]
        assert await pubsub.get_message(timeout=0.05) is None


async def test_what_is_pushed_soon_is_pushed(redis: Redis, dispatcher: Dispatcher) -> None:
    jobs = [make_job() for _ in range(250)]
    dispatcher.push_soon(jobs[:1])
    dispatcher.push_soon(jobs[1:])
    await dispatcher.aclose()
    assert set(await queued(redis)) == {str(job.id) for job in jobs}


async def test_while_redis_is_away_pushing_is_left_to_the_sweeper(caplog: pytest.LogCaptureFixture) -> None:
    with kept_port() as reserved:  # nobody listens there
        redis = Redis(Options(f"redis://127.0.0.1:{reserved.getsockname()[1]}"))
        dispatcher = Dispatcher(redis, NAMES)
        dispatcher.push_soon([make_job() for _ in range(10_001)])
        assert "10000 jobs wait to be pushed" in caplog.text
        async with asyncio.timeout(10):
            await dispatcher.aclose()
        with pytest.raises(RedisUnavailable):
            await dispatcher.push([make_job()])
        await redis.aclose()


async def test_news_are_heard_by_all_who_wait_and_by_nobody_else(dispatcher: Dispatcher, listener: Listener) -> None:
    one, other = uuid4(), uuid4()
    async with listener.subscribed([one]) as first, listener.subscribed([one, other]) as second:
        await dispatcher.publish(one, {"state": "SUCCESS"})
        assert await first.next(20) == (one, {"state": "SUCCESS"})
        assert await second.next(20) == (one, {"state": "SUCCESS"})
        await dispatcher.publish(other, {"state": "PROGRESS", "meta": {"done": 1}})
        assert await second.next(20) == (other, {"state": "PROGRESS", "meta": {"done": 1}})
        assert await first.next(0.05) is None


async def test_after_the_last_one_left_the_next_one_hears(dispatcher: Dispatcher, listener: Listener) -> None:
    id_ = uuid4()
    for turn in range(5):
        async with listener.subscribed([id_]) as messages:
            await dispatcher.publish(id_, {"turn": turn})
            assert await messages.next(20) == (id_, {"turn": turn})
