"""An application with tasks, and a real worker in the test's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import quart

from decant.tasks import Tasks
from decant.tasks.worker.service import working
from decant.tasks.worker.settings import worker_settings


class Site:
    """A Quart application whose tasks are in ``tasks``; those of :func:`arithmetic` are attributes."""

    def __init__(self, database_url: str, redis_url: str, **config: Any) -> None:
        self.app = quart.Quart(__name__)
        urls = {"TASKS_DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.app.config |= {**urls, "REDIS_DEADLINE_S": 5, "TASKS_LEASE_S": 10, **config}  # a busy machine keeps it
        self.tasks = Tasks()
        self.called: list[Any] = []
        self.gate = asyncio.Event()
        arithmetic(self)
        self.tasks.init_app(self.app)

    def __getattr__(self, name: str) -> Any:
        return self.tasks.tasks[name]

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Any]:
        """Within it a worker runs the jobs."""
        async with working(worker_settings(self.tasks, self.app), grace_s=1, **options) as service:
            yield service

    async def aclose(self) -> None:
        await self.tasks.runtime(self.app).aclose()


def arithmetic(site: Site) -> None:
    """Tasks to compose: what they are called with is kept in ``site.called``."""
    task = site.tasks.task

    @task(name="add")
    async def add(x: Any, y: Any) -> Any:
        return x + y

    @task(name="double")
    def double(x: Any) -> Any:
        return 2 * x

    @task(name="total")
    async def total(numbers: list[Any]) -> Any:
        return sum(numbers)

    @task(name="fail")
    async def fail(*args: Any) -> None:
        raise ValueError("as it should")

    @task(name="note")
    async def note(*args: Any) -> Any:
        site.called.append(args)
        return args

    @task(name="wait_for_gate")
    async def wait_for_gate() -> str:
        await site.gate.wait()
        return "passed"
