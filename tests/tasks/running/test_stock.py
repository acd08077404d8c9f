"""arq's own worker over the same wrapper: what is asked for gets done, retries and canvases too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from arq.worker import create_worker

from decant.tasks import chain, chord, group
from decant.tasks.worker.settings import worker_settings

from .conftest import Site


@asynccontextmanager
async def stock_worker(site: Site) -> AsyncIterator[Any]:
    """A stock worker of arq's, which polls quickly, in the test's loop."""
    settings = worker_settings(site.tasks, site.app, poll_delay=0.02, max_jobs=10)
    worker = create_worker(settings, handle_signals=False)
    look, looking = worker._poll_iteration, asyncio.Lock()

    async def look_alone() -> None:
        async with looking:
            await look()

    worker._poll_iteration = look_alone  # type: ignore[method-assign]
    await site.redis.set(site.runtime.names.alive, 1)  # Redis has not just been emptied
    running = asyncio.create_task(worker.async_run())
    try:
        async with asyncio.timeout(60):
            yield worker
    finally:
        async with looking:  # a pipeline of arq's that is cancelled is not closed
            while not running.done():  # Python 3.11's wait_for, in redis-py and arq, may lose a cancellation
                running.cancel()
                await asyncio.wait([running], timeout=1)
        jobs = list(worker.tasks.values())
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs, timeout=10)
        worker.tasks.clear()
        await worker.close()


async def test_links_chains_groups_and_chords_are_followed(site: Site) -> None:
    @site.tasks.task
    async def add(x: int, y: int) -> int:
        return x + y

    @site.tasks.task
    def total(values: list[int]) -> int:
        return sum(values)

    async with stock_worker(site):
        assert await (await chain(add.s(1, 2), add.s(10), add.s(100))()).get(timeout=20) == 113
        assert await (await group(add.s(n, n) for n in range(5))()).get(timeout=20) == [0, 2, 4, 6, 8]
        assert await (await chord([add.s(n, 1) for n in range(4)])(total.s())).get(timeout=20) == 10


async def test_retries_errbacks_and_replacements(site: Site) -> None:
    told: list[Any] = []

    @site.tasks.task(bind=True, max_retries=2)
    async def flaky(self: Any, good_at: int) -> int:
        if self.request.retries < good_at:
            raise self.retry(countdown=0.1)
        return int(self.request.retries)

    @site.tasks.task
    async def tell(id_: str) -> None:
        told.append(id_)

    @site.tasks.task
    async def add(x: int, y: int) -> int:
        return x + y

    @site.tasks.task(bind=True)
    async def instead(self: Any, x: int) -> None:
        raise await self.replace(add.s(x, 1))

    async with stock_worker(site):
        assert await (await flaky.delay(2)).get(timeout=20) == 2
        failed = await flaky.apply_async((5,), link_error=tell.s())
        with pytest.raises(Exception, match="retry"):
            await failed.get(timeout=20)
        assert await (await instead.delay(6)).get(timeout=20) == 7
        assert await (await (instead.s(6) | add.s(10)).apply_async()).get(timeout=20) == 17
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.02)
    assert told == [failed.id]


async def test_a_stock_worker_that_stops_gives_its_jobs_back(site: Site) -> None:
    begun = asyncio.Event()

    @site.tasks.task
    async def sleep() -> str:
        if not begun.is_set():
            begun.set()
            await asyncio.sleep(30)
        return "done"

    async with stock_worker(site):
        job = await sleep.delay()
        await asyncio.wait_for(begun.wait(), 20)
    record = await site.record(job)
    assert (record.state, record.attempt) == ("PENDING", 0)
    async with stock_worker(site):
        assert await job.get(timeout=20) == "done"


async def test_jobs_beyond_the_rate_come_later_by_themselves(site: Site) -> None:
    @site.tasks.task(rate_limit="10/s")
    async def add(x: int) -> int:
        return x

    async with stock_worker(site):
        started = asyncio.get_running_loop().time()
        results = [await add.delay(number) for number in range(6)]
        assert [await result.get(timeout=20) for result in results] == [0, 1, 2, 3, 4, 5]
        assert asyncio.get_running_loop().time() - started > 0.45
    assert {(await site.record(result)).attempt for result in results} == {1}
