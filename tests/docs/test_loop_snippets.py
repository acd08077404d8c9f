"""The snippet of docs/loop.md does what the page says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.flask.loop_asking import ask
from tests.serving import serve

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
def module() -> Any:
    spec = importlib.util.spec_from_file_location("loop_views", FOLDER / "loop_views.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_views_run_where_the_page_says(module: Any) -> None:
    """On the loop the test's guard would refuse what blocks."""
    async with serve(module.serving) as url:
        assert await ask(url, "/links") == (200, '["one","two"]\n')
        assert await ask(url, "/legacy") == (200, "slept")
        assert (await ask(url, "/digest"))[0] == 200
        assert await ask(url, "/reports") == (200, "reports")
        assert await ask(url, "/reports", "POST") == (201, "made")
        assert await ask(url, "/admin/") == (200, "overview")
    places = {
        path: module.serving.placing.place({"type": "http", "method": method, "path": path, "headers": []})
        for method, path in [("GET", "/links"), ("GET", "/legacy"), ("GET", "/digest"), ("GET", "/admin/")]
    }
    assert places == {"/links": "loop", "/legacy": "thread", "/digest": "thread", "/admin/": "thread"}
