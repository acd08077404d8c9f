"""One Redis for a Flask half with Flask-Limiter and a Quart half with ours: they count together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import flask
import flask_limiter
import flask_limiter.util
import pytest
from redis import Redis

import decant.testing.client  # noqa: F401 - reads metadata when it is first imported
from decant.bridge import in_thread
from decant.limiter.util import get_remote_address
from tests.limiter.asking import statuses

OPTIONS: dict[str, Any] = {"key_prefix": "shop", "headers_enabled": True}


@pytest.fixture
def storage_uri(redis_url: str) -> str:
    return redis_url


@pytest.fixture
def flask_client(redis_url: str, strategy: str) -> Any:
    """Of the Flask half."""
    app = flask.Flask("flask_half")
    limiter = flask_limiter.Limiter(
        flask_limiter.util.get_remote_address,
        app=app,
        storage_uri=redis_url,
        strategy=strategy,
        application_limits=["8/day"],
        meta_limits=["3/day"],
        **OPTIONS,
    )
    _routes(app, limiter, lambda: "ok")
    return app.test_client()


def _routes(app: Any, limiter: Any, view: Any) -> None:
    for name, limit in (
        ("index", limiter.limit("4/hour; 6/day")),
        ("shared", limiter.shared_limit("2/hour", scope="both")),
        ("method", limiter.limit("2/hour", per_method=True, scope="part")),
        ("costly", limiter.limit("8/hour", cost=3)),
    ):
        named: Any = (lambda view: lambda: view())(view) if not asyncio.iscoroutinefunction(view) else _copied(view)
        named.__name__ = named.__qualname__ = name
        app.add_url_rule(f"/{name}", name, limit(named))


def _copied(view: Any) -> Any:
    async def copy() -> Any:
        return await view()

    return copy


@pytest.mark.parity("limiter", "storage_uri, storage_options")
@pytest.mark.parametrize(("path", "passing"), [("/index", 4), ("/shared", 2), ("/method", 2), ("/costly", 2)])
@pytest.mark.parametrize("quart_first", [True, False])
async def test_both_halves_count_together(
    limited: Callable[..., Any], flask_client: Any, strategy: str, path: str, passing: int, quart_first: bool
) -> None:
    """The same requests, by turns: as many pass as in one of them alone; what remains is told alike."""

    async def view() -> str:
        return "ok"

    app, limiter = limited(
        get_remote_address, strategy=strategy, application_limits=["8/day"], meta_limits=["3/day"], **OPTIONS
    )
    _routes(app, limiter, view)
    quart_client = app.test_client()
    found = []
    for i in range(passing + 2):
        if (i % 2 == 0) == quart_first:
            response: Any = await quart_client.get(path)
        else:
            response = await in_thread(flask_client.get, path)
        remaining = int(response.headers["X-RateLimit-Remaining"])
        found.append((response.status_code, remaining))
    assert [status for status, _ in found] == [200] * passing + [429, 429]
    told = [remaining for _, remaining in found[:passing]]
    cost = 3 if path == "/costly" else 1
    amount = {"/index": 4, "/shared": 2, "/method": 2, "/costly": 8}[path]
    assert told == [amount - cost * (i + 1) for i in range(passing)]


async def test_both_halves_use_the_same_keys(
    limited: Callable[..., Any], flask_client: Any, redis_url: str, strategy: str
) -> None:
    """Names and types, for limits, application limits and meta limits, and as long a life."""

    async def view() -> str:
        return "ok"

    def keys() -> dict[bytes, tuple[bytes, bool]]:
        with Redis.from_url(redis_url) as redis:
            found = {key: (redis.type(key), redis.ttl(key) > 0) for key in redis.keys("LIMITS*")}
            redis.flushdb()
        return found

    app, limiter = limited(
        get_remote_address, strategy=strategy, application_limits=["8/day"], meta_limits=["3/day"], **OPTIONS
    )
    _routes(app, limiter, view)
    client = app.test_client()
    assert await statuses(client, "/shared", 3) + await statuses(client, "/method", 1) == [200, 200, 429, 200]
    ours = await in_thread(keys)
    for path in ("/shared", "/shared", "/shared", "/method"):
        await in_thread(flask_client.get, path)
    theirs = await in_thread(keys)
    assert ours == theirs
    assert len(ours) == 4
