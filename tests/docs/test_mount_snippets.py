"""The snippets of docs/mount.md do what the page says."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from decant.flask.listing import list_routes
from decant.tasks.ledger.tables import metadata
from decant.tasks.testing import start_worker

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
def snippet(no_blocking: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> Any:
        no_blocking.deactivate()
        try:
            module = importlib.import_module(name)
            _ = module.app.test_client_class  # imported now
        finally:
            no_blocking.activate()
        return module

    yield load
    for name in [name for name in sys.modules if name.startswith("mount_")]:
        del sys.modules[name]


def halves(app: Any) -> dict[str, str]:
    return {route.rule: route.half for route in list_routes(app) if route.endpoint != "static" and not route.hidden}


@pytest.mark.parametrize(("name", "half"), [("mount_empty", "flask"), ("mount_moved", "quart")])
async def test_moving_a_route(snippet: Any, name: str, half: str) -> None:
    """The application answers the same before and after; only who answers has changed."""
    module = snippet(name)
    assert halves(module.app) == {"/": "flask", "/about": "flask", "/<slug>": half}
    client = module.app.test_client()
    assert await (await client.get("/about")).get_data(as_text=True) == "about us"
    page = await (await client.get("/news", follow_redirects=True)).get_data(as_text=True)
    assert "<p>news was followed</p>" in page
    assert "<p>1 visits</p>" in page
    assert '<a href="/docs">' in page
    assert "was followed" not in await (await client.get("/")).get_data(as_text=True)


@pytest.fixture
def servers_known(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    return database_url


async def test_what_is_shared(
    servers_known: str, snippet: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METRICS_TOKEN", "secret")
    with pytest.warns(UserWarning, match="can run code"):
        module = snippet("mount_shared")
    logging.getLogger("shop").setLevel("INFO")
    module.app.config["REDIS_DEADLINE_S"] = 10.0
    client = module.app.test_client()
    async with module.app.test_app():
        async with module.app.app_context():
            await module.async_db.create_all()
        assert (await client.post("/words/hello")).status_code == 204
        assert (await client.post("/words/world")).status_code == 204
        answer = await client.get("/words/newest", headers={"X-Request-ID": "abc"})
        assert await answer.get_json() == {"newest": "world", "words": 2}
        assert (await client.get("/words/newest")).status_code == 429
        assert (await client.post("/words/again")).status_code == 429
        page = await client.get("/metrics", headers={"Authorization": "Bearer secret"})
        assert 'decant_requests_total{endpoint="keep",half="flask",method="POST"}' in await page.get_data(as_text=True)
        assert (await client.get("/metrics")).status_code == 401
    assert "INFO abc 2 words" in capsys.readouterr().err
    assert module.app.extensions["decant.flask"].notes == []


async def test_jobs(servers_known: str, snippet: Any) -> None:
    engine = create_engine(make_url(servers_known).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()
    module = snippet("mount_tasks")
    client = module.app.test_client()
    async with module.app.test_app(), start_worker(module.app):
        answer = await client.post("/legacy/add", json={"x": 1, "y": 2})
        assert answer.status_code == 202
        identity = (await answer.get_json())["id"]
        async with module.app.app_context():
            assert await module.add.AsyncResult(identity).get(timeout=20) == 3
        assert await (await client.get(f"/jobs/{identity}")).get_json() == {"state": "SUCCESS", "result": 3}
