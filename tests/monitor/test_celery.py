"""The jobs of code written for Celery, in a Flask application that knows nothing of a monitor, as all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import flask
import pytest

from decant import Quart
from decant.bridge import bridged
from decant.faces import twin_of
from decant.flask.modules.celery import MODULES
from decant.monitor import Monitor
from decant.tasks.worker import worker_settings
from decant.tasks.worker.service import working

from .conftest import Site, form_token
from .test_acting import until

Celery: Any = MODULES["celery"].names["Celery"]


class Shop:
    """A Flask application with its Celery, as Flask's documentation has them."""

    def __init__(self, **config: Any) -> None:
        self.flask = flask.Flask("shop")
        self.flask.config.update(config)
        self.celery = Celery("shop", set_as_current=False)
        self.celery.config_from_object(
            {
                "broker_url": config["REDIS_URL"],
                "beat_schedule": {"hourly": {"task": "shop.add", "schedule": 3600.0, "args": (1, 2)}},
            }
        )
        self.flask.extensions["celery"] = self.celery
        self.stocked = False

        @self.celery.task(name="shop.add")
        def add(x: int, y: int) -> int:
            return x + y

        @self.celery.task(name="shop.sell")
        def sell(what: str) -> str:
            if not self.stocked:
                raise LookupError(f"no {what} is left")
            return what

        self.app = Quart("monitored")
        self.app.config.update(SECRET_KEY="secret")
        self.app.register_blueprint(Monitor(self.celery, guard=lambda: True), url_prefix="/jobs")

    async def send(self, name: str, *args: Any, **options: Any) -> str:
        """As a view of Flask's asks for a job: in the application's context, without ``await``."""

        async def ask() -> str:
            with self.flask.app_context():
                return str(self.celery.send_task(name, args, **options).id)

        return await bridged(ask())


@pytest.fixture
def shop_of(redis_url: str) -> Any:
    """``async with shop_of(**config) as (shop, site):`` the monitor is served, and nothing is settled yet."""

    @asynccontextmanager
    async def made(**config: Any) -> AsyncIterator[tuple[Shop, Site]]:
        shop = await asyncio.to_thread(Shop, REDIS_URL=redis_url, **config)
        celery = twin_of(shop.celery)
        shown = Site(shop.app, celery, shop.app.test_client(), "", redis_url)
        with shop.flask.app_context():
            async with shop.app.test_app():
                yield shop, shown

    return made


async def ends(site: Site, id_: str, state: str) -> str:
    """The page of a job, once it is in that state."""

    async def there() -> bool:
        record = await site.tasks.runtime().record(UUID(id_))
        return record is not None and record.shown_state == state

    await until(there)
    return await site.text(f"/task/{id_}")


async def test_its_jobs_are_seen_and_run_again_and_revoked(shop_of: Any, ledger_url: str) -> None:
    """The monitor is asked first: it finds out where the jobs are as the application and its worker do."""
    async with shop_of(TASKS_DATABASE_URL=ledger_url) as (shop, site):
        assert "shop.add" in (await (await site.client.get("/jobs/api/task/types")).get_json())["task-types"]
        settings = await asyncio.to_thread(worker_settings, site.tasks, site.tasks.runtime().app)
        async with working(settings, name="seller"):
            id_ = await shop.send("shop.sell", "tea")
            assert "no tea is left" in await ends(site, id_, "FAILURE")
            assert "shop.sell" in await site.text("/tasks?state=FAILURE")
            workers = await until(lambda: _workers(site))
            assert [name.partition(":")[0] for name in workers] == ["seller"]
            shop.stocked = True
            form = {"monitor_token": await _token(site, id_)}
            assert (await site.client.post(f"/jobs/task/{id_}/retry", form=form)).status_code == 303
            assert "tea" in await ends(site, id_, "SUCCESS")
            later = await shop.send("shop.sell", "milk", countdown=600)
            assert (await site.client.post(f"/jobs/task/{later}/revoke", form=form)).status_code == 303
            await ends(site, later, "REVOKED")
            answer = await site.client.post("/jobs/api/task/apply/shop.add?timeout=20", json={"args": [1, 2]})
            assert (await answer.get_json())["result"] == 3
            form["name"] = "hourly"
            assert (await site.client.post("/jobs/schedules/run", form=form)).status_code == 303
            assert "hourly" in await site.text("/schedules")


async def _workers(site: Site) -> list[str]:
    return list(await (await site.client.get("/jobs/api/workers")).get_json())


async def _token(site: Site, id_: str) -> str:
    return form_token(await site.text(f"/task/{id_}/retry"))


async def test_with_redis_alone_there_are_single_jobs_and_no_list(shop_of: Any) -> None:
    async with shop_of() as (shop, site):
        settings = await asyncio.to_thread(worker_settings, *await _settled(site))
        async with working(settings):
            id_ = await shop.send("shop.sell", "tea")
            assert "no tea is left" in await ends(site, id_, "FAILURE")
        assert "TASKS_DURABLE" in await site.text("/tasks", 503)


async def _settled(site: Site) -> tuple[Any, Any]:
    await site.text("/workers")
    return site.tasks, site.tasks.runtime().app
