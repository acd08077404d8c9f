"""The snippet of docs/monitor.md does what the page says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from quart import session

from tests.flask.programs import run_program

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
def client() -> Any:
    """A client of the snippet's application, in which one can be anybody."""
    app = runpy.run_path(str(FOLDER / "monitor_app.py"))["app"]

    @app.route("/as/<name>")
    async def as_somebody(name: str) -> str:
        session["user"] = name
        return name

    return app.test_client()


async def test_who_is_not_logged_in_is_led_there_and_others_are_refused(client: Any) -> None:
    answer = await client.get("/jobs/workers")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/log-in")
    await client.get("/as/mallory")
    assert (await client.get("/jobs/workers")).status_code == 403
    await client.get("/as/ada")
    assert (await client.get("/jobs/healthcheck")).status_code == 200
    assert (await client.get("/jobs/queues/purge")).status_code == 400


SHOP = """
from decant.flask import install

install()
import asyncio, base64, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, ".")
from celery.contrib.testing.worker import start_worker
from monitored import app
from shop import app as shop, celery, db

with shop.app_context():
    db.create_all()


async def page(client, path, password):
    answer = await client.get(path, headers={"Authorization": "Basic " + base64.b64encode(password).decode()})
    return answer.status_code, await answer.get_data(as_text=True)


async def main(job):
    async with app.test_app(), asyncio.timeout(40):
        client = app.test_client()
        print((await page(client, "/jobs/tasks", b"ada:wrong"))[0])
        while "FAILURE" not in (text := (await page(client, f"/jobs/task/{job}", b"ada:right"))[1]):
            await asyncio.sleep(0.05)
        print("shop.rename" in text, "has no attribute" in text)
        print("shop.rename" in (await page(client, "/jobs/tasks?state=FAILURE", b"ada:right"))[1])


with start_worker(celery):
    job = shop.test_client().post("/products/7/rename", data={"name": "tea"}).json["job"]
    asyncio.run(main(job))
"""


def test_the_jobs_of_an_unmodified_shop(redis_url: str, database_url: str, tmp_path: Path) -> None:
    environment = {
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}",
        "TASKS_DATABASE_URL": database_url,
        "MONITOR_KEY": "key",
        "MONITOR_PASSWORD": "right",
    }
    out = run_program(SHOP, cwd=FOLDER / "install", **environment)
    assert out.splitlines() == ["401", "True True", "True"]
