"""CPU time of a cache hit, beside redis-py called directly for the same bytes.

    python bench/cache.py [--url redis://127.0.0.1:6379/0]

It writes a few keys that begin with ``decant:bench:``, and deletes them. CPU time is the process's, user and system.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Run as a script, this file's folder comes first, and the files in it would be taken for packages of their names.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

from redis.asyncio import BlockingConnectionPool  # noqa: E402
from redis.asyncio import Redis as RedisPy  # noqa: E402

from decant import Quart  # noqa: E402
from decant.cache import Cache, MsgpackSerializer  # noqa: E402
from decant.embedded import valkey  # noqa: E402

PREFIX = "decant:bench:"
VALUE = {"name": "Ada", "links": [{"slug": f"s{number}", "clicks": number} for number in range(20)]}


async def cpu_us(call: Callable[[], Awaitable[Any]], count: int, rounds: int, at_once: int) -> float:
    """The median over ``rounds`` of the microseconds of CPU per call."""
    took = []
    for _ in range(rounds + 1):
        started = time.process_time()
        for _ in range(count // at_once):
            if at_once == 1:
                await call()
            else:
                await asyncio.gather(*(call() for _ in range(at_once)))
        took.append((time.process_time() - started) / count * 1e6)
    return statistics.median(took[1:])


async def measure(url: str, count: int, rounds: int) -> None:
    app = Quart("bench")
    app.config.update(REDIS_DEADLINE_S=30.0)
    redis = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url, "CACHE_KEY_PREFIX": PREFIX})
    memory = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    theirs = RedisPy.from_pool(BlockingConnectionPool.from_url(url, max_connections=200, timeout=30))
    serializer = MsgpackSerializer()

    async def directly() -> Any:
        return serializer.loads(await theirs.get(f"{PREFIX}value"))

    def functions(cache: Cache) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
        memoized = cache.memoize(timeout=600)(compute)
        cached = cache.cached(timeout=600, key_prefix="cached")(compute)
        tagged = cache.cached(timeout=600, key_prefix="tagged", tags=("a",))(compute)
        get = lambda: cache.get("value")  # noqa: E731
        return [("get", get), ("cached", cached), ("cached, a tag", tagged), ("memoize", memoized)]

    async def compute() -> Any:
        return VALUE

    async with app.app_context():
        for cache in (redis, memory):
            await cache.set("value", VALUE)
        rows = [("redis-py, GET and decode", directly)]
        rows += [(f"Redis: {name}", call) for name, call in functions(redis)]
        rows += [(f"memory: {name}", call) for name, call in functions(memory)]
        for at_once in (1, 100):
            print(f"{'CPU per hit, ' + ('one after another' if at_once == 1 else '100 at once'):<40} {'µs':>6}")
            for name, call in rows:
                await call()
                print(f"  {name:<38} {await cpu_us(call, count, rounds, at_once):6.1f}")
        size = len(serializer.dumps(VALUE))
        print(f"The value: {size} bytes, decoded in {decode_us(serializer, count):.1f} µs")
        await redis.clear()
    await theirs.aclose()
    app.workers.close()


def decode_us(serializer: MsgpackSerializer, count: int) -> float:
    data = serializer.dumps(VALUE)
    started = time.process_time()
    for _ in range(count):
        serializer.loads(data)
    return (time.process_time() - started) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server that may be written to (default: an embedded one)")
    parser.add_argument("--hits", type=int, default=5_000, help="hits per round (100 to 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (1 to 100)")
    given = parser.parse_args()
    for name, low, high in (("hits", 100, 1_000_000), ("rounds", 1, 100)):
        if not low <= getattr(given, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}")
    with ExitStack() as stack:
        if given.url is None:
            folder = stack.enter_context(TemporaryDirectory())
            given.url = stack.enter_context(valkey(Path(folder), durable=False)).url
        asyncio.run(measure(given.url, given.hits, given.rounds))


if __name__ == "__main__":
    main()
