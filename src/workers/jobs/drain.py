"""The scheduled job that counts clicks: from Redis into ``click_days`` and ``links.visits``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import structlog
from sqlalchemy import ARRAY, BigInteger, Date, bindparam, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from app.extensions import cache, db, link_tag, tasks
from app.models import DrainedBatch, Link
from decant.context import current_app
from decant.errors import Unavailable
from decant.ops.registry import counter
from decant.redis import Redis, client

from .clicks import Batch, remove_batch, take_batch

__all__ = ["count", "drain", "drain_clicks", "forget_batches"]

_DEADLINE_S = 5.0  # more than a web request's: a full batch is half a megabyte
_MAX_BATCHES = 100  # of one run; the next one goes on
_REMEMBERED = timedelta(days=30)  # a batch that was counted is removed from Redis at the next run, so this is ample
_COUNTED = counter("shortener_clicks_counted", "Clicks counted in the database")
_TAGS_AT_ONCE = 500  # in one round trip, within the deadline of the cache
_NUMBERS = ARRAY(BigInteger)
_ADD_VISITS = text(
    "UPDATE links SET visits = visits + given.clicks FROM unnest(:links, :clicks) AS given (link, clicks)"
    " WHERE links.id = given.link RETURNING links.id"
).bindparams(bindparam("links", type_=_NUMBERS), bindparam("clicks", type_=_NUMBERS))
_ADD_DAYS = text(
    "INSERT INTO click_days (link_id, day, clicks) SELECT * FROM unnest(:links, :days, :clicks)"
    " ON CONFLICT (link_id, day) DO UPDATE SET clicks = click_days.clicks + excluded.clicks"
).bindparams(
    bindparam("links", type_=_NUMBERS), bindparam("days", type_=ARRAY(Date)), bindparam("clicks", type_=_NUMBERS)
)
logger = structlog.get_logger("workers.drain")


# In Redis alone: what is lost with it is due again two seconds later. A tick that is late has a successor.
@tasks.task(name="clicks.drain", durable=False, ignore_result=True, priority=9, expires=10, time_limit=60)
async def drain_clicks() -> int:
    """Count what waits; the number of clicks. With a server away they wait for the next run."""
    try:
        return await drain(client(current_app(), deadline_s=_DEADLINE_S))
    except Unavailable as error:
        logger.warning("clicks cannot be counted now", error=str(error))
        return 0


async def drain(redis: Redis) -> int:
    """Count batch after batch, the oldest first, until none is left or :data:`_MAX_BATCHES` are done."""
    total = 0
    for _ in range(_MAX_BATCHES):
        batch = await take_batch(redis)
        if batch is None:
            break
        clicks = await count(batch)
        await _forget_cached(batch)  # also if it was counted before: by a worker that died before this line
        await remove_batch(redis, batch)
        total += clicks
    if total:
        logger.info("clicks counted", clicks=total)
    return total


async def count(batch: Batch) -> int:
    """Count a batch in one transaction, if it has not been; the number of clicks, those of deleted links left out."""
    first = insert(DrainedBatch).values(id=batch.id).on_conflict_do_nothing().returning(DrainedBatch.id)
    # Another worker that counts the same batch is waited for here.
    if await db.session.scalar(first) is None:
        await db.session.rollback()
        return 0
    alive = await _add_visits(batch.by_link())
    rows = [(link, day, clicks) for (link, day), clicks in batch.clicks.items() if link in alive]
    if rows:
        await _add_days(rows)
    await db.session.commit()
    counted = sum(clicks for _, _, clicks in rows)
    _COUNTED.inc(counted)
    return counted


async def _add_visits(totals: dict[int, int]) -> set[int]:
    """Add to ``links.visits``; the links that exist, which cannot be deleted before the commit."""
    links = sorted(totals)
    # In one order, so that two batches never wait for each other.
    await db.session.execute(
        select(Link.id).where(Link.id.in_(links)).order_by(Link.id).with_for_update(key_share=True)
    )
    given = {"links": links, "clicks": [totals[link] for link in links]}
    return set(await db.session.scalars(_ADD_VISITS, given))


async def _add_days(rows: list[tuple[int, date, int]]) -> None:
    links, days, clicks = zip(*rows, strict=True)
    await db.session.execute(_ADD_DAYS, {"links": list(links), "days": list(days), "clicks": list(clicks)})


async def _forget_cached(batch: Batch) -> None:
    tags = [link_tag(link) for link in batch.by_link()]
    for start in range(0, len(tags), _TAGS_AT_ONCE):
        await cache.invalidate_tag(*tags[start : start + _TAGS_AT_ONCE])


@tasks.task(name="clicks.forget", ignore_result=True, time_limit=60)
async def forget_batches() -> None:
    """Delete the records of batches that left Redis long ago."""
    old = datetime.now(UTC) - _REMEMBERED
    await db.session.execute(delete(DrainedBatch).where(DrainedBatch.drained_at < old))
    await db.session.commit()
