"""The snippet of docs/monitor.md does what the page says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from quart import session

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
