"""``tasks.control``, to a worker in the test's loop: what it answers, and that nothing it is told ends it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from quart import Quart

from decant.tasks.control import Control
from decant.tasks.extension import Tasks
from decant.tasks.worker.service import Service, working
from decant.tasks.worker.settings import worker_settings
from tests.tasks.worker.toys import until


class Toys:
    """An application with tasks, whose jobs wait for :attr:`go`."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.app = Quart(__name__)
        self.app.config.update(TASKS_DATABASE_URL=database_url, TASKS_REDIS_URL=redis_url, TASKS_PREFIX="toy")
        self.app.config["REDIS_DEADLINE_S"] = 5.0
        self.tasks = Tasks(set_as_current=False)
        self.go = asyncio.Event()
        self.begun: list[str] = []

        @self.tasks.task(name="hold")
        async def hold(word: str) -> str:
            self.begun.append(word)
            await self.go.wait()
            return word

        self.tasks.init_app(self.app)

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Service]:
        async with working(worker_settings(self.tasks, self.app), **options) as service:
            await service.ears.subscribed.wait()  # it works without, and is told nothing then
            runtime = self.tasks.runtime()
            await until(lambda: runtime.redis.exists(runtime.names.alive))  # or it puts into Redis what it misses there
            yield service

    async def send(self, word: str, **options: Any) -> UUID:
        async with self.app.app_context():
            return UUID((await self.tasks.send_task("hold", (word,), **options)).id)

    async def state(self, id_: UUID) -> str:
        return str((await self.tasks.runtime().record(id_)).state)  # type: ignore[union-attr]


@pytest.fixture
def toys(ledger_url: str, redis_url: str) -> Toys:
    return Toys(ledger_url, redis_url)


@pytest.fixture
async def service(toys: Toys) -> AsyncIterator[Service]:
    async with toys.working(name="one", grace_s=0.2) as made:
        yield made
        toys.go.set()


@pytest.fixture
def control(toys: Toys, service: Service) -> Control:
    return toys.tasks.control


async def claimed(service: Service) -> None:
    """Wait until a claim that is under way, as one may be when a worker is paused, has ended."""
    service.worker.wake()
    await until(lambda: not service.worker._wake.is_set())


@pytest.mark.parity("celery", "control: ping")
async def test_ping_finds_every_worker_and_does_not_wait_for_more(toys: Toys, control: Control) -> None:
    async with toys.working(name="two"):
        begun = time.monotonic()
        replies = await control.ping(timeout=60)
        assert time.monotonic() - begun < 30
        assert sorted(worker.partition(":")[0] for reply in replies for worker in reply) == ["one", "two"]
        assert [answer for reply in replies for answer in reply.values()] == [{"ok": "pong"}] * 2
        [reply] = await control.ping(destination="two", timeout=10)
        assert next(iter(reply)).startswith("two:")
        assert await control.ping(destination=["three"], timeout=0.1) == []


@pytest.mark.parity("celery", "inspect")
async def test_what_runs_waits_and_is_served_can_be_asked(toys: Toys, service: Service, control: Control) -> None:
    running, later = await toys.send("now"), await toys.send("later", countdown=60)
    await until(lambda: toys.begun)
    runtime = toys.tasks.runtime()

    async def pushed() -> bool:
        return await runtime.redis.zscore(runtime.names.queue("default"), str(later)) is not None

    await until(pushed)
    ask = control.inspect(timeout=10)
    [told] = (await ask.active())[service.id]
    assert (told["id"], told["name"], told["attempt"], told["hostname"]) == (str(running), "hold", 1, service.id)
    [scheduled] = (await ask.scheduled())[service.id]
    assert scheduled["request"]["id"] == str(later)
    assert (await ask.query_task(str(running), str(later)))[service.id] == {str(running): ["active", told]}
    assert "hold" in (await ask.registered())[service.id]
    assert any("rate_limit=None" in line for line in (await ask.registered("rate_limit"))[service.id])
    assert (await ask.active_queues())[service.id] == [{"name": "default", "weight": 1}]
    assert (await ask.reserved())[service.id] == []
    stats = (await ask.stats())[service.id]
    assert stats["pool"]["max-concurrency"] == service.worker.max_jobs
    assert len(stats["active"]) == 1
    conf = (await ask.conf())[service.id]
    assert (conf["prefix"], conf["database_url"]) == ("toy", "********")
    assert "Python" in (await ask.report())[service.id]["ok"]
    before = time.time()
    assert before <= (await ask.clock())[service.id]["clock"] <= time.time()


async def test_pause_and_resume(toys: Toys, service: Service, control: Control) -> None:
    await control.pause(reply=True, timeout=10)
    await claimed(service)
    await toys.send("paused")
    await asyncio.sleep(0.3)
    assert toys.begun == []
    assert service.duties.heartbeat.state()["paused"]
    await control.resume(reply=True, timeout=10)
    await until(lambda: toys.begun == ["paused"])


async def test_the_pool_grows_and_shrinks_but_never_to_nothing(service: Service, control: Control) -> None:
    before = service.worker.max_jobs
    await control.pool_grow(5, reply=True, timeout=10)
    assert service.worker.max_jobs == before + 5
    await control.pool_shrink(1000, reply=True, timeout=10)
    assert service.worker.max_jobs == 1


async def test_queues_can_be_added_and_taken_away(toys: Toys, service: Service, control: Control) -> None:
    await toys.send("other", queue="other")
    await asyncio.sleep(0.2)
    assert toys.begun == []
    await control.add_consumer("other", weight=2, reply=True, timeout=10)
    await until(lambda: toys.begun == ["other"])
    await control.cancel_consumer("default", reply=True, timeout=10)
    assert dict(service.worker.queues) == {"other": 2}
    [reply] = await control.add_consumer("not a name", reply=True, timeout=10) or []
    assert "error" in reply[service.id]


@pytest.mark.parity("celery", "control: revoke")
async def test_a_running_job_is_terminated(toys: Toys, service: Service, control: Control) -> None:
    id_ = await toys.send("long")
    await until(lambda: toys.begun)
    await control.revoke(str(id_), terminate=True)

    async def revoked() -> bool:
        return await toys.state(id_) == "REVOKED"

    await until(revoked)
    await until(lambda: not service.worker.tasks)


async def test_revoked_jobs_do_not_begin(toys: Toys, service: Service, control: Control) -> None:
    service.pause()
    await claimed(service)
    ids = [await toys.send(str(number)) for number in range(3)]
    await control.revoke(ids[:2])
    service.resume()
    await until(lambda: toys.begun == ["2"])
    assert [await toys.state(id_) for id_ in ids] == ["REVOKED", "REVOKED", "STARTED"]


@pytest.mark.parity("celery", "control: purge")
async def test_purge_revokes_what_waits_and_nothing_else(toys: Toys, service: Service, control: Control) -> None:
    running = await toys.send("running")
    await until(lambda: toys.begun)
    service.pause()
    await claimed(service)
    waiting = [await toys.send("a"), await toys.send("b", countdown=60), await toys.send("c", queue="other")]
    assert await control.purge() == 3
    assert [await toys.state(id_) for id_ in (running, *waiting)] == ["STARTED"] + ["REVOKED"] * 3
    assert await control.purge() == 0
    toys.go.set()
    await until(lambda: not service.worker.tasks)


async def test_purge_does_not_count_again_what_was_revoked_before(
    toys: Toys, service: Service, control: Control
) -> None:
    """It is in Redis for as long as no worker has found it there, whether the ledger has it too or not."""
    service.pause()
    await claimed(service)
    revoked = [await toys.send("a"), await toys.send("b", durable=False)]
    waiting = [await toys.send("c"), await toys.send("d", durable=False)]
    runtime = toys.tasks.runtime()
    queue = runtime.names.queue("default")

    async def pushed() -> bool:
        return bool(await runtime.redis.zcard(queue) == 4)

    await until(pushed)
    await control.revoke(revoked)
    assert await control.purge() == 2
    assert await runtime.redis.zcard(queue) == 0
    assert await runtime.redis.exists(*(f"arq:job:{id_}" for id_ in (*revoked, *waiting))) == 0
    assert [await toys.state(id_) for id_ in (*revoked, waiting[0])] == ["REVOKED"] * 3
    assert await control.purge() == 0


async def test_what_is_asked_for_while_it_is_purged_stays(
    toys: Toys, service: Service, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the look at the ledger, before that at Redis."""

    async def nothing_yet(ledger: Any) -> list[UUID]:
        return []

    service.pause()
    await claimed(service)
    id_ = await toys.send("new")
    runtime = toys.tasks.runtime()

    async def pushed() -> bool:
        return bool(await runtime.redis.zcard(runtime.names.queue("default")))

    await until(pushed)
    monkeypatch.setattr("decant.tasks.control._waiting", nothing_yet)
    assert await control.purge() == 0
    assert await pushed()
    assert await toys.state(id_) == "PENDING"


@pytest.mark.parity("celery", "control: rate_limit")
async def test_rate_and_time_limits_are_set_for_known_tasks_only(service: Service, control: Control) -> None:
    [reply] = await control.rate_limit("hold", "5/m", reply=True, timeout=10) or []
    assert reply[service.id] == {"ok": "new rate limit set successfully"}
    [reply] = await control.time_limit("hold", soft=1, hard=2, reply=True, timeout=10) or []
    assert "ok" in reply[service.id]
    for task, rate in (("unknown", "5/m"), ("hold", "x")):
        [reply] = await control.rate_limit(task, rate, reply=True, timeout=10) or []
        assert "error" in reply[service.id]


async def test_a_time_limit_holds_for_the_next_job(toys: Toys, control: Control) -> None:
    await control.time_limit("hold", hard=0.2, reply=True, timeout=10)
    id_ = await toys.send("long")

    async def failed() -> bool:
        return await toys.state(id_) == "FAILURE"

    await until(failed)


async def test_no_message_ends_the_worker(
    toys: Toys, service: Service, control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    redis, channel = toys.tasks.runtime().redis, toys.tasks.runtime().names.control
    messages: list[Any] = [
        b"\xff\x00",
        b"[]",
        b"null",
        b"{}",
        b'{"command": 1}',
        b'{"command": "ping", "arguments": 5}',
        json.dumps({"command": "abort", "arguments": {"ids": ["no uuid"]}}),
        json.dumps({"command": "abort", "arguments": {}}),
        json.dumps({"command": "run", "arguments": {"concurrency": -1}}),
        json.dumps({"command": "handle", "arguments": {}}),
        json.dumps({"command": "_answer", "arguments": {}}),
        json.dumps({"command": "ping", "destination": 5}),
        json.dumps({"command": "ping", "reply_to": 5}),
    ]
    with caplog.at_level(logging.WARNING):
        for message in messages:
            await redis.publish(channel, message)
        [reply] = await control.broadcast("nonsense", reply=True, timeout=10) or []
    assert "no command 'nonsense'" in reply[service.id]["error"]
    assert await control.ping(timeout=10) == [{service.id: {"ok": "pong"}}]
    assert "cannot be read" in caplog.text
    assert not service._stop.is_set()


async def test_an_unknown_job_is_no_error(control: Control, service: Service) -> None:
    await control.revoke(str(uuid4()), terminate=True)
    [reply] = await control.broadcast("abort", {"ids": [str(uuid4())]}, reply=True, timeout=10) or []
    assert reply[service.id]["stopped"] == []


async def test_answers_are_given_to_a_callback_and_can_be_limited(toys: Toys, control: Control) -> None:
    async with toys.working(name="two"):
        heard: list[Any] = []
        replies = await control.broadcast("ping", reply=True, timeout=10, limit=1, callback=heard.append) or []
        assert len(replies) == 1
        assert heard == replies


@pytest.mark.parity("celery", "control: shutdown")
async def test_shutdown_ends_the_worker_and_gives_back_what_runs(toys: Toys, control: Control) -> None:
    async with toys.working(name="two", grace_s=0.0, queues="mine") as two:
        id_ = await toys.send("mine", queue="mine")
        await until(lambda: toys.begun)
        await control.shutdown(destination=two.id)

        async def given_back() -> bool:
            return await toys.state(id_) == "PENDING"

        await until(given_back)
    assert [reply for reply in await control.ping(timeout=10) if two.id in reply] == []
