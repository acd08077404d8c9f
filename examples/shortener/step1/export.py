"""Somebody's links as a CSV file. Imports are the Flask half's, with their Celery task."""

from flask_login import current_user
from shortener.csvfiles import COLUMNS, cells_of, written
from shortener.models import Link
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from decant.quart import Blueprint, Response, stream_with_context

from .extensions import db
from .who import login_required

imports = Blueprint("imports", __name__)


@imports.get("/links.csv")
@login_required
async def export():
    response = Response(stream_with_context(pieces)(current_user.id), mimetype="text/csv")
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
