"""The pages of links; somebody else's are 404."""

from __future__ import annotations

from quart import Blueprint, abort, flash, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue

from ..accounts import login_required
from ..accounts.current import require_user
from ..models import Link
from ..stats import views as stats
from ..web.forms import Invalid, Refused, plain_text
from . import service
from .forms import form_values, parse, short_url
from .limits import count_new_link
from .rules import zones

__all__ = ["links", "own"]

links = Blueprint("links", __name__, url_prefix="/links")
_LONGEST_QUERY = 100


@links.record
def _templates(state: object) -> None:
    app = state.app  # type: ignore[attr-defined]
    app.jinja_env.globals.update(short_url=short_url, zones=zones, periods=stats.PERIODS)


async def own(slug: str, *, for_update: bool = False) -> Link:
    """The user's link of that slug, else 404."""
    link = await service.find(await require_user(), slug, for_update=for_update)
    if link is None:
        abort(404, "You have no link of this name.")
    return link


def _query(name: str) -> str:
    try:
        return plain_text(request.args.get(name, ""), most=_LONGEST_QUERY, what=f"The parameter {name}")
    except Refused as refused:
        abort(400, str(refused))


def _before() -> int | None:
    text = request.args.get("before", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        abort(400, f"before={text[:40]!r} is not the end of a page.")
    return int(text)


@links.get("")
@login_required
async def index() -> ResponseReturnValue:
    user, text, tag = await require_user(), _query("q"), _query("tag") or None
    page = await service.search(user, text, tag=tag, before=_before())
    tags = await service.tags_of(user)
    return await render_template("links/index.html", page=page, q=text, tag=tag, tags=tags)


@links.get("/new")
@login_required
async def new_page() -> ResponseReturnValue:
    return await render_template("links/new.html", errors={}, values={"timezone": "UTC"})


@links.post("/new")
@login_required
async def create() -> ResponseReturnValue:
    user, values = await require_user(), (await request.form).to_dict()
    try:
        data = parse(values)
        await count_new_link()
        link = await service.create(user, data)
    except Invalid as invalid:
        return await render_template("links/new.html", errors=invalid.errors, values=values), 422
    await flash("The link is ready.", "success")
    return redirect(url_for("links.show", slug=link.slug), 303)


@links.get("/<slug:slug>")
@login_required
async def show(slug: str) -> ResponseReturnValue:
    link = await own(slug)
    chart = await stats.chart(link, request.args.get("days"))
    return await render_template("links/show.html", link=link, chart=chart)


@links.get("/<slug:slug>/edit")
@login_required
async def edit_page(slug: str) -> ResponseReturnValue:
    link = await own(slug)
    return await render_template("links/edit.html", link=link, errors={}, values=form_values(link))


@links.post("/<slug:slug>/edit")
@login_required
async def edit(slug: str) -> ResponseReturnValue:
    values = (await request.form).to_dict()
    link = await own(slug, for_update=True)
    try:
        data = parse(values, editing=link)
    except Invalid as invalid:
        return await render_template("links/edit.html", link=link, errors=invalid.errors, values=values), 422
    await service.update(await require_user(), link, data)
    await flash("The changes are saved.", "success")
    return redirect(url_for("links.show", slug=slug), 303)


@links.get("/<slug:slug>/delete")
@login_required
async def delete_page(slug: str) -> ResponseReturnValue:
    return await render_template("links/delete.html", link=await own(slug))


@links.post("/<slug:slug>/delete")
@login_required
async def delete(slug: str) -> ResponseReturnValue:
    await service.delete(await own(slug, for_update=True))
    await flash(f"The link {slug} is deleted.", "success")
    return redirect(url_for("links.index"), 303)
