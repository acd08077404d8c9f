"""The clicks of a link by day, for pages and for the JSON API."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import select

from ..extensions import db
from ..models import ClickDay, Link

__all__ = ["clicks_by_day"]


async def clicks_by_day(link: Link, first: date, last: date) -> dict[date, int]:
    """Each day from ``first`` to ``last``, both included, in UTC, in order; 0 where nobody clicked."""
    query = select(ClickDay.day, ClickDay.clicks).where(ClickDay.link_id == link.id, ClickDay.day.between(first, last))
    found = dict((await db.session.execute(query)).all())
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return {day: found.get(day, 0) for day in days}
