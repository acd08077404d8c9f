"""The API: its reads. What it writes is in writes.py, or still the Flask half's."""

import re
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from quart import Blueprint, abort, current_app, g, request, url_for
from shortener.api import moment, token_view
from shortener.extensions import celery
from shortener.forms import one_line
from shortener.hooks import Rejected
from shortener.models import ApiToken, ClickDay, Import, Job, Link, Tag
from sqlalchemy import or_, select
from sqlalchemy.orm import selectinload

from decant.bridge import in_thread

from .extensions import db
from .who import authenticate

api = Blueprint("api", __name__)
api.before_request(authenticate)
MOST_DAYS = 366


def read_query(*names):
    errors = []
    for name, values in request.args.lists():
        if name not in names:
            errors.append({"detail": "There is no such parameter.", "parameter": name[:100]})
        elif len(values) > 1:
            errors.append({"detail": "Give this parameter only once.", "parameter": name})
    if errors:
        raise Rejected(errors)
    return request.args.to_dict()


def wrong(name, detail):
    raise Rejected([{"detail": detail, "parameter": name}])


def number(query, name, default, most):
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[1-9][0-9]{0,18}", text) or int(text) > most:
        wrong(name, f"Expected a whole number from 1 to {most}.")
    return int(text)


def line(query, name):
    try:
        return one_line(query.get(name), 100, f"The parameter {name}")
    except ValueError as error:
        wrong(name, str(error))


def day(query, name, default):
    text = query.get(name)
    if text is None:
        return default
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        wrong(name, "Expected a date: 2031-01-31.")


def link_view(link):
    origin = current_app.config["PUBLIC_URL"] or request.host_url.rstrip("/")
    return {
        "slug": link.slug,
        "short_url": f"{origin}/{link.slug}",
        "target": link.target,
        "title": link.title,
        "expires_at": moment(link.expires_at),
        "max_visits": link.max_visits,
        "visits": link.visits,
        "expired": link.expired,
        "tags": [tag.name for tag in link.tags],
        "created_at": moment(link.created_at),
    }


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
    asked = read_query("q", "tag", "before", "limit")
    words, tag = line(asked, "q"), line(asked, "tag").lower()
    limit, before = number(asked, "limit", 20, 100), number(asked, "before", None, 2**63 - 1)
    query = select(Link).where(Link.owner_id == g.api_user.id).options(selectinload(Link.tags))
    for word in words.split()[:8]:
        columns = (Link.slug, Link.title, Link.target)
        query = query.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
    if tag:
        query = query.where(Link.tags.any(Tag.name == tag))
    if before is not None and before < 2**31:
        query = query.where(Link.id < before)
    found = (await db.session.scalars(query.order_by(Link.id.desc()).limit(limit + 1))).all()
    answer = {"items": [link_view(link) for link in found[:limit]], "next": None}
    if len(found) <= limit:
        return answer
    asked = {"q": words, "tag": tag, "limit": limit, "before": found[limit - 1].id}
    following = urlencode({name: value for name, value in asked.items() if value})
    answer["next"] = f"{url_for('api.list_links')}?{following}"
    return answer, 200, {"Link": f'<{answer["next"]}>; rel="next"'}


async def own_link(slug):
    found = await db.session.scalar(select(Link).where(Link.slug == slug, Link.owner_id == g.api_user.id))
    return found or abort(404, "You have no link of this name.")


@api.get("/links/<slug:slug>")
async def read_link(slug):
    read_query()
    return link_view(await own_link(slug))  # its tags are a lazy load


@api.get("/links/<slug:slug>/clicks")
async def read_clicks(slug):
    query = read_query("from", "to")
    last = day(query, "to", datetime.now(UTC).date())
    first = day(query, "from", date.fromordinal(max(last.toordinal() - 29, 1)))
    if first > last:
        wrong("from", f"{first} is after the last day, {last}.")
    if last - first >= timedelta(days=MOST_DAYS):
        wrong("from", f"At most {MOST_DAYS} days.")
    link = await own_link(slug)
    rows = select(ClickDay.day, ClickDay.clicks).where(ClickDay.link_id == link.id, ClickDay.day.between(first, last))
    found = dict((await db.session.execute(rows)).tuples().all())
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return {
        "slug": link.slug,
        "from": first.isoformat(),
        "to": last.isoformat(),
        "total": sum(found.values()),
        "days": [{"day": one.isoformat(), "clicks": found.get(one, 0)} for one in days],
    }


@api.get("/imports/<id:import_id>")
async def read_import(import_id):
    read_query()
    found = await db.session.scalar(select(Import).where(Import.id == import_id, Import.owner_id == g.api_user.id))
    if found is None:
        abort(404, "You have no import of this number.")
    rows = [{"line": row.line, "reason": row.reason} for row in found.errors[:100]]
    figures = {name: getattr(found, name) for name in ("id", "state", "problem", "total", "made", "refused")}
    times = {"created_at": moment(found.created_at), "finished_at": moment(found.finished_at)}
    return {**figures, "first_refused": rows, **times}


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
