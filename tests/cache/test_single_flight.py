"""One computation for many misses at once: in a process, in its threads, and in several processes."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from decant import Quart, wait
from decant.cache import Cache
from decant.cache.backends.base import BaseCache

from .conftest import Counter, Make

Pair = tuple[Quart, Cache]
WORKER = Path(__file__).parent / "flight_worker.py"


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("kind", ["cached", "memoize"])
async def test_a_thousand_misses_in_one_process_compute_once(cache: Cache, counter: Counter, kind: str) -> None:
    decorate = cache.cached(key_prefix="k") if kind == "cached" else cache.memoize()

    @decorate
    async def f() -> list[int]:
        return [await counter()]

    counter.gate.clear()
    calls = [asyncio.create_task(f()) for _ in range(1000)]
    await until(lambda: counter.calls)
    await asyncio.sleep(0.02)
    counter.gate.set()
    answers = await asyncio.gather(*calls)
    assert counter.calls == 1
    assert answers == [[1]] * 1000
    answers[0].append(2)
    assert answers[1] == [1], "each has a value of its own"


async def test_it_can_be_switched_off(make: Make, counter: Counter) -> None:
    for configured, option in ((False, None), (True, False)):
        counter.calls = 0
        app, cache = make({"CACHE_TYPE": "SimpleCache"}, CACHE_SINGLE_FLIGHT=configured)
        f = cache.cached(key_prefix="k", single_flight=option)(counter.__call__)
        async with app.app_context():
            counter.gate.clear()
            calls = [asyncio.create_task(f()) for _ in range(5)]
            await until(lambda: counter.calls == 5)
            counter.gate.set()
            await asyncio.gather(*calls)


async def test_if_the_one_that_computes_is_cancelled_another_does(
    make: Make, config: dict[str, Any], counter: Counter
) -> None:
    """A client that goes away takes nobody along, and the lock goes to the next at once, not when its lease ends."""
    app, cache = make(config, CACHE_LOCK_TIMEOUT=600.0)
    f = cache.cached(key_prefix="k")(counter.__call__)
    counter.gate.clear()
    async with app.test_app(), app.app_context():
        calls = [asyncio.create_task(f()) for _ in range(20)]
        await until(lambda: counter.calls)
        computes = calls.index(counter.task)  # type: ignore[arg-type]  # not always the first to have looked
        calls[computes].cancel()
        await until(lambda: counter.calls == 2)
        counter.gate.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(answers.pop(computes), asyncio.CancelledError)
        assert answers == [2] * 19


async def test_whenever_it_is_cancelled_the_lock_is_given_back(make: Make, config: dict[str, Any]) -> None:
    """Also while it is being taken or given back: the next one does not wait until the lease ends."""
    app, cache = make(config, CACHE_LOCK_TIMEOUT=600.0)
    async with app.test_app(), app.app_context(), asyncio.timeout(60):
        for steps in range(60):
            f = cache.cached(key_prefix=f"k{steps}")(lambda: 1)
            task = asyncio.create_task(f())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert await f() == 1


async def test_if_it_fails_those_who_wait_compute_at_once_and_side_by_side(cache: Cache) -> None:
    """An error is each caller's own; there is no queue of failures."""
    running: list[int] = []
    everybody = asyncio.Event()

    @cache.cached(key_prefix="k")
    async def f() -> None:
        running.append(1)
        if len(running) == 20:
            everybody.set()
        if len(running) == 1:
            await asyncio.sleep(0.1)  # the others wait for it
        else:
            await asyncio.wait_for(everybody.wait(), 30)
        raise LookupError(f"number {len(running)}")

    answers = await asyncio.gather(*(f() for _ in range(20)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 20, "none waits for another's end"
    assert len(running) == 20


async def test_what_is_not_cacheable_is_not_queued_for(simple: Pair) -> None:
    """After the first such answer, calls run side by side from their beginning."""
    app, cache = simple
    at_once, most, everybody = 0, 0, asyncio.Event()

    @cache.cached(key_prefix="k", response_filter=lambda value: False)
    async def f() -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if most == 10:
            everybody.set()
        if first.done():
            await asyncio.wait_for(everybody.wait(), 30)
        at_once -= 1
        return 1

    async with app.app_context():
        first = asyncio.ensure_future(f())
        await first
        await asyncio.gather(*(f() for _ in range(10)))
    assert most == 10


@pytest.mark.parametrize("kind", ["async", "sync", "gathered"])
async def test_a_computation_does_not_wait_for_itself(simple: Pair, kind: str) -> None:
    """A view and a function within it that have one key, as the default one is, both compute."""
    app, cache = simple

    @cache.cached()
    async def inner() -> str:
        return "inner"

    async def view() -> str:
        found = await asyncio.gather(inner(), inner()) if kind == "gathered" else [await inner()]
        return f"outer {found[0]}"

    def sync_view() -> str:
        return f"outer {wait(inner())}"

    app.add_url_rule("/", "page", cache.cached()(sync_view if kind == "sync" else view))
    async with asyncio.timeout(30):
        answers = [await app.test_client().get("/") for _ in range(2)]
    assert [await answer.get_data(as_text=True) for answer in answers] == ["outer inner"] * 2


async def test_a_crashed_holder_of_the_lock_is_waited_for_no_longer_than_its_lease(make: Make, config: Any) -> None:
    app, cache = make(config, CACHE_LOCK_TIMEOUT=1.0)
    f = cache.cached(key_prefix="k")(lambda: 1)
    async with app.app_context():
        backend: BaseCache = cache.cache
        started = time.monotonic()
        assert await backend.lock("_decant_flight_k", "of a process that was killed", 1.0)
        assert await f() == 1
        waited_s = time.monotonic() - started
        least_s = 0.0 if config["CACHE_TYPE"] == "MemcachedCache" else 0.9  # it counts whole seconds of its clock
        assert least_s < waited_s < 30
        await backend.aclose()


async def test_a_living_holder_keeps_its_lock_past_the_lease(make: Make, redis_url: str, counter: Counter) -> None:
    """Two processes, here two applications with a cache each, and a computation longer than a lease: one computes."""
    config: dict[str, Any] = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis_url}
    config |= {"CACHE_LOCK_TIMEOUT": 3.0, "REDIS_DEADLINE_S": 30.0}

    async def call(app: Quart, cache: Cache) -> int:
        f = cache.cached(key_prefix="k")(counter.__call__)
        async with app.app_context():
            return await f()

    counter.gate.clear()
    calls = [asyncio.create_task(call(*make(config))) for _ in range(2)]
    await until(lambda: counter.calls)
    await asyncio.sleep(3.5)
    counter.gate.set()
    assert await asyncio.gather(*calls) == [1, 1]


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), url, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["cached", "memoize"])
def test_a_thousand_misses_in_four_processes_compute_once(redis_url: str, kind: str) -> None:
    """Real processes, 250 calls in each at the same moment, one Redis: one computation."""
    workers = [start(redis_url, kind, "250", "0.3") for _ in range(4)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        results = [json.loads(worker.communicate(timeout=100)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert sum(result["computed"] for result in results) == 1
    assert {tuple(result["values"]) for result in results} == {(results[0]["values"][0],)}
    assert sum(result["answers"] for result in results) == 1000


def test_a_killed_process_holds_up_the_others_for_one_lease_only(redis_url: str) -> None:
    """kill -9 in the midst of a computation; another process takes over."""
    first = start(redis_url, "cached", "1", "60")
    second = None
    try:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "ready\n"
        first.stdin.write("go\n")
        first.stdin.flush()
        assert first.stdout.readline() == "computing\n"
        second = start(redis_url, "cached", "5", "0")
        assert second.stdout is not None
        assert second.stdin is not None
        assert second.stdout.readline() == "ready\n"
        first.send_signal(signal.SIGKILL)
        started = time.monotonic()
        second.stdin.write("go\n")
        second.stdin.flush()
        assert second.stdout.readline() == "computing\n"
        assert json.loads(second.stdout.readline())["computed"] == 1
        assert time.monotonic() - started < 45, "the lease is 2 s, and the computation would have taken 60"
    finally:
        for worker in (first, second):
            if worker is not None:
                worker.kill()
                worker.communicate()
