"""It works wherever it is mounted and whatever it is called."""

from __future__ import annotations

import asyncio
import re

import pytest
from quart import Blueprint

from decant import Quart
from decant.monitor import Monitor

from . import sample
from .conftest import form_token, make_tasks

PAGES = [
    "/", "/workers", f"/worker/{sample.WORKER}", "/tasks", f"/task/{sample.SUCCEEDED}",
    f"/task/{sample.PROGRESSING}/abort", "/schedules", "/queues", "/queues/purge?queue=default",
]  # fmt: skip


def make_app(database_url: str, redis_url: str) -> Quart:
    app, tasks = Quart(__name__), make_tasks()
    app.config.update(SECRET_KEY="secret", REDIS_URL=redis_url, TASKS_DATABASE_URL=database_url)
    tasks.init_app(app)
    app.register_blueprint(Monitor(tasks, guard=lambda: True, name="watch"), url_prefix="/admin/work")
    outer = Blueprint("outer", __name__)
    outer.register_blueprint(Monitor(tasks, guard=lambda: True), url_prefix="/inner")
    app.register_blueprint(outer, url_prefix="/outer")
    return app


@pytest.mark.parity("flower", "url_prefix")
@pytest.mark.parametrize("base", ["/admin/work", "/outer/inner"])
async def test_links_and_forms_stay_below_its_prefix(ledger_url: str, redis_url: str, base: str) -> None:
    app = await asyncio.to_thread(make_app, ledger_url, redis_url)
    async with app.test_app():
        await asyncio.to_thread(sample.fill, ledger_url, redis_url, jobs=3)
        client, page = app.test_client(), ""
        for path in PAGES:
            answer = await client.get(f"{base}{path}")
            page = await answer.get_data(as_text=True)
            assert answer.status_code == 200, page
            found = re.findall(r'(?:action|href|src|data-stream)="(/[^"]*)"', page)
            assert found
            assert [one for one in found if not one.startswith(f"{base}/")] == [], path
        form = {"monitor_token": form_token(page), "queue": "default"}
        answer = await client.post(f"{base}/queues/purge", form=form)
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"{base}/queues?done=purged"
