"""The storage is away: what each limit does, and how it comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from decant.bridge import in_thread
from tests.limiter.asking import statuses
from tests.valkey import Server, running

Make = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


@pytest.fixture
def storage_uri(server: Server) -> str:
    return server.url


def index(app: Any, *decorators: Any) -> None:
    async def index() -> str:
        return "ok"

    view: Any = index
    for decorator in decorators:
        view = decorator(view)
    app.add_url_rule("/", "index", view)


@pytest.mark.parity("limiter", "swallow_errors")
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, [503] * 4),
        ({"swallow_errors": True}, [200] * 4),
        ({"RATELIMIT_ON_STORAGE_ERROR": "allow"}, [200] * 4),
        ({"on_storage_error": "deny"}, [503] * 4),
        ({"on_storage_error": "memory"}, [200, 200, 429, 429]),
    ],
)
async def test_without_storage(limited: Make, server: Server, options: Any, found: list[int]) -> None:
    """Its error (Decant answers it with 503), or what the limiter is told: all pass, none, or counted in memory."""
    app, limiter = limited(REDIS_BREAKER_RESET_S=0.05, **options)
    index(app, limiter.limit("2/day"))
    client = app.test_client()
    assert await statuses(client, "/", 1) == [200]
    server.kill()
    assert await statuses(client, "/", 4) == found
    await in_thread(server.start)
    await asyncio.sleep(0.1)
    assert await statuses(client, "/", 3) == [200, 200, 429], "the server has forgotten all, and counts again"


@pytest.mark.parity("limiter", "in_memory_fallback")
@pytest.mark.parity("limiter", "in_memory_fallback_enabled")
@pytest.mark.parity("limiter", "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED")
@pytest.mark.parametrize(
    ("options", "passing"),
    [
        ({"in_memory_fallback_enabled": True}, 3),
        ({"RATELIMIT_IN_MEMORY_FALLBACK_ENABLED": True}, 3),
        ({"in_memory_fallback": ["1/day"]}, 1),
        ({"RATELIMIT_IN_MEMORY_FALLBACK": "2/day"}, 2),
    ],
)
async def test_in_memory_fallback(
    limited: Make, server: Server, options: Any, passing: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The same limits in memory, or others; the headers go on; the log says once that it is away, once that it is
    back."""
    app, limiter = limited(headers_enabled=True, REDIS_BREAKER_RESET_S=0.05, **options)
    index(app, limiter.limit("3/day"))
    client = app.test_client()
    server.kill()
    caplog.set_level("INFO", "decant.limiter")
    assert await statuses(client, "/", 4) == [200] * passing + [429] * (4 - passing)
    assert (await client.get("/")).headers["X-RateLimit-Limit"] == str(passing)
    async with app.app_context():
        assert type(limiter.limiter.storage).__name__ == "MemoryStorage"
    await in_thread(server.start)
    await asyncio.sleep(0.1)
    assert await statuses(client, "/", 4) == [200, 200, 200, 429]
    texts = [record.message for record in caplog.records if record.name == "decant.limiter"]
    assert len([text for text in texts if text.startswith("Rate limit storage unreachable")]) == 1
    assert texts.count("Rate limit storage recovered") == 1


async def test_each_limit_may_say_what_it_does_without_storage(limited: Make, server: Server) -> None:
    """on_storage_error of a limit wins over the limiter's; of several limits, one that denies is enough."""
    app, limiter = limited(on_storage_error="allow", application_limits=["9/day"])

    def view(name: str, *limits: Any) -> None:
        async def view() -> str:
            return "ok"

        view.__name__ = view.__qualname__ = name
        made: Any = view
        for limit in limits:
            made = limit(made)
        app.add_url_rule(f"/{name}", name, made)

    view("open", limiter.limit("1/day"))
    view("closed", limiter.limit("1/day", on_storage_error="deny"))
    view("counted", limiter.limit("2/day", on_storage_error="memory"))
    view("both", limiter.limit("2/day", on_storage_error="memory"), limiter.limit("2/day", on_storage_error="deny"))
    server.kill()
    client = app.test_client()
    assert await statuses(client, "/open", 3) == [200] * 3
    assert await statuses(client, "/counted", 3) == [200, 200, 429]
    assert await statuses(client, "/both", 2) == [503] * 2
    response = await client.get("/closed")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_storage_that_hangs_costs_its_deadline_once(limited: Make, server: Server) -> None:
    """storage_options["deadline_s"] bounds it; then the circuit breaker answers at once."""
    app, limiter = limited(
        in_memory_fallback_enabled=True,
        storage_options={"deadline_s": 2, "breaker_failures": 1, "breaker_reset_s": 300},
    )
    index(app, limiter.limit("5/day"))
    client = app.test_client()
    assert await statuses(client, "/", 1) == [200]
    server.freeze()
    started = time.monotonic()
    assert await statuses(client, "/", 2) == [200, 200]
    assert time.monotonic() - started < 20
    async with app.app_context():
        breaker = limiter.storage.redis.lane().breaker
    refused = breaker.refused
    assert await statuses(client, "/", 4) == [200] * 3 + [429]
    assert breaker.refused >= refused + 4


async def test_deductions_by_response_survive_a_storage_that_goes_away(limited: Make, server: Server) -> None:
    """deduct_when counts after the view: in memory, if that is where its limit goes."""
    app, limiter = limited(in_memory_fallback_enabled=True)

    @app.get("/")
    @limiter.limit("2/day", deduct_when=lambda response: True)
    async def view() -> str:
        await in_thread(server.kill)
        return "ok"

    assert await statuses(app.test_client(), "/", 3) == [200, 200, 429]


async def test_a_key_of_another_kind_is_a_storage_error(limited: Make, server: Server) -> None:
    """Another strategy has used the same keys: the server refuses, and the limiter does what it is told."""
    app, limiter = limited(key_func=lambda: "me", strategy="moving-window", on_storage_error="memory")
    index(app, limiter.limit("1/day"))
    async with app.app_context():
        await limiter.storage.incr("LIMITER/me/index/1/1/day", 1000)
    assert await statuses(app.test_client(), "/", 2) == [200, 429]
