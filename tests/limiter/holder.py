"""A process that takes a shared slot, says so, and keeps it until a line comes in, or it is killed.

Arguments: the storage's URI, the lease in seconds.
"""

from __future__ import annotations

import asyncio
import sys

from decant import Quart
from decant.limiter import Limiter


async def main(uri: str, lease_s: float) -> None:
    app = Quart(__name__)
    app.config.update(RATELIMIT_STORAGE_URI=uri, REDIS_DEADLINE_S=30)
    limiter = Limiter(lambda: "me", app=app)
    bounded = limiter.concurrency(1, scope="reports", across_processes=True, lease_s=lease_s, wait_s=0)

    @app.get("/")
    @bounded
    async def index() -> str:
        print("held", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        return "ok"

    response = await app.test_client().get("/")
    print(response.status_code, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
