"""The cache is away: views compute, nobody waits for long, one log line a minute."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from quart import render_template_string

from decant import Quart
from decant.cache import Cache
from decant.cache.backends import reports
from decant.cache.settings import settings_from
from decant.cache.state import State
from decant.errors import RedisUnavailable, Unavailable
from tests.valkey import Server

from .conftest import Counter, Make, Memcached, needs_memcached

DEADLINE_S = 1.0
SLACK_S = 8.0  # a busy machine's


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    reports._said.clear()


@pytest.mark.parity(
    "caching", "cached behaviour: backend exception -> logged, f is run uncached, unless app.debug (re-raise)"
)
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_redis_is_away(make: Make, server: Server, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Views, functions and templates go on; each request waits for one deadline at most; then Redis is back."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": server.url}
    app, cache = make(config, REDIS_DEADLINE_S=DEADLINE_S, REDIS_BREAKER_RESET_S=3.0)
    calls: list[int] = []

    @app.get("/")
    @cache.cached(tags="t")
    async def page() -> str:
        calls.append(1)
        total = await memoized()
        return await render_template_string(
            "{% cache 60, 'x' %}{{ n }}{% endcache %} {{ total }}", n=len(calls), total=total
        )

    @cache.memoize()
    async def memoized() -> int:
        return len(calls)

    client = app.test_client()

    async def ask() -> str:
        response = await client.get("/")
        assert response.status_code == 200
        return str(await response.get_data(as_text=True))

    async with asyncio.timeout(30):
        while await ask() != await ask():
            await asyncio.sleep(0.05)
    if how == "killed":
        await asyncio.to_thread(server.kill)
    else:
        server.freeze()
    cached = len(calls)
    for number in range(cached + 1, cached + 11):
        started = time.monotonic()
        assert await ask() == f"{number} {number}"
        took = time.monotonic() - started
        assert took < 3 * DEADLINE_S + SLACK_S, "the page, the function and the fragment: one deadline each"
    refused = cache.cache.client.lane().breaker.refused
    await ask()
    assert cache.cache.client.lane().breaker.refused > refused, "the breaker is open"
    lines = [record for record in caplog.records if record.name == "decant.cache" and record.levelname == "ERROR"]
    assert 1 <= len(lines) <= 2, "one line a minute for each kind of failure"
    async with app.app_context():
        with pytest.raises(RedisUnavailable):
            await cache.get("direct use says so")
    if how == "killed":
        await asyncio.to_thread(server.start)
    else:
        server.thaw()
    async with asyncio.timeout(30):
        while True:
            before = len(calls)
            await ask()
            if len(calls) == before:
                break
            await asyncio.sleep(0.05)


async def test_each_applications_troubles_are_its_own(simple: tuple[Quart, Cache], caplog: Any) -> None:
    """One that has the place in memory of one that is gone, as in a suite of tests, is heard of within its minute."""
    app, cache = simple
    settings = settings_from({"CACHE_TYPE": "SimpleCache"})
    for _ in range(5):
        State(app, settings, None, cache).failed(None, RuntimeError("away"))
    assert len(caplog.records) == 5
    state = State(app, settings, None, cache)
    for _ in range(5):
        state.failed(None, RuntimeError("away"))
    assert len(caplog.records) == 6


async def test_in_debug_mode_it_is_raised(make: Make, server: Server) -> None:
    app, cache = make({"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": server.url})
    app.debug = True
    await asyncio.to_thread(server.kill)
    f, m = cache.cached(key_prefix="k")(lambda: 1), cache.memoize()(lambda: 1)
    async with app.app_context():
        for function in (f, m):
            with pytest.raises(RedisUnavailable):
                await function()


async def test_redis_dies_while_a_value_is_computed(make: Make, server: Server, counter: Counter) -> None:
    """The one that computes and the hundred that wait have their answers."""
    app, cache = make({"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": server.url}, REDIS_DEADLINE_S=DEADLINE_S)
    f = cache.cached(key_prefix="k", tags="t")(counter.__call__)
    async with app.app_context():
        counter.gate.clear()
        calls = [asyncio.create_task(f()) for _ in range(100)]
        async with asyncio.timeout(30):
            while not counter.calls:
                await asyncio.sleep(0.001)
        server.freeze()
        counter.gate.set()
        started = time.monotonic()
        answers = await asyncio.gather(*calls)
        assert len(answers) == 100
        assert time.monotonic() - started < 3 * DEADLINE_S + SLACK_S
        await cache.cache.client.aclose()


@needs_memcached
async def test_memcached_is_away(make: Make, counter: Counter, no_blocking: Any) -> None:
    """Views compute, and after a failure it is not asked for a second; then it is back."""
    server = await asyncio.to_thread(Memcached)
    await asyncio.to_thread(server.start)
    try:
        app, cache = make(
            {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": [f"127.0.0.1:{server.port}"]},
            CACHE_OPTIONS={"deadline_s": 30.0},
        )
        f = cache.cached(key_prefix="k")(counter.__call__)
        async with app.app_context():
            assert [await f(), await f()] == [1, 1]
            await asyncio.to_thread(server.stop)
            assert [await f(), await f()] == [2, 3]
            for _ in range(2):  # it is asked the first time if the second is over
                with pytest.raises(Unavailable) as caught:
                    await cache.get("k")
            assert "did not answer; not asked again" in str(caught.value)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(30):
                while await f() != await f():
                    await asyncio.sleep(0.05)
            await cache.cache.aclose()
    finally:
        await asyncio.to_thread(server.stop)


@needs_memcached
async def test_a_late_answer_of_memcached_is_nobody_elses(make: Make, memcached: Memcached) -> None:
    """A call that was cancelled in the midst takes its connection with it."""
    app, cache = make(
        {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": [f"127.0.0.1:{memcached.port}"]},
        CACHE_OPTIONS={"pool_size": 1, "deadline_s": 30.0},
    )
    async with app.app_context():
        await cache.set_many({"a": "A" * 500_000, "b": "B"})
        for _ in range(20):
            task = asyncio.create_task(cache.get("a"))
            for _ in range(3):
                await asyncio.sleep(0)
            task.cancel()
            assert await cache.get("b") == "B"
        await cache.cache.aclose()


@pytest.mark.parametrize("kind", ["RedisCache", "MemcachedCache"])
async def test_a_server_that_never_was(make: Make, kind: str, counter: Counter) -> None:
    app, cache = make(
        {"CACHE_TYPE": kind, "CACHE_REDIS_URL": "redis://127.0.0.1:1", "CACHE_MEMCACHED_SERVERS": ["127.0.0.1:1"]}
    )
    f = cache.cached(key_prefix="k")(counter.__call__)
    async with app.app_context():
        assert [await f(), await f()] == [1, 2]
        await cache.cache.aclose()
