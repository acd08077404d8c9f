"""What the pages of somebody's links load besides: the export, and the days for a chart."""

import csv
import io
from datetime import UTC, datetime, timedelta
from functools import wraps

from quart import Blueprint, Response, abort, g, redirect, request, stream_with_context, url_for
from shortener.csvfiles import COLUMNS, cells_of
from shortener.models import ClickDay, Link
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from .extensions import db
from .who import user_of_session

own = Blueprint("own", __name__)


def login_required(view):
    @wraps(view)
    async def wrapper(**arguments):
        g.user = await user_of_session()
        if g.user is None:
            return redirect(url_for("auth.login", next=request.full_path.rstrip("?")))
        return await view(**arguments)

    return wrapper


@own.get("/links.csv")
@login_required
async def export():
    body = stream_with_context(pieces)(g.user.id)
    response = Response(body, mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="links.csv"'
    response.timeout = 3600  # the client may be slow; no connection is held meanwhile
    return response


async def pieces(owner_id):
    yield "\ufeff" + written([[*COLUMNS, "clicks", "created"]])
    query, last = select(Link).where(Link.owner_id == owner_id).options(selectinload(Link.tags)), 0
    while True:
        found = (await db.session.scalars(query.where(Link.id > last).order_by(Link.id).limit(500))).all()
        if not found:
            return
        last, text = found[-1].id, written([cells_of(link) for link in found])
        await db.session.commit()
        db.session.expunge_all()
        yield text


def written(rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()


@own.get("/links/<slug:slug>/days.json")
@login_required
async def days_json(slug):
    link = await db.session.scalar(select(Link).where(Link.slug == slug, Link.owner_id == g.user.id))
    if link is None:
        abort(404, "You have no link of this name.")
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in range(29, -1, -1)]
    rows = select(ClickDay.day, ClickDay.clicks).where(ClickDay.link_id == link.id, ClickDay.day >= days[0])
    found = dict((await db.session.execute(rows)).tuples().all())
    return {day.isoformat(): found.get(day, 0) for day in days}
