"""Applications with a limiter, on every kind of storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster

import decant
import decant.testing.client
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address
from tests.ports import kept_port

MakeLimited = Callable[..., tuple[Any, Limiter]]
STRATEGIES = ["fixed-window", "moving-window", "sliding-window-counter"]


@pytest.fixture(params=["redis", "memory"])
def storage_uri(request: pytest.FixtureRequest) -> str:
    """Of an empty storage."""
    return request.getfixturevalue("redis_url") if request.param == "redis" else "memory://"


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Where no server listens, nor one of another test begins to."""
    with kept_port() as kept:
        yield int(kept.getsockname()[1])


@pytest.fixture
async def limited(no_blocking: BlockBuster, storage_uri: str) -> AsyncIterator[MakeLimited]:
    """Make a Quart application and its limiter: ``limited(RATELIMIT_DEFAULT="1/day", on_breach=…)``.

    Upper case is configuration, lower case is the limiter's.
    """
    apps: list[Any] = []

    def make(key_func: Any = get_remote_address, app: Any = None, **options: Any) -> tuple[Any, Limiter]:
        config = {key: value for key, value in options.items() if key.isupper()}
        given = {key: value for key, value in options.items() if not key.isupper()}
        no_blocking.deactivate()  # as before a server's loop runs
        try:
            app = decant.Quart("limited") if app is None else app
            app.config.update({"RATELIMIT_STORAGE_URI": storage_uri, "REDIS_DEADLINE_S": 30.0, **config})
            limiter = Limiter(key_func, app=app, **given)
        finally:
            no_blocking.activate()
        apps.append(app)
        return app, limiter

    yield make
    for app in apps:
        for redis in app.extensions.get("decant.redis", {}).values():
            await redis.aclose()
