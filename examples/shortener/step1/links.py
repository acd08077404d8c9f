"""The pages of somebody's links."""

from datetime import timedelta

from flask_login import current_user
from shortener.forms import LinkForm, zone_names
from shortener.models import Link, utcnow
from shortener.urls import short_url
from shortener.views import PERIODS, line_of_query
from sqlalchemy import select

from decant.quart import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for

from . import services
from .extensions import db
from .qr import drawn, image_of
from .who import login_required

links = Blueprint("links", __name__)


async def own_link(slug):
    found = await db.session.scalar(select(Link).where(Link.slug == slug, Link.owner_id == current_user.id))
    return found or abort(404, "You have no link of this name.")


@links.get("")
@login_required
async def index():
    words, tag = line_of_query("q"), line_of_query("tag").lower()
    before = request.args.get("before", type=int)
    if before is not None and not 0 < before < 2**31:
        abort(400, "before= is not the end of a page.")
    items, older = await services.search_links(current_user.id, words, tag, before)
    return await render_template(
        "links/index.html",
        items=items,
        older=older,
        q=words,
        tag=tag,
        tags=await services.tags_in_use(current_user.id),
        today=await services.clicks_today(current_user.id),
    )


async def form_page(form, link=None):
    return await render_template("links/form.html", form=form, link=link, zones=zone_names())


@links.get("/new")
@login_required
async def new():
    return await form_page(LinkForm())


@links.post("/new")
@login_required
async def create():
    form = LinkForm()
    if form.validate_on_submit():
        await services.count_new_link()
        try:
            link = await services.create_link(current_user.id, form.clean)
        except services.SlugTaken as error:
            form.slug.errors = [str(error)]
        else:
            # Drawn while the browser loads the page of the link, which shows it.
            current_app.add_background_task(drawn, short_url(link), "svg")
            await flash("The link is ready.", "success")
            return redirect(url_for("links.show", slug=link.slug), 303)
    return await form_page(form), 422


@links.get("/<slug:slug>")
@login_required
async def show(slug):
    link = await own_link(slug)
    period = request.args.get("days", "30")
    if period not in map(str, PERIODS):
        abort(400, f"days={period[:40]!r} is not one of {', '.join(map(str, PERIODS))}.")
    today = utcnow().date()
    days = await services.clicks_by_day(link, today - timedelta(days=int(period) - 1), today)
    most = max([clicks for _, clicks in days] + [4])
    return await render_template(
        "links/show.html", link=link, days=days, most=most, period=int(period), periods=PERIODS
    )


@links.route("/<slug:slug>/edit", methods=["GET", "POST"])
@login_required
async def edit(slug):
    link = await own_link(slug)
    if request.method == "GET":
        return await form_page(LinkForm.of(link), link)
    form = LinkForm(link=link)
    if not form.validate_on_submit():
        return await form_page(form, link), 422
    await services.update_link(link, form.clean)
    await flash("The changes are saved.", "success")
    return redirect(url_for("links.show", slug=slug), 303)


@links.route("/<slug:slug>/delete", methods=["GET", "POST"])
@login_required
async def delete(slug):
    link = await own_link(slug)
    if request.method == "GET":
        return await render_template("links/delete.html", link=link)
    await services.delete_link(link)
    await flash(f"The link {slug} is deleted.", "success")
    return redirect(url_for("links.index"), 303)


@links.get("/<slug:slug>/qr.<any(svg,png):kind>")
@login_required
async def qr_code(slug, kind):
    return await image_of(await own_link(slug), kind)
