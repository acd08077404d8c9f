"""The API: what it changes."""

import secrets
import uuid

from shortener.api import BIGGEST, link_view, token_view
from shortener.forms import one_line
from shortener.hooks import Rejected
from shortener.models import ApiToken, Job
from shortener.reading import check_link, check_names, is_integer, read_json, refuse_fields
from shortener.tasks import add
from sqlalchemy import func, select

from decant.bridge import in_thread
from decant.quart import abort, g, url_for

from . import services
from .api import api, own_link
from .extensions import db


@api.post("/tokens")
async def create_token():
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
    count = select(func.count()).select_from(ApiToken).where(ApiToken.owner_id == g.api_user.id)
    if not errors and await db.session.scalar(count) >= ApiToken.MOST:
        errors["name"] = f"You have {ApiToken.MOST} tokens. Revoke one that you no longer use first."
    if errors:
        refuse_fields(errors)
    secret = "dct_" + secrets.token_urlsafe(32)
    token = ApiToken(owner_id=g.api_user.id, name=name, hint=secret[:10], digest=ApiToken.digest_of(secret))
    db.session.add(token)
    await db.session.commit()
    location = url_for("api.revoke_token", token_id=token.id)
    return {**token_view(token), "token": secret}, 201, {"Location": location}


@api.delete("/tokens/<id:token_id>")
async def revoke_token(token_id):
    query = select(ApiToken).where(ApiToken.id == token_id, ApiToken.owner_id == g.api_user.id)
    token = await db.session.scalar(query)
    if token is None:
        abort(404, "You have no token of this number.")
    await db.session.delete(token)
    await db.session.commit()
    return "", 204


@api.post("/links")
async def create_link():
    data = check_link(read_json())
    await services.count_new_link()
    try:
        link = await services.create_link(g.api_user.id, data)
    except services.SlugTaken as error:
        raise Rejected([{"detail": str(error), "pointer": "#/slug"}], 409, "Conflict") from None
    return link_view(link), 201, {"Location": url_for("api.read_link", slug=link.slug)}


@api.patch("/links/<slug:slug>")
async def change_link(slug):
    link = await own_link(slug)
    await services.update_link(link, check_link(read_json(), link))
    return link_view(link)


@api.delete("/links/<slug:slug>")
async def delete_link(slug):
    await services.delete_link(await own_link(slug))
    return "", 204


@api.post("/add")
async def start_sum():
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
    await db.session.commit()
    # The team's Celery, whose client blocks: enqueued in a thread.
    await in_thread(add.apply_async, (body["x"], body["y"]), task_id=str(job.id))
    url = url_for("api.read_job", job_id=job.id)
    return {"id": str(job.id), "url": url}, 202, {"Location": url}
