"""The snippets of docs/shim.md do what the page says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.serving import serve

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("shim_serve")
    for name in ("shim_serve", "shim_test"):
        sys.modules.pop(name, None)


async def test_the_application_is_served(served: Any) -> None:
    async with serve(served.asgi_app) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/hello/ada") as answer:
            assert await answer.text() == "hello ada, from 127.0.0.1"
        async with session.get(f"{url}/events") as answer:
            assert answer.content_type == "text/event-stream"
            assert await answer.text() == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_its_test_passes(served: Any) -> None:
    importlib.import_module("shim_test").test_hello_through_wsgi_and_through_asgi()
