"""A Quart application: Flask-Limiter's decorators on async views."""

from __future__ import annotations

import os

from quart import Response, request

from decant import Quart
from decant.limiter import Limiter, RateLimitExceeded, RequestLimit
from decant.limiter.util import get_remote_address

app = Quart(__name__)
app.config.update(
    REDIS_URL=os.environ.get("REDIS_URL", "redis://localhost:6379/0"),
    RATELIMIT_HEADERS_ENABLED=True,
    TRUSTED_PROXIES=1,  # one proxy before us, which appends to X-Forwarded-For
)
limiter = Limiter(get_remote_address, app=app, default_limits=["100/hour"])


@app.get("/")
async def index() -> str:
    return "under the default limit"


@app.post("/log-in")
@limiter.limit("3/minute", deduct_when=lambda response: response.status_code == 401, on_storage_error="deny")
async def log_in() -> Response:
    form = await request.form
    return Response("", 200 if form.get("password") == "secret" else 401)


@app.get("/report")
async def report() -> str:
    if "full" in request.args:
        async with limiter.limit("1/day"):
            return "a long report"
    return "a short report"


@app.errorhandler(RateLimitExceeded)
async def too_many(error: RateLimitExceeded) -> tuple[dict[str, object], int]:
    limit: RequestLimit | None = limiter.current_limit
    return {"limit": error.description, "again_at": limit.reset_at if limit else None}, 429
