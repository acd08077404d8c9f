"""One of several web processes: answers so many requests at once, and prints how many of them were let through.

Arguments: the storage's URI, how many requests. It says ``ready``; for each line that comes in, a strategy, it makes an
application and answers its requests.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import decant
from decant.limiter import Limiter


async def answer(uri: str, strategy: str, requests: int) -> None:
    app = decant.Quart(__name__)
    app.config.update(RATELIMIT_STORAGE_URI=uri, RATELIMIT_STRATEGY=strategy, REDIS_DEADLINE_S=60)
    limiter = Limiter(lambda: "everybody", app=app, application_limits=["1000/day"])

    @app.get("/")
    @limiter.limit("10/day")
    async def index() -> str:
        return "ok"

    client = app.test_client()
    responses = await asyncio.gather(*(client.get("/") for _ in range(requests)))
    counted = Counter(response.status_code for response in responses)
    print(counted[200], counted[429], flush=True)


if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        asyncio.run(answer(sys.argv[1], line.strip(), int(sys.argv[2])))
