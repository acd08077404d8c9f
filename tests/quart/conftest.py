"""What the tests of ``decant.Quart`` share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from decant import Quart
from tests.serving import serve


@pytest.fixture
def app() -> Iterator[Quart]:
    """An empty application, whose threads end with the test."""
    app = Quart(__name__, root_path=str(Path(__file__).parent))
    app.secret_key = "for tests"
    yield app
    app.workers.close()


@pytest.fixture
async def served() -> AsyncIterator[Callable[..., Any]]:
    """``await served(app)`` serves an application until the test ends; gives ``(host, port)``."""
    async with AsyncExitStack() as stack:

        async def start(app: Any, **options: Any) -> tuple[str, int]:
            url = await stack.enter_async_context(serve(app, **options))
            host, _, port = url.removeprefix("http://").rpartition(":")
            return host, int(port)

        yield start
