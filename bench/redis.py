"""CPU time of the client per GET: issued alone, in the same tick (one pipeline), and through redis-py itself.

    python bench/redis.py [--url redis://127.0.0.1:6379/0]

Without a URL it starts an embedded Valkey. It writes one key, ``decant:bench``, and deletes it. CPU time is the
process's, user and system, so a busy machine disturbs it less than elapsed time.
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

# Run as a script, this file's folder comes first, and the file would be taken for the package of its name.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

from redis.asyncio import BlockingConnectionPool  # noqa: E402
from redis.asyncio import Redis as RedisPy  # noqa: E402

from decant.embedded import valkey  # noqa: E402
from decant.redis import client  # noqa: E402

KEY = "decant:bench"
Work = Callable[[int], Awaitable[None]]


def one_by_one(call: Callable[[], Awaitable[Any]]) -> Work:
    async def work(count: int) -> None:
        for _ in range(count):
            await call()

    return work


def at_once(call: Callable[[], Awaitable[Any]], tick: int) -> Work:
    async def work(count: int) -> None:
        for _ in range(max(1, count // tick)):
            await asyncio.gather(*(call() for _ in range(tick)))

    return work


async def cpu_us(work: Work, gets: int, rounds: int) -> float:
    """The median over ``rounds`` of the microseconds of CPU per GET."""
    await work(min(gets, 200))
    took = []
    for _ in range(rounds):
        started = time.process_time()
        await work(gets)
        took.append((time.process_time() - started) / gets * 1e6)
    return statistics.median(took)


async def measure(url: str, gets: int, rounds: int, tick: int) -> None:
    ours = client(url=url, deadline_s=30.0)
    theirs = RedisPy.from_pool(BlockingConnectionPool.from_url(url, max_connections=10, timeout=30))
    await ours.set(KEY, "x" * 64)
    rows = [
        ("redis-py, one after another", one_by_one(lambda: theirs.get(KEY))),
        (f"redis-py, {tick} at once", at_once(lambda: theirs.get(KEY), tick)),
        ("decant, one after another", one_by_one(lambda: ours.get(KEY))),
        (f"decant, {tick} in the same tick", at_once(lambda: ours.get(KEY), tick)),
        (f"(no Redis: {tick} tasks by gather)", at_once(lambda: asyncio.sleep(0), tick)),
    ]
    baseline = 0.0
    print(f"{'CPU per GET':<36} {'µs':>6}  redis-py/this")
    for name, work in rows:
        us = await cpu_us(work, gets, rounds)
        baseline = baseline or us
        print(f"{name:<36} {us:6.1f}  {baseline / us:.1f}x")
    await ours.delete(KEY)
    await theirs.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server that may be written to (default: an embedded one)")
    parser.add_argument("--gets", type=int, default=20_000, help="GETs per round (100 to 1,000,000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (1 to 100)")
    parser.add_argument("--tick", type=int, default=100, help="GETs issued in one tick of the loop (1 to 10,000)")
    given = parser.parse_args()
    for name, low, high in (("gets", 100, 1_000_000), ("rounds", 1, 100), ("tick", 1, 10_000)):
        if not low <= getattr(given, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}")
    with ExitStack() as stack:
        if given.url is None:
            folder = stack.enter_context(TemporaryDirectory())
            given.url = stack.enter_context(valkey(Path(folder), durable=False)).url
        asyncio.run(measure(given.url, given.gets, given.rounds, given.tick))


if __name__ == "__main__":
    main()
