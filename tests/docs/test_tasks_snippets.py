"""The snippets of docs/tasks.md do what the page says, with real workers."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from decant.tasks.ledger.tables import metadata
from decant.tasks.testing import start_worker

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
def snippet(no_blocking: BlockBuster, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        no_blocking.deactivate()
        try:
            spec.loader.exec_module(module)
            _ = module.app.test_client_class  # imported now
        finally:
            no_blocking.activate()
        return module

    return load


async def test_the_smallest_example(snippet: Any) -> None:
    module = snippet("tasks_add")
    client = module.app.test_client()
    async with module.app.test_app(), start_worker(module.app):
        answer = await client.post("/add", json={"x": 1, "y": 2})
        assert answer.status_code == 202
        url = (await answer.get_json())["url"]
        async with module.app.app_context():
            assert await module.tasks.AsyncResult(url.rpartition("/")[2]).get(timeout=20) == 3
        assert await (await client.get(url)).get_json() == {"state": "SUCCESS", "result": 3}
        assert module.WorkerSettings.queue_name == "decant:queue:default"


async def test_a_job_joins_the_transaction_and_commits_with_its_own(snippet: Any) -> None:
    module = snippet("tasks_orders")
    async with module.app.test_app(), start_worker(module.app):
        async with module.app.app_context():
            await module.db.create_all()
            module.db.session.add(module.Order(id=7))
            await module.db.session.commit()
        client = module.app.test_client()
        assert (await client.post("/orders/7/pay")).status_code == 204
        assert (await client.post("/orders/8/pay")).status_code == 404
        async with asyncio.timeout(20), module.app.app_context():
            while (order := await module.db.session.get(module.Order, 7, populate_existing=True)).bookings == 0:
                await module.db.session.rollback()
            assert (order.paid, order.bookings) == (True, 1)


async def test_canvas_processes_progress_and_schedule(snippet: Any) -> None:
    module = snippet("tasks_more")
    async with module.app.test_app(), start_worker(module.app), module.app.app_context():
        after_each_other, at_once, and_then = await module.canvas()
        assert await after_each_other.get(timeout=20) == 12
        assert await at_once.get(timeout=20) == ["page 0", "page 1", "page 2"]
        assert await and_then.get(timeout=20) == 18
        async with asyncio.timeout(20), module.tasks.runtime(module.app).ledger.connection() as connection:
            while len(rows := await connection.fetch("SELECT name FROM decant_schedule ORDER BY name")) < 2:
                await asyncio.sleep(0.05)  # the worker's clock starts beside its jobs
        assert [row["name"] for row in rows] == ["every minute", "on Monday morning"]


def test_flask(snippet: Any) -> None:
    module = snippet("tasks_flask")
    client = module.app.test_client()
    identity = client.post("/add", json={"x": 1, "y": 2}).get_json()["id"]
    assert client.get(f"/jobs/{identity}").get_json() == {"state": "PENDING", "result": None}

    async def work() -> None:
        async with start_worker(module.app):
            assert await asyncio.to_thread(wait) == 3

    def wait() -> Any:
        with module.app.app_context():
            return module.add.AsyncResult(identity).get(timeout=20)

    asyncio.run(work())
    assert client.get(f"/jobs/{identity}").get_json() == {"state": "SUCCESS", "result": 3}
