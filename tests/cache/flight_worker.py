"""One of several processes that miss the same key at once; started by test_single_flight.py.

Arguments: the URL of Redis, ``cached`` or ``memoize``, how many calls, how many seconds a computation takes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from decant import Quart
from decant.cache import Cache


async def main(url: str, kind: str, calls: int, seconds: float) -> None:
    app = Quart("worker")
    app.config.update(CACHE_TYPE="RedisCache", CACHE_REDIS_URL=url, REDIS_DEADLINE_S=30.0)
    app.config["CACHE_LOCK_TIMEOUT"] = 60.0 if calls == 250 else 2.0  # long: a busy machine may stop a process awhile
    cache = Cache(app)
    computed = 0

    @(cache.cached(key_prefix="shared") if kind == "cached" else cache.memoize())
    async def slow() -> str:
        nonlocal computed
        computed += 1
        if calls != 250:
            print("computing", flush=True)
        await asyncio.sleep(seconds)
        return f"computed by {os.getpid()}"

    async with app.app_context():
        await cache.get("warm")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        answers = await asyncio.gather(*(slow() for _ in range(calls)))
    print(json.dumps({"computed": computed, "values": sorted(set(answers)), "answers": len(answers)}), flush=True)


if __name__ == "__main__":
    url, kind, calls, seconds = sys.argv[1:]
    asyncio.run(main(url, kind, int(calls), float(seconds)))
