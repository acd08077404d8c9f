"""The front page, the files that browsers ask for unasked, and the health checks."""

from __future__ import annotations

import structlog
from quart import Blueprint, Response, jsonify, redirect, render_template, url_for
from quart.typing import ResponseReturnValue

from decant.context import current_app
from decant.ops.registry import check_readiness

from ..accounts import current_user
from ..stats.totals import totals

__all__ = ["pages"]

pages = Blueprint("pages", __name__)
_READY_TIMEOUT_S = 2.0
logger = structlog.get_logger("app.health")


@pages.get("/")
async def front() -> ResponseReturnValue:
    if await current_user() is not None:
        return redirect(url_for("links.index"), 303)
    return await render_template("pages/front.html", totals=await totals())


@pages.get("/favicon.ico")
async def favicon() -> ResponseReturnValue:
    response: Response = await current_app().send_static_file("icons/favicon.svg")
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response


@pages.get("/robots.txt")
async def robots() -> ResponseReturnValue:
    text = "User-agent: *\nDisallow: /account\nDisallow: /jobs\nDisallow: /links\n"
    return Response(text, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "public, max-age=86400"})


@pages.get("/healthz")
async def healthz() -> ResponseReturnValue:
    """The process answers; nothing else is asked."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@pages.get("/readyz")
async def readyz() -> ResponseReturnValue:
    """200 unless a critical check fails, then 503; the state of each check. What failed is logged, not told."""
    results = await check_readiness(_READY_TIMEOUT_S, app=current_app())
    for name, result in results.items():
        if result.state != "ok":
            logger.warning("not ready", check=name, state=result.state, reason=result.text)
    ready = all(result.state != "failed" for result in results.values())
    response = jsonify({"ready": ready, "checks": {name: result.state for name, result in results.items()}})
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return response
