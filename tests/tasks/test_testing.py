"""The fixtures that projects use in their own tests."""

from __future__ import annotations

from typing import Any

import pytest

from decant.tasks.testing import celery_worker, start_worker, tasks_worker, tasks_worker_options
from tests.tasks.apps import Site

__all__ = ["celery_worker", "tasks_worker", "tasks_worker_options"]


@pytest.fixture
def site(ledger_url: str, redis_url: str) -> Site:
    return Site(ledger_url, redis_url)


@pytest.fixture
def tasks_app(site: Site) -> Any:
    return site.app


async def test_the_fixture_is_a_worker(site: Site, tasks_worker: Any) -> None:
    assert await (await site.add.delay(1, 2)).get(timeout=10) == 3
    assert tasks_worker.runtime is site.tasks.runtime()
    await site.aclose()


@pytest.mark.parity("celery", "Testing API")
async def test_celerys_name_is_a_worker_too(site: Site, celery_worker: Any) -> None:
    assert await (await site.double.delay(2)).get(timeout=10) == 4
    await site.aclose()


async def test_a_worker_for_a_part_of_a_test_takes_queues(site: Site) -> None:
    result = await site.add.apply_async((1, 2), queue="slow")
    async with start_worker(site.tasks, queues=["slow"], concurrency=1) as worker:
        assert await result.get(timeout=10) == 3
        assert worker.worker.max_jobs == 1
    await site.aclose()


async def test_an_application_without_tasks_is_told_so(site: Site) -> None:
    del site.app.extensions["tasks"]
    with pytest.raises(RuntimeError, match="has no tasks"):
        async with start_worker(site.app):
            pass
