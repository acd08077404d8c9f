"""An application with tasks, and somebody who runs its jobs as a worker does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from multiprocessing import forkserver
from typing import Any
from uuid import UUID

import arq
import pytest
import quart
from arq.connections import ArqRedis
from blockbuster import BlockBuster

from decant.database import SQLAlchemy
from decant.redis import client
from decant.tasks import Tasks
from decant.tasks.codec import decode, decode_arq, decode_error
from decant.tasks.running import child
from decant.tasks.running.state import running_of
from decant.tasks.running.wrapper import run_job


@pytest.fixture(scope="module", autouse=True)
def own_forkserver() -> None:
    """One that other tests have started has imported nothing of what our processes need, a second for each of them."""
    if child.__name__ not in forkserver._forkserver._preload_modules:
        forkserver._forkserver._stop()  # there for tests


class Recorder:
    """Keeps the events of jobs."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def record(self, type: str, **fields: Any) -> None:  # noqa: A002
        self.events.append({"type": type, **fields})

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


class Site:
    """One application, and the workers that the test calls by name."""

    def __init__(self, app: Any, db: SQLAlchemy, tasks: Tasks) -> None:
        self.app, self.db, self.tasks = app, db, tasks
        self.runtime = tasks.runtime(app)
        self.recorder = Recorder()
        self.redis: Any = ArqRedis.from_url(app.config["REDIS_URL"])

    @property
    def running(self) -> Any:
        return running_of(self.tasks, self.app, {"worker": "worker"})

    def ctx(self, worker: str = "worker", job_try: int = 1) -> dict[str, Any]:
        return {"worker": worker, "lease_s": 10.0, "recorder": self.recorder, "redis": self.redis, "job_try": job_try}

    async def run(self, job: Any, worker: str = "worker", job_try: int = 1) -> float | None:
        """Run a job once: the seconds after which it is to be run again, or ``None``."""
        id_ = str(getattr(job, "id", job))
        record = await self.runtime.record(UUID(id_))
        definition = await self.redis.get(f"arq:job:{id_}")
        args = decode_arq(definition)["a"] if definition else [record.task, id_]  # type: ignore[union-attr]
        try:
            await run_job(self.tasks, self.app, self.ctx(worker, job_try), *args)
        except arq.Retry as retry:
            return (retry.defer_score or 0) / 1000
        return None

    async def done(self, job: Any) -> Any:
        """Run a job, and its record after that."""
        assert await self.run(job) is None
        return await self.record(job)

    async def record(self, job: Any) -> Any:
        """What is known of a job."""
        return await self.runtime.record(UUID(str(getattr(job, "id", job))))

    async def value(self, job: Any) -> Any:
        """Its result."""
        record = await self.record(job)
        assert record.state == "SUCCESS", (record.state, record.error and decode(record.error))
        return None if record.result is None else decode(record.result)

    async def error(self, job: Any, known: tuple[type[BaseException], ...] = ()) -> Any:
        """How it failed."""
        return decode_error((await self.record(job)).error, known)

    async def sql(self, statement: str, *args: Any) -> Any:
        """A value of the database, on a connection of its own."""
        async with self.runtime.ledger.connection() as connection:
            return await connection.fetchval(statement, *args)

    async def aclose(self) -> None:
        for worker in ("worker", "another"):
            running_of(self.tasks, self.app, {"worker": worker}).close()
        await self.runtime.aclose()
        await self.redis.aclose(close_connection_pool=True)
        await client(self.app).aclose()


@pytest.fixture
async def make_site(ledger_url: str, redis_url: str, no_blocking: BlockBuster) -> AsyncIterator[Callable[..., Site]]:
    """Makes sites: ``make_site(framework, **config)``, Quart's by default. Their table ``note`` has a ``text``."""
    sites: list[Site] = []

    def make(
        framework: Any = quart.Quart, database_url: str = ledger_url, tasks: Tasks | None = None, **config: Any
    ) -> Site:
        no_blocking.deactivate()  # as before a server's loop runs
        try:
            db = SQLAlchemy()
            app = framework("site")
            urls = {"SQLALCHEMY_DATABASE_URI": database_url, "REDIS_URL": redis_url}
            app.config.update(urls, REDIS_DEADLINE_S=5, **config)  # a busy machine keeps it
            db.init_app(app)
            tasks = tasks or Tasks()
            tasks.init_app(app)
            assert tasks.runtime(app).conf.tz  # its zone is read from a file once
            sites.append(Site(app, db, tasks))
        finally:
            no_blocking.activate()
        return sites[-1]

    yield make
    for site in sites:
        await site.aclose()


@pytest.fixture
async def site(make_site: Callable[..., Site]) -> Site:
    """A Quart application's, with the table ``note``."""
    made = make_site()
    await made.sql("CREATE TABLE note (id serial PRIMARY KEY, text text NOT NULL)")
    return made
