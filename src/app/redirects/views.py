"""``GET /<slug>``."""

from __future__ import annotations

from quart import Blueprint, Quart, abort, current_app, g, request
from quart.typing import ResponseReturnValue
from werkzeug.utils import redirect

from decant.redis import client

from ..extensions import db
from ..live import LiveClicks
from .service import Redirects

__all__ = ["init_redirects", "redirects"]

redirects = Blueprint("redirects", __name__)


@redirects.get("/<slug:slug>")
async def follow(slug: str) -> ResponseReturnValue:
    """302 to the link's target; 410 if it has expired or its visits are used up; 404 if there is none.

    Never cached by browsers or proxies, so that each visit is counted and limits hold. A ``HEAD`` is not a visit.
    """
    service: Redirects = current_app.extensions["redirects"]
    answer = await service.visit(slug, count=request.method == "GET")
    if answer.kind != "found":
        g.user = None  # the page of the error is not to wait for the database
        if answer.kind == "gone":
            abort(410, "This link has expired, or all of its visits are used up.")
        abort(404, "There is no link of this name.")
    if request.method == "GET":
        live: LiveClicks = current_app.extensions["live"]
        live.note(answer.link_id, slug)
    response = redirect(answer.target, 302)
    response.headers["Cache-Control"] = "private, no-store"
    return response


def init_redirects(app: Quart) -> None:
    """Make the service; what it keeps in memory is pushed while the application is served, and at its end."""

    async def start() -> None:
        app.extensions["redirects"].outbox.start()

    async def stop() -> None:
        await app.extensions["redirects"].aclose()

    app.before_serving(start)
    app.after_serving(stop)  # before the client's own end, which it registers itself
    app.extensions["redirects"] = Redirects(client(app), lambda: db.engine)
    app.register_blueprint(redirects)
