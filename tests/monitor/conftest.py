"""A ledger with rows, as workers would have written them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from decant import Quart
from decant.monitor import Monitor
from decant.tasks import Tasks

from ..ledgers import ledger_database, ledger_url
from . import sample

__all__ = ["ledger_database", "ledger_url"]  # fixtures

HISTORY = """
INSERT INTO decant_jobs (id, task, queue, payload, summary, state, attempt, worker, created, started, finished)
SELECT md5(n::text)::uuid,
       'app.task' || CASE WHEN n % 1000 = 7 THEN 'rare' ELSE (n % 8)::text END,
       CASE WHEN n % 10 = 0 THEN 'slow' ELSE 'default' END, '\\x80', 'user=' || n,
       CASE WHEN n <= {waiting} THEN 'PENDING' WHEN n <= {waiting} + 20 THEN 'STARTED'
            WHEN n % 200 = 0 THEN 'FAILURE' WHEN n % 333 = 0 THEN 'REVOKED' WHEN n % 77 = 0 AND n < 5000 THEN 'RETRY'
            ELSE 'SUCCESS' END,
       1, 'web' || n % 3 || ':1:ab', now() - n * interval '1 second', now() - n * interval '1 second',
       now() - n * interval '1 second' + interval '20 ms'
FROM generate_series(1, {rows}) AS n
"""


@pytest.fixture
async def connection(ledger_url: str) -> AsyncIterator[Any]:
    """To an empty ledger."""
    connection = await asyncpg.connect(ledger_url)
    yield connection
    await connection.close()


@dataclass(frozen=True)
class Site:
    """An application with a monitor at ``/jobs``, what is behind it, and a client."""

    app: Any
    tasks: Tasks
    client: Any
    database_url: str
    redis_url: str

    async def text(self, path: str, status: int = 200, **options: Any) -> str:
        """A page, which has that status."""
        answer = await self.client.get(f"/jobs{path}", **options)
        body = await answer.get_data(as_text=True)
        assert answer.status_code == status, body
        return str(body)

    async def fill(self, jobs: int = 3) -> None:
        """The sample's jobs, workers and schedules, and so many jobs more."""
        await asyncio.to_thread(sample.fill, self.database_url, self.redis_url, jobs=jobs)

    async def token(self) -> str:
        """The token that the pages' forms have."""
        return form_token(await self.text(f"/task/{sample.WAITING}/revoke"))

    async def post(self, path: str, **form: str) -> Any:
        """A form of our own pages."""
        return await self.client.post(f"/jobs{path}", form={"monitor_token": await self.token(), **form})


def form_token(page: str) -> str:
    found = re.search(r'name="monitor_token" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def make_tasks() -> Tasks:
    """An application's tasks: quick ones, one that fails, one that waits to be stopped."""
    tasks = Tasks(set_as_current=False)

    @tasks.task(name="app.add")
    async def add(x: int, y: int) -> int:
        return x + y

    @tasks.task(name="app.fail")
    async def fail(message: str) -> None:
        raise ValueError(message)

    @tasks.task(name="app.hang", bind=True)
    async def hang(self: Any) -> None:
        await self.update_state(state="PROGRESS", meta={"current": 1, "total": 4})
        await asyncio.Event().wait()

    tasks.conf.beat_schedule = {"sum": {"task": "app.add", "schedule": 3600.0, "args": (1, 2)}}
    return tasks


def make_app(
    database_url: str, redis_url: str, tasks: Tasks, config: dict[str, Any] | None = None, **options: Any
) -> Quart:
    """A monitor at ``/jobs``, which everybody may see unless ``options`` say otherwise."""
    app = Quart(__name__)
    app.config.update(SECRET_KEY="secret", REDIS_URL=redis_url, TASKS_DATABASE_URL=database_url, REDIS_DEADLINE_S=10.0)
    app.config.update(config or {})
    tasks.init_app(app)
    app.register_blueprint(Monitor(tasks, **{"guard": lambda: True, **options}), url_prefix="/jobs")
    return app


@pytest.fixture
def make_site(ledger_url: str, redis_url: str) -> Any:
    """``async with make_site(**options) as site:`` options are the monitor's, ``config`` the application's."""

    @asynccontextmanager
    async def made(config: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Site]:
        tasks = await asyncio.to_thread(make_tasks)
        app = await asyncio.to_thread(make_app, ledger_url, redis_url, tasks, config, **options)
        async with app.test_app():
            yield Site(app, tasks, app.test_client(), ledger_url, redis_url)

    return made


@pytest.fixture
async def site(make_site: Any) -> AsyncIterator[Site]:
    """Everybody may see and do everything."""
    async with make_site() as made:
        yield made
