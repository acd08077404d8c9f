"""The front page, and the files that browsers ask for unasked."""

from __future__ import annotations

from quart import Blueprint, Response, redirect, render_template, url_for
from quart.typing import ResponseReturnValue

from decant.context import current_app

from ..accounts import current_user
from ..stats.totals import totals

__all__ = ["pages"]

pages = Blueprint("pages", __name__)


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
