"""How clicks wait in Redis until they are counted in the database.

They are added up per link and day in *batches*: hashes of a random id each, filled one after another, closed when
they are taken or full. The oldest is taken, counted in a transaction that also records its id, and removed; a batch
whose id is recorded already is only removed. So a click is counted once wherever the worker dies.

======================================  ==========================================================================
``shortener:clicks:open``               the id of the batch that clicks go to now
``shortener:clicks:queue``              list of the ids of all batches, the oldest first
``shortener:clicks:batch:<id>``         hash: ``<link>:<day>`` → clicks (days since 1970 in UTC), ``<link>`` → clicks
``shortener:clicks:epoch``              how many batches were removed, for those who add up what waits
``shortener:clicks:pushed:<id>``        that a web process's buffer was added, so that it is not added twice
======================================  ==========================================================================

The names of the batches are made in the scripts, so this is for one Redis, not for Redis Cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from decant.redis import Redis

__all__ = ["BATCH", "EPOCH", "MAX_FIELDS", "OPEN", "QUEUE", "Batch", "remove_batch", "take_batch"]

OPEN = "shortener:clicks:open"
QUEUE = "shortener:clicks:queue"
BATCH = "shortener:clicks:batch:"
EPOCH = "shortener:clicks:epoch"
MAX_FIELDS = 10_000  # of a batch: about 5,000 links' clicks of a day, a third of a second of the database
_TAKE = Path(__file__).with_name("take.lua").read_text()
_REMOVE = Path(__file__).with_name("remove.lua").read_text()
_EPOCH_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class Batch:
    """The clicks of some links by day."""

    id: str
    clicks: Mapping[tuple[int, date], int]

    def by_link(self) -> dict[int, int]:
        """Link → its clicks of all days."""
        totals: dict[int, int] = defaultdict(int)
        for (link_id, _), clicks in self.clicks.items():
            totals[link_id] += clicks
        return dict(totals)


async def take_batch(redis: Redis) -> Batch | None:
    """Close the oldest batch and read it; it stays in Redis until :func:`remove_batch`. None if there is none."""
    found = await redis.script(_TAKE)(keys=[QUEUE, OPEN], args=[BATCH])
    if found is None:
        return None
    identity, fields = found
    clicks = {}
    for field, count in zip(fields[::2], fields[1::2], strict=True):
        link_id, colon, day = field.partition(b":")
        if colon:
            clicks[int(link_id), _EPOCH_DAY + timedelta(days=int(day))] = int(count)
    return Batch(identity.decode(), clicks)


async def remove_batch(redis: Redis, batch: Batch) -> bool:
    """Remove a batch that has been counted; whether this call did it."""
    return bool(await redis.script(_REMOVE)(keys=[QUEUE, EPOCH], args=[BATCH, batch.id]))
