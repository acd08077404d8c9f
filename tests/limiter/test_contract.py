"""What every storage and every strategy does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from limits import parse
from redis import Redis

from decant.bridge import in_thread
from decant.limiter import RateLimitExceeded, RequestLimit
from tests.limiter.asking import statuses

pytestmark = pytest.mark.parity("limiter", "strategy")
LIMITED = [200, 200, 200, 429, 429]


@pytest.mark.parity("limiter", "limit(...)")
@pytest.mark.parity("limiter", "key_func")
async def test_a_limit_lets_so_many_pass_and_denies_the_rest(limited: Callable[..., Any], strategy: str) -> None:
    """Each key, each endpoint and each limit counts for itself; async views and synchronous ones."""
    app, limiter = limited(key_func=lambda: "everybody", strategy=strategy)

    @app.get("/async")
    @limiter.limit("3/day")
    async def one() -> str:
        return "ok"

    @app.get("/sync")
    @limiter.limit("3/day", key_func=lambda: "somebody")
    def two() -> str:
        return "ok"

    @app.get("/free")
    async def free() -> str:
        return "ok"

    client = app.test_client()
    assert await statuses(client, "/async", 5) == LIMITED
    assert await statuses(client, "/sync", 5) == LIMITED
    assert await statuses(client, "/free", 5) == [200] * 5


async def test_the_window_passes(limited: Callable[..., Any], strategy: str) -> None:
    """After its time, a limit lets pass again."""
    app, limiter = limited(strategy=strategy)

    @app.get("/")
    @limiter.limit("2/second")
    async def index() -> str:
        return "ok"

    client = app.test_client()
    passed_s = 2.05 if strategy == "sliding-window-counter" else 1.05

    async def within_a_window() -> list[int]:
        while True:
            started = time.monotonic()
            found = await statuses(client, "/", 3)
            if time.monotonic() - started < 0.9:
                return found
            await asyncio.sleep(passed_s)  # the machine was busy: it took longer than the window

    assert await within_a_window() == [200, 200, 429]
    await asyncio.sleep(passed_s)
    assert await within_a_window() == [200, 200, 429]


async def test_a_denied_request_does_not_consume_the_other_limits(limited: Callable[..., Any], strategy: str) -> None:
    """Differs from Flask-Limiter: its limits of shorter windows are counted even if a longer one denies."""
    app, limiter = limited(strategy=strategy)

    @app.get("/")
    @limiter.limit("10/hour")
    @limiter.limit("2/day")
    async def index() -> str:
        return "ok"

    @app.errorhandler(429)
    async def tell(error: RateLimitExceeded) -> Any:
        return {str(limit.limit): limit.remaining for limit in limiter.current_limits}, 429

    client = app.test_client()
    assert await statuses(client, "/", 2) == [200, 200]
    for _ in range(3):
        response = await client.get("/")
        assert (response.status_code, await response.get_json()) == (429, {"10 per 1 hour": 8, "2 per 1 day": 0})


async def test_a_denied_request_consumes_like_flask_limiters_if_told_so(
    limited: Callable[..., Any], strategy: str
) -> None:
    """RATELIMIT_DENIED_CONSUMES = True: counted in order, up to the one that is breached."""
    app, limiter = limited(strategy=strategy, RATELIMIT_DENIED_CONSUMES=True)
    remaining: list[int] = []

    @app.get("/")
    @limiter.limit("10/hour; 2/day")
    async def index() -> str:
        return "ok"

    @app.errorhandler(429)
    async def tell(error: RateLimitExceeded) -> Any:
        remaining.append(limiter.current_limits[0].remaining)
        return "", 429

    assert await statuses(app.test_client(), "/", 5) == [200, 200, 429, 429, 429]
    assert remaining == [7, 6, 5]


async def test_limits_before_the_view_are_given_back_where_the_view_is_denied(
    limited: Callable[..., Any], strategy: str
) -> None:
    """Where a hook comes between, the limits are decided in two steps; the promise is the same."""
    app, limiter = limited(strategy=strategy, application_limits=["10/hour"], default_limits=["9/hour"])

    @app.before_request
    async def log_in() -> None:
        return None

    @app.get("/")
    @limiter.limit("2/day", override_defaults=False)
    async def index() -> str:
        return "ok"

    @app.get("/other")
    async def other() -> list[tuple[str, int]]:
        return [(str(limit.limit), limit.remaining) for limit in limiter.current_limits]

    client = app.test_client()
    assert await statuses(client, "/", 6) == [200, 200, 429, 429, 429, 429]
    assert await (await client.get("/other")).get_json() == [["10 per 1 hour", 7], ["9 per 1 hour", 8]]


@pytest.mark.parametrize("storage_uri", ["redis"], indirect=True)
@pytest.mark.parametrize(("hook", "times"), [(False, 1), (True, 2)])
async def test_all_limits_of_a_request_are_asked_in_one_round_trip(
    limited: Callable[..., Any], storage_uri: str, strategy: str, hook: bool, times: int
) -> None:
    """Of the application, of meta limits and of the view, the headers, too; two where a hook comes between."""
    app, limiter = limited(
        strategy=strategy, application_limits=["99/day"], meta_limits=["9/day"], headers_enabled=True
    )
    if hook:
        app.before_request(lambda: None)

    @app.get("/")
    @limiter.limit("9/minute; 20/hour", error_message="slowly")
    async def index() -> str:
        return "ok"

    def asked() -> int:
        with Redis.from_url(storage_uri) as redis:
            stats = redis.info("commandstats")
        return sum(stats[name]["calls"] for name in stats if name in ("cmdstat_eval", "cmdstat_evalsha"))

    client = app.test_client()
    await client.get("/")
    before = await in_thread(asked)
    assert await statuses(client, "/", 5) == [200] * 5
    assert await in_thread(asked) == before + 5 * times


@pytest.mark.parity("limiter", "limit(...)")
async def test_a_request_costs_what_it_is_told(limited: Callable[..., Any], strategy: str) -> None:
    """A number, or a function; what costs more than is left is denied and leaves that; nothing costs nothing."""
    app, limiter = limited(strategy=strategy)
    cost = 4

    @app.get("/")
    @limiter.limit("10/day", cost=lambda: cost)
    async def index() -> str:
        assert limiter.current_limit is not None
        return str(limiter.current_limit.remaining)

    client = app.test_client()
    texts = [await (await client.get("/")).get_data(as_text=True) for _ in range(2)]
    assert texts == ["6", "2"]
    assert await statuses(client, "/", 2) == [429, 429]
    cost = 0
    assert await (await client.get("/")).get_data(as_text=True) == "2"
    cost = 2
    assert await statuses(client, "/", 2) == [200, 429]
    cost = 11
    assert await statuses(client, "/", 1) == [429]


async def test_limits_of_one_request_that_share_a_key_count_together(
    limited: Callable[..., Any], strategy: str
) -> None:
    """The same limit on the application and on a view, in one scope: two of it for each request, never one too many."""
    app, limiter = limited(strategy=strategy)
    shared = limiter.shared_limit("5/day", scope="all")

    @shared
    async def help_out() -> None:
        return None

    @app.get("/")
    @limiter.shared_limit("5/day", scope="all")
    @limiter.shared_limit("5/day", scope="all", error_message="too often")
    async def index() -> str:
        return "ok"

    assert await statuses(app.test_client(), "/", 4) == [200, 200, 429, 429]


@pytest.mark.parity("limiter", "storage")
@pytest.mark.parity("limiter", "limiter")
@pytest.mark.parity("limiter", "reset()")
async def test_storage_and_strategy_are_those_of_limits(limited: Callable[..., Any], strategy: str) -> None:
    """limiter.limiter hits, tests and clears the same counters; reset() forgets all."""
    app, limiter = limited(key_func=lambda: "me", strategy=strategy)

    @app.get("/")
    @limiter.limit("3/day")
    async def index() -> str:
        return "ok"

    client, item = app.test_client(), parse("3/day")
    async with app.app_context():
        assert await limiter.storage.check()
        assert await statuses(client, "/", 1) == [200]
        assert await limiter.limiter.hit(item, "me", "index")
        assert await limiter.limiter.test(item, "me", "index")
        stats = await limiter.limiter.get_window_stats(item, "me", "index")
        assert stats.remaining == 1
        assert time.time() < stats.reset_time <= time.time() + 2 * 86400
        assert await statuses(client, "/", 2) == [200, 429]
        assert not await limiter.limiter.hit(item, "me", "index")
        await limiter.limiter.clear(item, "me", "index")
        assert await statuses(client, "/", 4) == [200, 200, 200, 429]
        await limiter.reset()
        assert await statuses(client, "/", 4) == [200, 200, 200, 429]


@pytest.mark.parity("limiter", "RequestLimit")
@pytest.mark.parity("limiter", "current_limit")
@pytest.mark.parity("limiter", "current_limits")
async def test_a_request_knows_its_limits(limited: Callable[..., Any], strategy: str) -> None:
    """limit, key, breached, shared, window, reset_at, remaining, limiter, request_args: known without asking again."""
    app, limiter = limited(key_func=lambda: "me", strategy=strategy, application_limits=["4/minute"], key_prefix="p")

    @app.get("/")
    @limiter.limit("10/hour")
    async def index() -> str:
        return "ok"

    found: list[RequestLimit | None] = []

    @app.after_request
    async def look(response: Any) -> Any:
        found.append(limiter.current_limit)
        found.extend(limiter.current_limits)
        return response

    now = time.time()
    await app.test_client().get("/")
    current, first, second = found
    assert current is not None
    assert first is not None
    assert current is second, "not a shared one, though that has the shorter window"
    assert (str(current.limit), current.breached, current.shared) == ("10 per 1 hour", False, False)
    assert current.request_args == ["p", "me", "index"]
    assert current.key == "LIMITER/p/me/index/10/1/hour"
    assert current.remaining == current.window.remaining == 9
    assert now + 3590 < current.window.reset_time <= time.time() + 3600
    assert current.reset_at == int(current.window.reset_time + 1)
    assert (first.shared, first.key) == (True, "LIMITER/p/me/global/4/1/minute")
    async with app.app_context():
        assert (await current.limiter.get_window_stats(current.limit, *current.request_args)).remaining == 9
