"""The clicks of a link by day, for pages and for the JSON API."""

from __future__ import annotations

from datetime import date

import structlog
from sqlalchemy import select

from decant.errors import Unavailable

from ..extensions import cache, db, link_tag
from ..models import ClickDay, Link

__all__ = ["clicks_by_day", "forget_clicks"]

_KEPT_S = 60  # at most: whoever counts clicks invalidates the link's tag
logger = structlog.get_logger("app.stats")


async def clicks_by_day(link: Link, first: date, last: date) -> dict[date, int]:
    """Each day from ``first`` to ``last``, both included, in UTC, in order; 0 where nobody clicked."""
    found = dict(await _counted(link.id, first.toordinal(), last.toordinal()))
    return {date.fromordinal(day): found.get(day, 0) for day in range(first.toordinal(), last.toordinal() + 1)}


@cache.memoize(_KEPT_S, tags=lambda link_id, *period: link_tag(link_id))
async def _counted(link_id: int, first: int, last: int) -> list[tuple[int, int]]:
    """The days that have clicks, as ordinals, each with their number."""
    days = ClickDay.day.between(date.fromordinal(first), date.fromordinal(last))
    query = select(ClickDay.day, ClickDay.clicks).where(ClickDay.link_id == link_id, days)
    return [(day.toordinal(), clicks) for day, clicks in await db.session.execute(query)]


async def forget_clicks(link: Link) -> None:
    """Drop what is cached of a link; without Redis that is left to the end of its time."""
    try:
        await cache.invalidate_tag(link_tag(link.id))
    except Unavailable as error:
        logger.warning("a changed link's statistics stay cached", slug=link.slug, error=str(error))
