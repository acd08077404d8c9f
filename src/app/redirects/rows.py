"""What the hot path asks the database: on a miss, and for every visit while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from decant.errors import DatabaseUnavailable

from ..models import ClickDay, DrainedBatch, Link

__all__ = ["Row", "count_visit", "find_row"]

DEADLINE_S = 2.0  # and as long again to close a connection that hangs
_RECENT_BATCHES = 10  # those that may still be in Redis though they are counted: one, and some for good measure


@dataclass(frozen=True)
class Row:
    """What the database says of a slug. ``counted`` are batches of clicks which ``visits`` has."""

    id: int
    target: str
    expires_at: datetime | None
    max_visits: int | None
    visits: int
    counted: tuple[str, ...]

    @property
    def gone(self) -> bool:
        """Whether its time is over or its visits are used up, as far as the database knows."""
        over = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return over or (self.max_visits is not None and self.visits >= self.max_visits)


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for one statement, which is its own transaction: one round trip, and no lock that waits for us."""
    try:
        async with asyncio.timeout(DEADLINE_S), engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
    except TimeoutError as error:
        raise DatabaseUnavailable(f"the database gave no answer within {DEADLINE_S:g} s") from error


async def find_row(engine: AsyncEngine, slug: str) -> Row | None:
    """The link of that slug, with the batches of clicks that its visits have: all in one statement, so one snapshot.

    :raises DatabaseUnavailable: if the database is away or takes longer than :data:`DEADLINE_S`.
    """
    recent = select(DrainedBatch.id).order_by(DrainedBatch.drained_at.desc()).limit(_RECENT_BATCHES)
    columns: tuple[Any, ...] = (Link.id, Link.target, Link.expires_at, Link.max_visits, Link.visits)
    query = select(*columns, func.array(recent.scalar_subquery()).label("counted")).where(Link.slug == slug)
    async with _connected(engine) as connection:
        row: Any = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return Row(row.id, row.target, row.expires_at, row.max_visits, row.visits, tuple(row.counted))


async def count_visit(engine: AsyncEngine, row: Row) -> bool:
    """Count a visit of a limited link in the database itself; False if none is left."""
    one_more = (
        update(Link)
        .values(visits=Link.visits + 1)
        .where(Link.id == row.id, or_(Link.max_visits.is_(None), Link.visits < Link.max_visits))
        .returning(Link.id)
        .cte("one_more")
    )
    click = select(one_more.c.id, literal(datetime.now(UTC).date()), literal(1))
    today = insert(ClickDay).from_select(["link_id", "day", "clicks"], click)
    counted = today.on_conflict_do_update(
        index_elements=["link_id", "day"], set_={"clicks": ClickDay.clicks + today.excluded.clicks}
    )
    async with _connected(engine) as connection:
        return (await connection.execute(counted.returning(ClickDay.link_id))).one_or_none() is not None
