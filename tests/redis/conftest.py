"""A Valkey of the test's own, to be killed and frozen, and clients that differ in their options."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from decant.redis import Redis
from decant.redis.options import options_from
from tests.valkey import Server, running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


Make = Callable[..., Redis]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Make clients: ``make(url, deadline_s=…)``; they are closed with the test."""
    made: list[Redis] = []

    def make_client(url: str, **options: Any) -> Redis:
        made.append(Redis(options_from({}, url, **options)))
        return made[-1]

    yield make_client
    for client in made:
        await client.aclose()


@pytest.fixture
def redis(make: Make, redis_url: str) -> Redis:
    """A client of the shared server, with a deadline that a busy machine keeps."""
    return make(redis_url, deadline_s=30.0)
