"""CPU time of the client per limit check: of a request with three limits, beside redis-py called directly.

    python bench/limiter.py [--url redis://127.0.0.1:6379/0]

Without a URL it starts an embedded Valkey. It writes keys that begin with ``LIMITS:LIMITER/bench`` and deletes them.
CPU time is the process's, user and system, so a busy machine disturbs it less than elapsed time.
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

from limits import parse_many  # noqa: E402
from limits.aio.strategies import FixedWindowRateLimiter  # noqa: E402
from redis.asyncio import BlockingConnectionPool  # noqa: E402
from redis.asyncio import Redis as RedisPy  # noqa: E402

from decant import Quart  # noqa: E402
from decant.embedded import valkey  # noqa: E402
from decant.limiter import Limiter  # noqa: E402
from decant.limiter.storage import Claim, MemoryStorage  # noqa: E402

ITEMS = parse_many("1000000/minute; 1000000/hour; 1000000/day")
Work = Callable[[], Awaitable[Any]]


async def cpu_us(work: Work, count: int, rounds: int, tick: int) -> float:
    """The median over ``rounds`` of the microseconds of CPU per call, ``tick`` of them at once."""
    took = []
    for _ in range(rounds + 1):
        started = time.process_time()
        for _ in range(max(1, count // tick)):
            await asyncio.gather(*(work() for _ in range(tick)))
        took.append((time.process_time() - started) / count * 1e6)
    return statistics.median(took[1:])


def application(url: str, *, limited: bool) -> Any:
    app = Quart(__name__)
    app.config.update(RATELIMIT_STORAGE_URI=url, REDIS_DEADLINE_S=30.0, RATELIMIT_HEADERS_ENABLED=True)
    limiter = Limiter(lambda: "bench", app=app, enabled=limited)

    @app.get("/")
    @limiter.limit("1000000/minute; 1000000/hour; 1000000/day")
    async def index() -> str:
        return "ok"

    return app, limiter


async def measure(url: str, count: int, rounds: int, tick: int) -> None:
    app, limiter = application(url, limited=True)
    bare, _ = application(url, limited=False)
    theirs = RedisPy.from_pool(BlockingConnectionPool.from_url(url, max_connections=10, timeout=30))
    async with app.app_context():
        storage, strategy = limiter.storage, FixedWindowRateLimiter(limiter.storage)
    memory = MemoryStorage()
    claims = [Claim(item, ("bench", "index")) for item in ITEMS]

    async def by_limits() -> None:
        for item in ITEMS:
            await strategy.hit(item, "bench", "index")

    async def by_redis_py() -> None:
        for item in ITEMS:
            await theirs.incrby(item.key_for("bench", "direct"), 1)

    client, bare_client = app.test_client(), bare.test_client()
    rows: list[tuple[str, Work]] = [
        ("redis-py: three INCRBY", by_redis_py),
        ("limits on decant.redis: three hits", by_limits),
        ("one decision of three limits", lambda: storage.decide(claims, "fixed-window")),
        ("one decision of three, in memory", lambda: memory.decide(claims, "fixed-window")),
        ("a request through the test client, no limiter", lambda: bare_client.get("/")),
        ("the same with three limits and headers", lambda: client.get("/")),
    ]
    print(f"{'CPU per call':<48} {'alone':>9} {f'{tick} at once':>12}")
    for name, work in rows:
        alone, together = await cpu_us(work, count, rounds, 1), await cpu_us(work, count, rounds, tick)
        print(f"{name:<48} {alone:6.1f} µs {together:9.1f} µs")
    for item in ITEMS:
        await theirs.delete(item.key_for("bench", "direct"), f"LIMITS:{item.key_for('bench', 'index')}")
    await theirs.aclose()
    await storage.redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server that may be written to (default: an embedded one)")
    parser.add_argument("--count", type=int, default=2_000, help="calls per round (100 to 100,000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (1 to 100)")
    parser.add_argument("--tick", type=int, default=100, help="calls at once (1 to 100)")
    given = parser.parse_args()
    for name, low, high in (("count", 100, 100_000), ("rounds", 1, 100), ("tick", 1, 100)):
        if not low <= getattr(given, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}")
    with ExitStack() as stack:
        if given.url is None:
            folder = stack.enter_context(TemporaryDirectory())
            given.url = stack.enter_context(valkey(Path(folder), durable=False)).url
        asyncio.run(measure(given.url, given.count, given.rounds, given.tick))


if __name__ == "__main__":
    main()
