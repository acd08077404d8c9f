"""The snippets of docs/limiter.md do what the page says."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from blockbuster import BlockBuster

import decant.testing.client  # noqa: F401 - reads metadata when it is first imported

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
async def snippet(no_blocking: BlockBuster, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setenv("REDIS_URL", redis_url)
    loaded: list[ModuleType] = []

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        no_blocking.deactivate()
        try:
            spec.loader.exec_module(module)
        finally:
            no_blocking.activate()
        loaded.append(module)
        return module

    yield load
    for module in loaded:
        for redis in module.app.extensions.get("decant.redis", {}).values():
            await redis.aclose()


async def test_views(snippet: Any) -> None:
    client = snippet("limiter_views").app.test_client()
    response = await client.get("/")
    assert response.headers["X-RateLimit-Limit"] == "100"
    for _ in range(5):
        assert (await client.post("/log-in", form={"password": "secret"})).status_code == 200
    answers = [(await client.post("/log-in", form={"password": "guess"})).status_code for _ in range(4)]
    assert answers == [401, 401, 401, 429]
    assert await (await client.get("/report")).get_data(as_text=True) == "a short report"
    assert (await client.get("/report?full")).status_code == 200
    denied = await client.get("/report?full")
    assert denied.status_code == 429
    told = await denied.get_json()
    assert told["limit"] == "1 per 1 day"
    assert told["again_at"] == int(denied.headers["X-RateLimit-Reset"])


def test_flask(snippet: Any) -> None:
    client = snippet("limiter_flask").app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["1 left", "0 left"]
    assert client.get("/").status_code == 429


async def test_concurrency(snippet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = snippet("limiter_concurrency")
    client = module.app.test_client()

    async def asked(path: str, times: int) -> list[Any]:
        """What is served ends once two were refused."""
        refused = asyncio.Event()
        monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=lambda _: refused.wait()))
        asking = {asyncio.create_task(client.get(path)) for _ in range(times)}
        async with asyncio.timeout(30):
            while sum(task.done() for task in asking) < 2:
                await asyncio.sleep(0.01)
        refused.set()
        return await asyncio.gather(*asking)

    responses = await asked("/export", 5)
    assert sorted(response.status_code for response in responses) == [200, 200, 200, 503, 503]
    assert {response.headers.get("Retry-After") for response in responses} == {None, "1"}
    responses = await asked("/import", 3)
    assert sorted(response.status_code for response in responses) == [200, 503, 503]
