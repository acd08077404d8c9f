"""One runtime per application: the way in, what is known, and what a missing server means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import quart

from decant.errors import ConfigError, Unavailable
from decant.tasks.codec import decode_error
from decant.tasks.errors import OperationalError, TaskRevokedError
from decant.tasks.job import Claimed, Job
from decant.tasks.runtime import Runtime
from decant.tasks.settings import Conf
from tests.ports import kept_port


def make_job(**more: Any) -> Job:
    return Job(**{"id": uuid4(), "task": "mail.send", "queue": "default", "payload": b"x", **more})


def make_app(**config: Any) -> quart.Quart:
    app = quart.Quart("test_app")
    app.config.update(config)
    return app


async def app_with(**config: Any) -> quart.Quart:
    """Made in a thread: an application looks at the disk."""
    return await asyncio.to_thread(make_app, **config)


def make_runtime(app: quart.Quart, **conf: Any) -> Runtime:
    return Runtime(app, Conf(conf).for_app(app))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Where nobody listens, and nobody else can."""
    with kept_port() as reserved:
        yield reserved.getsockname()[1]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer to confirm a subscription, or to send the last jobs."""
    monkeypatch.setattr("decant.tasks.dispatch.listening._FIRST_S", 20.0)
    monkeypatch.setattr("decant.tasks.dispatch.later._LAST_S", 20.0)


@pytest.fixture
def app(ledger_url: str, redis_url: str) -> quart.Quart:
    return make_app(SQLALCHEMY_DATABASE_URI=ledger_url, REDIS_URL=redis_url, REDIS_DEADLINE_S=10)


@pytest.fixture
async def runtime(app: quart.Quart) -> AsyncIterator[Runtime]:
    made = make_runtime(app)
    yield made
    await made.aclose()


@pytest.mark.parametrize("url", ["sqlite:///x.db", "nonsense", None])
def test_the_ledger_needs_postgresql(url: str | None, redis_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=url, REDIS_URL=redis_url)
    with pytest.raises(ConfigError, match=r"SQLALCHEMY_DATABASE_URI.*TASKS_DURABLE = False"):
        make_runtime(app)
    assert make_runtime(make_app(SQLALCHEMY_DATABASE_URI=url, REDIS_URL=redis_url, TASKS_DURABLE=False)).ledger is None


def test_a_wrong_url_shows_no_password(redis_url: str) -> None:
    app = make_app(TASKS_DATABASE_URL="mysql://me:secret@db/x", REDIS_URL=redis_url)
    with pytest.raises(ConfigError, match="TASKS_DATABASE_URL") as caught:
        make_runtime(app)
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("patience")
async def test_a_durable_job_is_in_the_ledger_and_soon_in_redis(runtime: Runtime) -> None:
    job = make_job()
    await runtime.submit([job])
    record = await runtime.record(job.id)
    assert record is not None
    assert record.state == "PENDING"
    await runtime.dispatcher.aclose()
    assert await runtime.redis.zscore("decant:queue:default", str(job.id)) is not None


async def test_what_is_not_durable_is_in_redis_alone(runtime: Runtime) -> None:
    job = make_job(durable=False)
    await runtime.submit([job])
    assert runtime.ledger is not None
    assert await runtime.ledger.read([job.id]) == {}
    assert await runtime.redis.zscore("decant:queue:default", str(job.id)) is not None
    assert await runtime.record(job.id) is None
    claimed = Claimed(id=job.id, task=job.task, queue=job.queue, payload=b"", durable=False, parent=uuid4())
    await runtime.keep(claimed, "SUCCESS", worker="w1", result=b"r")
    record = await runtime.record(job.id)
    assert record is not None
    assert (record.state, record.result, record.worker, record.parent) == ("SUCCESS", b"r", "w1", claimed.parent)
    assert record.finished is not None
    assert record.finished.tzinfo is not None
    assert 0 < await runtime.redis.ttl(runtime.names.result(job.id)) <= 24 * 3600
    await runtime.forget([job.id])
    assert await runtime.record(job.id) is None


async def test_without_a_ledger_every_job_is_in_redis(ledger_url: str, redis_url: str) -> None:
    runtime = make_runtime(await app_with(REDIS_URL=redis_url, TASKS_DURABLE=False, REDIS_DEADLINE_S=10))
    job = make_job()
    await runtime.submit([job])
    assert job.durable is False
    assert await runtime.redis.exists(f"arq:job:{job.id}")
    await runtime.aclose()


async def test_redis_away_does_not_concern_a_durable_job(ledger_url: str, closed_port: int) -> None:
    app = await app_with(SQLALCHEMY_DATABASE_URI=ledger_url, REDIS_URL=f"redis://127.0.0.1:{closed_port}")
    runtime, job = make_runtime(app), make_job()
    await runtime.submit([job])
    assert await runtime.record(job.id) is not None
    assert await runtime.revoke([job.id], True) == {job.id: "REVOKED"}
    assert not await runtime.dispatcher.publish(job.id, {"state": "SUCCESS"})
    with pytest.raises(OperationalError, match="other"):
        await runtime.submit([make_job(task="other", durable=False)])
    await runtime.aclose()


async def test_the_database_away_is_an_operational_error_that_is_answered_with_503(
    redis_url: str, closed_port: int
) -> None:
    url = f"postgresql://me@127.0.0.1:{closed_port}/x?sslmode=disable"
    runtime = make_runtime(await app_with(SQLALCHEMY_DATABASE_URI=url, REDIS_URL=redis_url))
    with pytest.raises(OperationalError, match=r"mail\.send") as caught:
        await runtime.submit([make_job()])
    assert isinstance(caught.value, Unavailable)
    await runtime.aclose()


@pytest.mark.usefixtures("patience")
async def test_whoever_waits_hears_of_a_revocation(runtime: Runtime) -> None:
    job = make_job()
    await runtime.submit([job])
    async with runtime.listener.subscribed([job.id]) as messages:
        assert await runtime.revoke([job.id]) == {job.id: "REVOKED"}
        assert await messages.next(20) == (job.id, {"state": "REVOKED"})


async def test_workers_are_told_to_stop_what_runs(runtime: Runtime) -> None:
    job = make_job()
    await runtime.submit([job])
    assert runtime.ledger is not None
    await runtime.ledger.claim(job.id, "w1", 10)
    async with runtime.redis.pubsub() as pubsub:
        await pubsub.subscribe(runtime.names.control)
        assert (await pubsub.get_message(timeout=20))["type"] == "subscribe"
        assert await runtime.revoke([job.id]) == {job.id: "STARTED"}
        assert await runtime.revoke([job.id], True, "SIGKILL") == {job.id: "STARTED"}
        message = json.loads((await pubsub.get_message(timeout=20))["data"])
    assert message["command"] == "abort"
    assert message["arguments"] == {"ids": [str(job.id)], "terminate": True, "signal": "SIGKILL"}


async def test_a_waiting_job_of_redis_alone_can_be_revoked(runtime: Runtime) -> None:
    job = make_job(durable=False)
    await runtime.submit([job])
    assert await runtime.revoke([job.id]) == {job.id: "REVOKED"}
    assert not await runtime.redis.exists(f"arq:job:{job.id}")
    record = await runtime.record(job.id)
    assert record is not None
    assert record.error is not None
    assert isinstance(decode_error(record.error).exception, TaskRevokedError)


async def test_while_redis_is_away_a_waiter_looks_for_itself(ledger_url: str, closed_port: int) -> None:
    app = await app_with(SQLALCHEMY_DATABASE_URI=ledger_url, REDIS_URL=f"redis://127.0.0.1:{closed_port}")
    runtime = make_runtime(app)
    async with asyncio.timeout(30), runtime.listener.subscribed([uuid4()]) as messages:
        assert await messages.next() is None
        assert await messages.next(60) is None
    await runtime.aclose()


@pytest.mark.usefixtures("patience")
async def test_what_waits_to_be_pushed_is_pushed_before_the_application_ends(app: quart.Quart, ledger_url: str) -> None:
    runtime, jobs = make_runtime(app), [make_job() for _ in range(300)]
    async with app.test_app():
        await runtime.submit(jobs)
    assert await runtime.redis.zcard("decant:queue:default") == 300
    await runtime.redis.aclose()
    await runtime.aclose()


@pytest.mark.usefixtures("patience")
def test_what_a_script_hands_over_is_pushed_before_its_loop_ends(app: quart.Quart, redis_url: str) -> None:
    from redis import Redis

    runtime, job = make_runtime(app), make_job()
    asyncio.run(runtime.submit([job]))
    with Redis.from_url(redis_url) as redis:
        assert redis.zrange("decant:queue:default", 0, -1) == [str(job.id).encode()]


async def test_a_lost_subscription_is_made_again(runtime: Runtime) -> None:
    id_ = uuid4()
    async with asyncio.timeout(40), runtime.listener.subscribed([id_]) as messages:
        await runtime.redis.client_kill_filter(_type="pubsub")
        assert await messages.next(10) is None
        while (message := await messages.next(0.1)) is None:
            await runtime.dispatcher.publish(id_, {"state": "SUCCESS"})
        assert message == (id_, {"state": "SUCCESS"})
