"""The JSON API, /api/v1: for programs with a bearer token, and for scripts of our own pages."""

import uuid
from datetime import date, timedelta
from urllib.parse import urlencode

from flask import Blueprint, abort, g, jsonify, request, url_for
from flask_login import current_user
from flask_wtf.csrf import validate_csrf
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from wtforms import ValidationError

from . import csvfiles, services
from .extensions import celery, db, limiter
from .forms import one_line
from .hooks import Rejected
from .models import ApiToken, Import, Job, Link, utcnow
from .reading import (
    check_link,
    check_names,
    day,
    is_integer,
    line,
    number,
    read_body,
    read_json,
    read_query,
    refuse_fields,
)
from .services import configured
from .tasks import add
from .urls import short_url

api = Blueprint("api", __name__)
MOST_DAYS = 366
BIGGEST = 2**53


# -- who asks --------------------------------------------------------------------------------------------------------


@limiter.shared_limit(
    configured("RATE_API"),
    scope="api",
    key_func=lambda: g.api_caller,
    error_message="More requests than the API takes from you in this time. Retry-After says when to go on.",
)
def count_request():
    """A request of somebody who is known."""


@limiter.shared_limit(
    configured("RATE_API_REFUSED"),
    scope="api-refused",
    error_message="Too many requests from your address had tokens that are not valid.",
)
def count_refusal():
    """A request with a token that is nobody's: 429 instead of 401 if it is one too many."""


@api.before_request
def authenticate():
    """A request that brings an Authorization is judged by it alone, never by its cookies."""
    if request.method == "OPTIONS":
        return
    given = request.headers.get("Authorization")
    if given is not None:
        scheme, _, secret = given.strip().partition(" ")
        user = ApiToken.find_user(secret.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            count_refusal()
            refuse("This token is not valid: it may have been revoked.", error="invalid_token")
        g.api_user, g.api_caller = user, f"token:{ApiToken.digest_of(secret.strip())[:32]}"
        count_request()
        return
    if not current_user.is_authenticated:
        refuse("Send an API token, as in: Authorization: Bearer dct_…")
    g.api_user, g.api_caller = current_user._get_current_object(), f"user:{current_user.id}"
    count_request()
    if request.method not in ("GET", "HEAD"):
        token = request.headers.get("X-CSRF-Token") or request.headers.get("X-CSRFToken")
        try:
            validate_csrf(token)
        except ValidationError:
            abort(403, "With a session, a request that changes something needs the session's token in X-CSRF-Token.")


def refuse(detail, **more):
    raise Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "api", **more}))


# -- what is answered ------------------------------------------------------------------------------------------------


def moment(value):
    return value.isoformat().replace("+00:00", "Z") if value is not None else None


def link_view(link):
    return {
        "slug": link.slug,
        "short_url": short_url(link),
        "target": link.target,
        "title": link.title,
        "expires_at": moment(link.expires_at),
        "max_visits": link.max_visits,
        "visits": link.visits,
        "expired": link.expired,
        "tags": [tag.name for tag in link.tags],
        "created_at": moment(link.created_at),
    }


def token_view(token):
    return {
        "id": token.id,
        "name": token.name,
        "hint": token.hint,
        "created_at": moment(token.created_at),
        "last_used_at": moment(token.last_used_at),
    }


def import_view(found):
    return {
        "id": found.id,
        "state": found.state,
        "problem": found.problem,
        "total": found.total,
        "made": found.made,
        "refused": found.refused,
        "first_refused": [{"line": row.line, "reason": row.reason} for row in found.errors[:100]],
        "created_at": moment(found.created_at),
        "finished_at": moment(found.finished_at),
    }


def own_link(slug):
    return Link.query.filter_by(slug=slug, owner_id=g.api_user.id).first_or_404("You have no link of this name.")


def own_import(import_id):
    found = Import.query.filter_by(id=import_id, owner_id=g.api_user.id)
    return found.first_or_404("You have no import of this number.")


# -- accounts and tokens ---------------------------------------------------------------------------------------------


@api.get("/me")
def me():
    read_query()
    user = g.api_user
    return {"username": user.username, "is_admin": user.is_admin, "created_at": moment(user.created_at)}


@api.get("/tokens")
def list_tokens():
    read_query()
    return {"items": [token_view(token) for token in g.api_user.tokens]}


@api.post("/tokens")
def create_token():
    body = read_json()
    errors = check_names(body, ("name",), ("name",))
    name = body.get("name")
    if not errors and (not isinstance(name, str) or not name.strip()):
        errors["name"] = "Say what the token is for, as a string."
    if not errors:
        try:
            name = one_line(name, 64, "A name")
        except ValueError as error:
            errors["name"] = str(error)
    if not errors and ApiToken.query.filter_by(owner_id=g.api_user.id).count() >= ApiToken.MOST:
        errors["name"] = f"You have {ApiToken.MOST} tokens. Revoke one that you no longer use first."
    if errors:
        refuse_fields(errors)
    token, secret = ApiToken.make(g.api_user, name)
    location = url_for("api.revoke_token", token_id=token.id)
    return {**token_view(token), "token": secret}, 201, {"Location": location}


@api.delete("/tokens/<id:token_id>")
def revoke_token(token_id):
    token = ApiToken.query.filter_by(id=token_id, owner_id=g.api_user.id)
    db.session.delete(token.first_or_404("You have no token of this number."))
    db.session.commit()
    return "", 204


# -- links -----------------------------------------------------------------------------------------------------------


@api.get("/links")
def list_links():
    query = read_query("q", "tag", "before", "limit")
    words, tag = line(query, "q"), line(query, "tag").lower()
    limit, before = number(query, "limit", 20, 100), number(query, "before", None, 2**63 - 1)
    before = before if before is None or before < 2**31 else None
    items, older = services.search_links(g.api_user, words, tag, before, limit)
    following, headers = None, {}
    if older is not None:
        asked = {"q": words, "tag": tag, "limit": limit, "before": older}
        following = f"{url_for('api.list_links')}?{urlencode({name: value for name, value in asked.items() if value})}"
        headers["Link"] = f'<{following}>; rel="next"'
    return {"items": [link_view(link) for link in items], "next": following}, 200, headers


@api.post("/links")
def create_link():
    data = check_link(read_json())
    services.count_new_link()
    try:
        link = services.create_link(g.api_user, data)
    except services.SlugTaken as error:
        raise Rejected([{"detail": str(error), "pointer": "#/slug"}], 409, "Conflict") from None
    return link_view(link), 201, {"Location": url_for("api.read_link", slug=link.slug)}


@api.get("/links/<slug:slug>")
def read_link(slug):
    read_query()
    return link_view(own_link(slug))


@api.patch("/links/<slug:slug>")
def change_link(slug):
    link = own_link(slug)
    services.update_link(link, check_link(read_json(), link))
    return link_view(link)


@api.delete("/links/<slug:slug>")
def delete_link(slug):
    services.delete_link(own_link(slug))
    return "", 204


@api.get("/links/<slug:slug>/clicks")
def read_clicks(slug):
    query = read_query("from", "to")
    last = day(query, "to", utcnow().date())
    first = day(query, "from", date.fromordinal(max(last.toordinal() - 29, 1)))
    if first > last:
        raise Rejected([{"detail": f"{first} is after the last day, {last}.", "parameter": "from"}])
    if last - first >= timedelta(days=MOST_DAYS):
        raise Rejected([{"detail": f"At most {MOST_DAYS} days.", "parameter": "from"}])
    link = own_link(slug)
    days = services.clicks_by_day(link, first, last)
    return jsonify(
        {
            "slug": link.slug,
            "from": first.isoformat(),
            "to": last.isoformat(),
            "total": sum(clicks for _, clicks in days),
            "days": [{"day": one.isoformat(), "clicks": clicks} for one, clicks in days],
        }
    )


# -- work in the background ------------------------------------------------------------------------------------------


@api.post("/add")
def start_sum():
    body = read_json()
    errors = check_names(body, ("x", "y"), ("x", "y"))
    for name in ("x", "y"):
        value = body.get(name)
        right = (is_integer(value) and abs(value) <= BIGGEST) or (isinstance(value, float) and abs(value) <= 1e300)
        if name not in errors and not right:
            errors[name] = "Expected a number."
    if errors:
        refuse_fields(errors)
    job = Job(id=uuid.uuid4(), owner_id=g.api_user.id)
    db.session.add(job)
    db.session.commit()
    add.apply_async((body["x"], body["y"]), task_id=str(job.id))
    url = url_for("api.read_job", job_id=job.id)
    return {"id": str(job.id), "url": url}, 202, {"Location": url}


@api.get("/jobs/<uuid:job_id>")
def read_job(job_id):
    read_query()
    job = Job.query.filter_by(id=job_id, owner_id=g.api_user.id).first_or_404("You have no job of this number.")
    result = celery.AsyncResult(str(job.id))
    view = {"id": str(job.id), "state": result.state}
    if result.successful():
        view["result"] = result.result
    elif result.failed():
        view["error"] = {"type": type(result.result).__name__, "message": str(result.result)}
    return view


@api.post("/imports")
def create_import():
    read_query()
    if request.mimetype != "text/csv":
        abort(415, "Send the body as text/csv.")
    content = read_body()
    try:
        made = csvfiles.begin(g.api_user, content, "links.csv")
    except csvfiles.UnderWay as error:
        raise Rejected([{"detail": str(error), "pointer": "#"}], 409, "Conflict") from None
    except csvfiles.Malformed as error:
        raise Rejected([{"detail": str(error), "pointer": "#"}]) from None
    return import_view(made), 202, {"Location": url_for("api.read_import", import_id=made.id)}


@api.get("/imports/<id:import_id>")
def read_import(import_id):
    read_query()
    return import_view(own_import(import_id))


@api.post("/imports/<id:import_id>/cancel")
def cancel_import(import_id):
    found = own_import(import_id)
    csvfiles.cancel(found)
    db.session.refresh(found)
    return import_view(found)
