"""The job that looks at what a link leads to."""

from __future__ import annotations

import random
from typing import Any

import structlog
from sqlalchemy import func, update

from app.extensions import db, link_room, socketio, tasks
from app.models import Link
from app.previews import Busy, Fetcher, NoPreview, Preview, TryAgain
from decant.context import current_app
from decant.errors import Unavailable

__all__ = ["fetch_preview"]

_RETRIES = 3
logger = structlog.get_logger("workers.previews")


@tasks.task(
    name="previews.fetch",
    bind=True,
    autoretry_for=(TryAgain, Unavailable),
    retry_backoff=15,
    max_retries=_RETRIES,
    throws=(TryAgain,),
    ignore_result=True,
    time_limit=60,
)
async def fetch_preview(self: Any, link_id: int) -> None:
    """Note the title and the description of the page that a link leads to, or why there are none.

    Run again, it does the same again; a link that leads elsewhere by then has a job of its own for that.
    """
    link = await db.session.get(Link, link_id)
    await db.session.commit()  # gives the connection back: the page may be slow
    if link is None:
        return
    fetcher: Fetcher = current_app().extensions["previews"]
    try:
        await _note(link, await fetcher.preview(link.target))
    except Busy:  # another job, so that this one's slot and its retries are not used up by waiting
        await fetch_preview.apply_async((link_id,), countdown=random.uniform(3, 10))
    except NoPreview as problem:
        await _note(link, Preview(None, None), str(problem))
    except TryAgain as problem:
        if self.request.retries < _RETRIES:
            raise
        await _note(link, Preview(None, None), str(problem))


async def _note(link: Link, preview: Preview, problem: str | None = None) -> None:
    values = {
        "preview_title": preview.title,
        "preview_description": preview.description,
        "preview_problem": problem,
        "preview_at": func.now(),
    }
    query = update(Link).where(Link.id == link.id, Link.target == link.target).values(values).returning(Link.id)
    found = await db.session.scalar(query.execution_options(synchronize_session=False))
    await db.session.commit()
    if found is None:
        return
    logger.info("looked at a target", link=link.id, found=problem is None)
    told = {"slug": link.slug, "title": preview.title, "description": preview.description, "problem": problem}
    await socketio.emit("preview", told, to=link_room(link.id))
