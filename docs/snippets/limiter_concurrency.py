"""How many requests are served at once."""

from __future__ import annotations

import asyncio
import os

from decant import Quart
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address

app = Quart(__name__)
app.config["REDIS_URL"] = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
limiter = Limiter(get_remote_address, app=app)


@app.get("/export")
@limiter.concurrency(2, queue=1, wait_s=2)
async def export() -> str:
    """Two at once in this process, one more waits for up to two seconds, others get 503 and Retry-After."""
    await asyncio.sleep(0.05)
    return "exported"


@app.get("/import")
@limiter.concurrency(1, key_func=get_remote_address, across_processes=True, lease_s=10)
async def import_() -> str:
    """One at once for each address, in all processes that use this Redis."""
    await asyncio.sleep(0.05)
    return "imported"
