"""One of several web processes: answers so many requests at once, and prints how many of them were let through.

Arguments: the storage's URI, the strategy, how many requests. It says ``ready`` and begins when a line comes in.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import decant
from decant.limiter import Limiter


async def main(uri: str, strategy: str, requests: int) -> None:
    app = decant.Quart(__name__)
    app.config.update(RATELIMIT_STORAGE_URI=uri, RATELIMIT_STRATEGY=strategy, REDIS_DEADLINE_S=20)
    limiter = Limiter(lambda: "everybody", app=app, application_limits=["1000/day"])

    @app.get("/")
    @limiter.limit("10/day")
    async def index() -> str:
        return "ok"

    client = app.test_client()
    print("ready", flush=True)
    sys.stdin.readline()
    responses = await asyncio.gather(*(client.get("/") for _ in range(requests)))
    counted = Counter(response.status_code for response in responses)
    print(counted[200], counted[429], flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
