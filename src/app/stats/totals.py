"""How much the site is used, for its front page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import func, select

from decant.errors import Unavailable

from ..extensions import cache, db
from ..models import Link, User

__all__ = ["Totals", "totals"]

_KEPT_S = 60
_DEADLINE_S = 1.0  # the front page is worth more than its figures


@dataclass(frozen=True)
class Totals:
    """All accounts and all links, as of at most a minute ago."""

    users: int
    links: int


async def totals() -> Totals | None:
    """The figures; None while they are neither cached nor to be had from the database."""
    counted = await _counted()
    return Totals(*counted) if counted else None


@cache.cached(_KEPT_S, key_prefix="totals")
async def _counted() -> list[int] | None:
    """Users and links; ``[]`` if that took too long, which is cached too, so that not everybody waits for it."""
    users = select(func.count()).select_from(User).scalar_subquery()
    links = select(func.count()).select_from(Link).scalar_subquery()
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return list((await db.session.execute(select(users, links))).one())
    except TimeoutError:
        return []
    except Unavailable:
        return None  # is not cached
