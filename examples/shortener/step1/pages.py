"""Everybody's: the redirect, the front page, and what supervisors and crawlers ask for."""

from flask_login import current_user
from shortener.services import announce_click
from sqlalchemy import text

from decant.quart import Blueprint, Response, abort, current_app, redirect, render_template, request, url_for

from .extensions import db
from .services import totals

main = Blueprint("main", __name__)

# In Flask these are up to four statements, with the click's day looked up first.
VISIT = text("""
    WITH visited AS (
        UPDATE links SET visits = visits + 1
        WHERE slug = :slug AND (expires_at IS NULL OR expires_at > now())
            AND (max_visits IS NULL OR visits < max_visits)
        RETURNING id, target
    ), counted AS (
        INSERT INTO click_days (link_id, day, clicks)
        SELECT id, CAST(now() AT TIME ZONE 'UTC' AS date), 1 FROM visited
        ON CONFLICT (link_id, day) DO UPDATE SET clicks = click_days.clicks + 1
    )
    SELECT id, target FROM visited
""")
LOOK = text("SELECT id, target, expires_at IS NULL OR expires_at > now() AS open FROM links WHERE slug = :slug")


@main.get("/<slug:slug>")
async def follow(slug):
    """The redirect. A HEAD is no visit."""
    found = None
    if request.method == "GET":
        found = (await db.session.execute(VISIT, {"slug": slug})).one_or_none()
        await db.session.commit()
    if found is None:
        known = (await db.session.execute(LOOK, {"slug": slug})).one_or_none()
        if known is None:
            abort(404, "There is no link of this name.")
        if request.method == "GET" or not known.open:
            abort(410, "This link has expired, or all of its visits are used up.")
        found = known
    else:
        # Flask-SocketIO is the Flask half's: told in a thread, after the answer.
        current_app.add_background_task(announce_click, current_app.extensions["flask_app"], slug, found.id)
    response = redirect(found.target, 302)
    response.headers["Cache-Control"] = "private, no-store"
    return response


@main.get("/")
async def front():
    if current_user.is_authenticated:
        return redirect(url_for("links.index"), 303)
    return await render_template("front.html", totals=await totals())


@main.get("/healthz")
async def healthz():
    return Response("ok\n", mimetype="text/plain")


@main.get("/robots.txt")
async def robots():
    lines = "User-agent: *\nDisallow: /account\nDisallow: /imports\nDisallow: /links\n"
    return Response(lines, mimetype="text/plain", headers={"Cache-Control": "public, max-age=86400"})
