"""The snippets of docs/executor.md do what the page says."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
def snippet(no_blocking: BlockBuster) -> Any:
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


async def test_views(snippet: Any) -> None:
    module = snippet("executor_views")
    client = module.app.test_client()
    assert await (await client.get("/resized?image=cat")).get_json() == {
        "one": "cat at 100 for ada",
        "many": ["cat at 200 for ada", "cat at 300 for ada"],
        "coroutine": "ADA",
        "waiting": "BOB",
    }
    assert (await client.get("/reports/unknown")).status_code == 200
    future_key = "yearly"
    module.app.before_request(_be_ada)
    assert (await client.post(f"/reports/{future_key}?image=dog")).status_code == 202
    await module.executor.drain(60)
    assert await (await client.get(f"/reports/{future_key}")).get_json() == {"report": "dog at 400 for ada"}


async def _be_ada() -> None:
    from quart import g

    g.user = "ada"


def test_flask(snippet: Any) -> None:
    module = snippet("executor_flask")
    answer = module.app.test_client().get("/fib/10").get_json()
    assert answer == {"one": 55, "all": [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]}
    module.executor.shutdown()


async def test_processes(snippet: Any) -> None:
    module = snippet("executor_processes")
    answer = await (await module.app.test_client().get("/digits/1000")).get_json()
    assert answer == {"bits": math.factorial(1000).bit_length()}
    async with module.app.app_context():
        await module.cpu.drain(60)
        await module.executor.drain(60)
