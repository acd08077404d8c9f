"""Clicks are counted exactly once, wherever a worker is killed; real processes, real SIGKILL."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from app.extensions import db
from app.models import ClickDay, DrainedBatch, Link, User
from decant import Quart
from decant.redis import Redis, client
from tests.app.proxy import Proxy
from tests.valkey import running
from workers.jobs.clicks import BATCH, QUEUE, take_batch
from workers.jobs.drain import count, drain, forget_batches

from .killed import POINTS, run


@pytest.fixture
async def redis(app: Quart) -> Redis:
    redis = client(app, deadline_s=5.0)
    await redis.flushdb()
    return redis


async def add_links(app: Quart, number: int) -> list[int]:
    async with app.app_context():
        owner = User(username="owner", password_hash="-")
        db.session.add(owner)
        await db.session.flush()
        links = [Link(owner_id=owner.id, slug=f"link{i}", target="https://example.com/") for i in range(number)]
        db.session.add_all(links)
        await db.session.commit()
        return [link.id for link in links]


async def visit(app: Quart, slug: str, times: int = 1) -> None:
    async with app.app_context():
        redirects = app.extensions["redirects"]
        answers = await asyncio.gather(*(redirects.visit(slug) for _ in range(times)))
    assert {answer.kind for answer in answers} == {"found"}


async def counts(app: Quart) -> tuple[dict[str, int], dict[str, int]]:
    """``links.visits`` and the sums of ``click_days``, by slug."""
    async with app.app_context():
        visits = (await db.session.execute(select(Link.slug, Link.visits))).all()
        by_day = select(Link.slug, func.sum(ClickDay.clicks)).join(ClickDay, ClickDay.link_id == Link.id)
        days = (await db.session.execute(by_day.group_by(Link.slug))).all()
        return {slug: number for slug, number in visits if number}, {slug: int(number) for slug, number in days}


@asynccontextmanager
async def process(*arguments: str, environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


@pytest.mark.timeout(300)
async def test_killed_at_every_point(app: Quart, redis: Redis, environment: dict[str, str]) -> None:
    """Killed after taking, recording, adding, committing, removing a batch, then run again: each click counts once."""
    await add_links(app, 3)
    expected = dict.fromkeys(("link0", "link1"), 0)
    async with process("-m", "tests.workers.killed", environment=environment) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None

        async def run(point: str) -> int:
            worker.stdin.write(f"{point}\n".encode())
            async with asyncio.timeout(90):
                return int(await worker.stdout.readline())

        async with asyncio.timeout(90):
            assert await worker.stdout.readline() == b"ready\n"
        for point in (*POINTS, *POINTS):
            for number, slug in enumerate(expected):
                await visit(app, slug, 5 + number)
                expected[slug] += 5 + number
            assert await run(point) == -signal.SIGKILL, point
            await visit(app, "link0")
            expected["link0"] += 1
        assert await run("none") == 0
    assert await counts(app) == (expected, expected)
    assert await redis.keys(f"{BATCH}*") == []


@pytest.mark.timeout(300)
async def test_a_worker_outlives_redis(make: Any, environment: dict[str, str], tmp_path: Path) -> None:
    """Started without Redis, and with Redis restarted under it, ``decant worker`` goes on by itself."""
    with ExitStack() as stack:
        server = await asyncio.to_thread(stack.enter_context, running(tmp_path))
        app = await make(REDIS_URL=server.url, REDIS_BREAKER_RESET_S=0.1, REDIS_DEADLINE_S=5.0)
        await add_links(app, 1)
        await asyncio.to_thread(server.kill)
        command = ("-m", "decant.cli", "worker", "workers:WorkerSettings")
        async with process(*command, environment={**environment, "REDIS_URL": server.url}) as worker:
            for total in (5, 10):
                await visit(app, "link0", 5)  # kept by the web process
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(90):
                    while await counts(app) != ({"link0": total}, {"link0": total}):
                        await asyncio.sleep(0.05)
                await asyncio.to_thread(server.kill)
            assert worker.returncode is None


async def test_the_database_is_away(make: Any, app_database_url: str, redis_url: str) -> None:
    """The job says so and ends; the clicks are counted when it is back."""
    proxy = Proxy.to_database(app_database_url)
    await proxy.start()
    name = urlsplit(app_database_url).path
    app = await make(
        DATABASE_URL=f"postgresql://postgres@127.0.0.1:{proxy.port}{name}?ssl=disable", REDIS_DEADLINE_S=5.0
    )
    await client(app).flushdb()
    await add_links(app, 1)
    await visit(app, "link0", 3)
    await proxy.stop()
    assert await run(app) == 0
    await proxy.start()
    assert await run(app) == 3
    async with app.app_context():
        await db.engine.dispose()  # before the proxy, whose end would be logged
    await proxy.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("command", "kills"),
    [
        (("decant.cli", "worker", "tests.workers.soon:WorkerSettings"), 2),
        (("arq", "tests.workers.soon.WorkerSettings"), 1),
    ],
    ids=["decant worker", "arq"],
)
async def test_a_worker_that_is_killed_now_and_then(
    app: Quart, redis: Redis, environment: dict[str, str], command: tuple[str, ...], kills: int
) -> None:
    """While clicks keep coming, the worker gets SIGKILL at random moments; in the end all are counted, once."""
    await add_links(app, 20)
    expected: dict[str, int] = {}
    stopped = asyncio.Event()
    dice = random.Random(1)

    async def click() -> None:
        while not stopped.is_set():
            slug = f"link{dice.randrange(20)}"
            times = dice.randrange(1, 20)
            expected[slug] = expected.get(slug, 0) + times
            await visit(app, slug, times)
            await asyncio.sleep(0.01)

    async def counted_more_than(number: int) -> int:
        async with asyncio.timeout(90):
            while (total := sum((await counts(app))[0].values())) <= number:
                await asyncio.sleep(0.05)
        return total

    clicking = asyncio.create_task(click())
    total = 0
    for _ in range(kills):
        async with process("-m", *command, environment=environment) as worker:
            total = await counted_more_than(total)
            await asyncio.sleep(dice.uniform(0, 0.5))
            worker.send_signal(signal.SIGKILL)
            assert await worker.wait() == -signal.SIGKILL
    async with process("-m", *command, environment=environment) as worker:
        await counted_more_than(total)
        stopped.set()
        await clicking
        async with asyncio.timeout(90):
            while await redis.llen(QUEUE):
                await asyncio.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        async with asyncio.timeout(90):
            await worker.wait()
    assert await counts(app) == (expected, expected)


async def test_two_workers_at_once(app: Quart, redis: Redis) -> None:
    """Ten that drain at the same time count each batch once."""
    await add_links(app, 2)
    for _ in range(5):
        await asyncio.gather(visit(app, "link0", 10), visit(app, "link1", 5))
        counted = await asyncio.gather(*(run(app) for _ in range(10)))
        assert sum(counted) == 15
    assert (await counts(app))[0] == {"link0": 50, "link1": 25}


async def test_a_batch_is_counted_once(app: Quart, redis: Redis) -> None:
    """However often it is counted; and not at all if its transaction fails."""
    await add_links(app, 1)
    await visit(app, "link0", 3)
    batch = await take_batch(redis)
    assert batch is not None
    async with app.app_context():
        assert [await count(batch) for _ in range(3)] == [3, 0, 0]
        again = await take_batch(redis)
        assert again == batch, "it stays until it is removed"
    assert (await counts(app))[1] == {"link0": 3}


async def test_clicks_that_come_while_a_batch_is_counted(app: Quart, redis: Redis) -> None:
    """They go to the next batch."""
    await add_links(app, 1)
    await visit(app, "link0", 3)
    first = await take_batch(redis)
    await visit(app, "link0", 4)
    assert first is not None
    assert sum(first.clicks.values()) == 3
    async with app.app_context():
        assert await drain(redis) == 7
        assert await drain(redis) == 0


async def test_days(app: Quart, redis: Redis) -> None:
    """Clicks of several days in one batch are counted on their days, and what is no click is left alone."""
    [link] = await add_links(app, 1)
    now = datetime.now(UTC).date()
    today = (now - datetime(1970, 1, 1, tzinfo=UTC).date()).days
    await redis.rpush(QUEUE, "by-hand")
    fields = {str(link): 6, f"{link}:{today}": 1, f"{link}:{today - 1}": 2, f"{link}:{today - 400}": 3}
    await redis.hset(f"{BATCH}by-hand", mapping=fields)
    async with app.app_context():
        assert await drain(redis) == 6
        found = (await db.session.execute(select(ClickDay.day, ClickDay.clicks))).all()
    assert {tuple(row) for row in found} == {(now - timedelta(days=ago), n) for ago, n in ((0, 1), (1, 2), (400, 3))}


async def test_nothing_to_do(app: Quart, redis: Redis) -> None:
    """No batch, no record."""
    async with app.app_context():
        assert await drain(redis) == 0
        assert await db.session.scalar(select(func.count()).select_from(DrainedBatch)) == 0


async def test_old_records_are_forgotten(app: Quart, redis: Redis) -> None:
    """After 30 days; newer ones are kept."""
    async with app.app_context():
        now = datetime.now(UTC)
        db.session.add_all(
            [DrainedBatch(id="old", drained_at=now - timedelta(days=31)), DrainedBatch(id="new", drained_at=now)]
        )
        await db.session.commit()
        await forget_batches()
        assert list(await db.session.scalars(select(DrainedBatch.id))) == ["new"]


async def test_a_large_batch(app: Quart, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full batch of 5,000 links is counted in seconds."""
    ids = await add_links(app, 5000)
    today = (datetime.now(UTC).date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days
    await redis.rpush(QUEUE, "large")
    fields: dict[Any, Any] = {f"{link}:{today}": 2 for link in ids} | {str(link): 2 for link in ids}
    await redis.hset(f"{BATCH}large", mapping=fields)
    async with app.app_context(), asyncio.timeout(60):
        assert await drain(redis) == 10_000
