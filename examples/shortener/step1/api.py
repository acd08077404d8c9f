"""The API: its reads. What it writes is in writes.py; files to import are sent to the Flask half."""

from datetime import date, timedelta
from urllib.parse import urlencode

from shortener.api import MOST_DAYS, import_view, link_view, moment, token_view
from shortener.extensions import celery
from shortener.hooks import Rejected
from shortener.models import ApiToken, Import, Job, Link, utcnow
from shortener.reading import day, line, number, read_query
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from decant.bridge import in_thread
from decant.quart import Blueprint, abort, g, url_for

from . import services
from .extensions import db
from .who import authenticate

api = Blueprint("api", __name__)
api.before_request(authenticate)


@api.get("/me")
async def me():
    read_query()
    user = g.api_user
    return {"username": user.username, "is_admin": user.is_admin, "created_at": moment(user.created_at)}


@api.get("/tokens")
async def list_tokens():
    read_query()
    query = select(ApiToken).where(ApiToken.owner_id == g.api_user.id).order_by(ApiToken.id.desc())
    return {"items": [token_view(token) for token in await db.session.scalars(query)]}


@api.get("/links")
async def list_links():
    query = read_query("q", "tag", "before", "limit")
    words, tag = line(query, "q"), line(query, "tag").lower()
    limit, before = number(query, "limit", 20, 100), number(query, "before", None, 2**63 - 1)
    before = before if before is None or before < 2**31 else None
    items, older = await services.search_links(g.api_user.id, words, tag, before, limit)
    following, headers = None, {}
    if older is not None:
        asked = {"q": words, "tag": tag, "limit": limit, "before": older}
        following = f"{url_for('api.list_links')}?{urlencode({name: value for name, value in asked.items() if value})}"
        headers["Link"] = f'<{following}>; rel="next"'
    return {"items": [link_view(link) for link in items], "next": following}, 200, headers


async def own_link(slug):
    query = select(Link).where(Link.slug == slug, Link.owner_id == g.api_user.id).options(selectinload(Link.tags))
    return await db.session.scalar(query) or abort(404, "You have no link of this name.")


@api.get("/links/<slug:slug>")
async def read_link(slug):
    read_query()
    return link_view(await own_link(slug))


@api.get("/links/<slug:slug>/clicks")
async def read_clicks(slug):
    query = read_query("from", "to")
    last = day(query, "to", utcnow().date())
    first = day(query, "from", date.fromordinal(max(last.toordinal() - 29, 1)))
    if first > last:
        raise Rejected([{"detail": f"{first} is after the last day, {last}.", "parameter": "from"}])
    if last - first >= timedelta(days=MOST_DAYS):
        raise Rejected([{"detail": f"At most {MOST_DAYS} days.", "parameter": "from"}])
    link = await own_link(slug)
    days = await services.clicks_by_day(link, first, last)
    return {
        "slug": link.slug,
        "from": first.isoformat(),
        "to": last.isoformat(),
        "total": sum(clicks for _, clicks in days),
        "days": [{"day": one.isoformat(), "clicks": clicks} for one, clicks in days],
    }


@api.get("/imports/<id:import_id>")
async def read_import(import_id):
    read_query()
    found = await db.session.scalar(select(Import).where(Import.id == import_id, Import.owner_id == g.api_user.id))
    if found is None:
        abort(404, "You have no import of this number.")
    return import_view(found)  # its errors are a lazy load


@api.get("/jobs/<uuid:job_id>")
async def read_job(job_id):
    read_query()
    job = await db.session.scalar(select(Job).where(Job.id == job_id, Job.owner_id == g.api_user.id))
    if job is None:
        abort(404, "You have no job of this number.")
    return await in_thread(state_of, str(job_id))


def state_of(job_id):
    """Celery's client blocks: asked in a thread."""
    found = celery.AsyncResult(job_id)
    view = {"id": job_id, "state": found.state}
    if found.state == "SUCCESS":
        view["result"] = found.result
    elif found.state == "FAILURE":
        view["error"] = {"type": type(found.result).__name__, "message": str(found.result)}
    return view
