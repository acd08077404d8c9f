"""The snippets of docs/cache.md do what the page says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from blockbuster import BlockBuster

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
def snippet(no_blocking: BlockBuster) -> Any:
    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        no_blocking.deactivate()
        try:
            spec.loader.exec_module(module)
            if hasattr(module.app, "workers"):
                _ = module.app.test_client_class  # imported now
        finally:
            no_blocking.activate()
        return module

    return load


async def test_views(snippet: Any) -> None:
    module = snippet("cache_views")
    client = module.app.test_client()
    assert await (await client.get("/")).get_data(as_text=True) == "<nav>…</nav>42 users"
    async with module.app.app_context():
        assert await module.cache.has("view//")
    assert await (await client.get("/search?q=1")).get_json() == {"results": []}
    assert (await client.post("/users")).status_code == 201
    async with module.app.app_context():
        assert not await module.cache.has("view//")
    module.app.workers.close()


async def test_more(snippet: Any) -> None:
    module = snippet("cache_more")
    client = module.app.test_client()
    first = await client.get("/links/7")
    assert first.headers["Cache-Control"].startswith("public, max-age=")
    assert (await client.get("/links/7", headers={"If-None-Match": first.headers["ETag"]})).status_code == 304
    await client.post("/links/7/Renamed")
    assert await (await client.get("/links/7")).get_data() == b"Renamed"
    ada = module.app.test_client()
    await ada.get("/login/ada")
    for _ in range(2):
        assert await (await ada.get("/dashboard")).get_data() == b"Hello ada"
        assert await (await client.get("/dashboard")).get_data() == b"Hello you"


def test_flask(snippet: Any) -> None:
    client = snippet("cache_flask").app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["computed 1 times"] * 2
