"""Where a slug leads, and counting the visit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from decant.context import current_app
from decant.errors import RedisOutcomeUnknown, RedisUnavailable
from decant.ops.registry import counter
from decant.redis import Redis
from workers.jobs.clicks import BATCH, EPOCH, MAX_FIELDS, OPEN, QUEUE

from .flights import Flights
from .keys import PROCESS, keys_of
from .outbox import AWAY, Outbox
from .rows import Row, count_visit, find_row

__all__ = ["Answer", "Redirects", "changing"]

_VISIT = Path(__file__).with_name("visit.lua").read_text()
_LEASE_S = 30
_KNOWN_S = 600
_UNKNOWN_S = 60
_ATTEMPTS = 3
_BUFFER = 10_000
_VISITS = counter("shortener_visits", "Visits by how they were answered", ("by", "answer"))
_UNCERTAIN = counter("shortener_clicks_uncertain", "Clicks that Redis may or may not have, because its answer was lost")
logger = structlog.get_logger("app.redirects")


@dataclass(frozen=True)
class Answer:
    """``found`` leads to ``target``; ``gone``: expired or used up; ``unknown``: there is no such link."""

    kind: Literal["found", "gone", "unknown"]
    target: str = ""
    link_id: int = 0


@dataclass(frozen=True)
class _Fetched:
    """What the database said, and the epoch of the batches before it was asked."""

    row: Row | None
    epoch: bytes = b""


class Redirects:
    """Looks slugs up and counts visits, for one application.

    :param engine: gives the running loop's database.
    """

    def __init__(self, redis: Redis, engine: Callable[[], AsyncEngine]) -> None:
        self.outbox = Outbox(redis, _BUFFER)
        self._redis, self._engine = redis, engine
        self._script = redis.script(_VISIT)
        self._flights = Flights()
        self._forgetting: set[asyncio.Task[None]] = set()

    async def visit(self, slug: str, *, count: bool = True) -> Answer:
        """Where the slug leads; counts the visit, which is decided in the same step as whether one is left.

        While Redis is away the database answers.

        :raises DatabaseUnavailable: if the database is needed and is away.
        """
        try:
            answer, by = await self._by_redis(slug, count=count), "redis"
        except (RedisUnavailable, RedisError) as error:
            if not isinstance(error, RedisUnavailable):
                logger.error("Redis refuses to look up a link", error=str(error))
            uncertain = isinstance(error, RedisOutcomeUnknown)
            answer, by = await self._by_database(slug, count=count, uncertain=uncertain), "database"
        _VISITS.inc(by=by, answer=answer.kind)
        return answer

    async def _by_redis(self, slug: str, *, count: bool) -> Answer:
        keys = [*keys_of(slug), OPEN, QUEUE, EPOCH]
        args: list[Any] = [slug, int(count), PROCESS, MAX_FIELDS, BATCH, _LEASE_S]
        said = await self._script(keys=keys, args=args)
        for _ in range(_ATTEMPTS):
            if said[0] != b"miss":
                break
            _, lease, epoch = said
            # By lease: who begins after an edit must not get a row that was read before it.
            fetched = await self._fetch(slug, lease, epoch)
            said = await self._script(keys=keys, args=[*args, lease, *_told(fetched)])
        if said[0] == b"miss":  # edited, or its clicks counted, each time in between
            return await self._by_database(slug, count=count, uncertain=False)
        if said[0] == b"found":
            return Answer("found", said[2].decode(), int(said[1]))
        return Answer("gone" if said[0] == b"gone" else "unknown")

    async def _fetch(self, slug: str, lease: bytes, epoch: bytes) -> _Fetched:
        engine = self._engine()

        async def fetch() -> _Fetched:
            return _Fetched(await find_row(engine, slug), epoch)

        return await self._flights.join((slug, lease), fetch)

    async def _by_database(self, slug: str, *, count: bool, uncertain: bool) -> Answer:
        engine = self._engine()
        row = await self._flights.join(slug, lambda: find_row(engine, slug))
        if row is None:
            return Answer("unknown")
        if row.gone:
            return Answer("gone")
        if not count:
            return Answer("found", row.target, row.id)
        if row.max_visits is None:
            if uncertain:  # rather lost than counted twice
                _UNCERTAIN.inc()
            else:
                self.outbox.click(row.id)
        else:  # rather counted twice than one too many let through
            if not await count_visit(engine, row):
                return Answer("gone")
            self.outbox.forget(slug)  # its visits have to be added up anew
        return Answer("found", row.target, row.id)

    @asynccontextmanager
    async def changing(self, *slugs: str) -> AsyncIterator[None]:
        """Around the commit of a transaction that makes, changes or deletes links: afterwards nothing cached is used.

        If Redis is away it is told later, by this process, at the latest when the cached link's time is over.
        """
        try:
            yield
        finally:  # also if the client has gone: the commit may have happened
            task = asyncio.get_running_loop().create_task(self._forget(slugs))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)
            await asyncio.shield(task)

    async def _forget(self, slugs: Sequence[str]) -> None:
        if not slugs:
            return
        try:
            await self._redis.delete(*(key for slug in slugs for key in keys_of(slug)))
        except AWAY as error:
            logger.warning("Redis cannot be told yet that links have changed", slugs=len(slugs), error=str(error))
            for slug in slugs:
                self.outbox.forget(slug)

    async def aclose(self) -> None:
        """End what is under way, and try to be rid of what waits."""
        await self._flights.aclose()
        await asyncio.gather(*self._forgetting, return_exceptions=True)
        await self.outbox.aclose()


def _told(fetched: _Fetched) -> list[Any]:
    """The script's arguments for what the database said."""
    row = fetched.row
    if row is None:
        return [fetched.epoch, _UNKNOWN_S, ""]
    expires_ms = "" if row.expires_at is None else int(row.expires_at.timestamp() * 1000)
    limit = "" if row.max_visits is None else row.max_visits
    return [fetched.epoch, _KNOWN_S, row.id, row.target, expires_ms, limit, row.visits, *row.counted]


def changing(*slugs: str) -> AbstractAsyncContextManager[None]:
    """:meth:`Redirects.changing` of the current application."""
    redirects: Redirects = current_app().extensions["redirects"]
    return redirects.changing(*slugs)
