"""What a web process has to tell Redis and could not: clicks, added up, and slugs whose cached link is out of date."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import structlog
from redis.exceptions import RedisError

from decant.errors import Overloaded, RedisUnavailable
from decant.ops.registry import counter, gauge
from decant.redis import Redis
from workers.jobs.clicks import BATCH, MAX_FIELDS, OPEN, QUEUE

from .keys import PROCESS, keys_of

__all__ = ["AWAY", "Outbox"]

AWAY = (RedisUnavailable, RedisError, Overloaded)
"""What means that Redis cannot be told now."""

_PUSH = Path(__file__).with_name("push.lua").read_text()
_RETRY_S = 0.5
_CLOSE_S = 2.0
_PUSHED_AT_ONCE = 1000  # links and days
_FORGOTTEN_AT_ONCE = 300  # slugs
_MARKER_S = 86_400
_EPOCH_DAY = date(1970, 1, 1)
_WAITING = gauge("shortener_clicks_waiting", "Clicks in this process's memory that Redis does not have")
_DROPPED = counter("shortener_clicks_dropped", "Clicks lost because too many waited for Redis, or at the end")
logger = structlog.get_logger("app.redirects")


class Outbox:
    """Bounded: ``size`` different links and days, and as many slugs. Emptied by a task of the application.

    A push whose outcome is unknown is made again with the same id, by which Redis knows it: no click counts twice.
    """

    def __init__(self, redis: Redis, size: int) -> None:
        self._redis, self._size = redis, size
        self._clicks: dict[tuple[int, int], int] = {}
        self._slugs: dict[str, None] = {}
        self._push: tuple[str, dict[tuple[int, int], int]] | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Clicks that Redis does not have."""
        pushed = self._push[1] if self._push is not None else {}
        return sum(self._clicks.values()) + sum(pushed.values())

    def click(self, link_id: int) -> None:
        """Keep a click of now; where too many different links wait, it is dropped, and counted as dropped."""
        key = (link_id, (datetime.now(UTC).date() - _EPOCH_DAY).days)
        if key not in self._clicks and len(self._clicks) >= self._size:
            _DROPPED.inc()
            return
        self._clicks[key] = self._clicks.get(key, 0) + 1
        _WAITING.inc()
        self._wake.set()

    def forget(self, slug: str) -> None:
        """Have the cached link deleted; beyond the bound that is left to the end of its time in the cache."""
        if len(self._slugs) < self._size:
            self._slugs[slug] = None
            self._wake.set()
        else:
            logger.warning("a changed link stays cached", slug=slug)

    def start(self) -> None:
        """Begin to empty it, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Try for :data:`_CLOSE_S` to be rid of what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._flushed()
        except TimeoutError:
            lost = self.waiting
            _DROPPED.inc(lost)
            logger.error("stopped with clicks that Redis does not have", clicks=lost, changed_links=len(self._slugs))
        _WAITING.dec(self.waiting)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._flushed()

    async def _flushed(self) -> None:
        while True:
            try:
                await self.flush()
                return
            except AWAY as error:
                logger.debug("Redis is away", error=str(error), clicks=self.waiting)
                await asyncio.sleep(_RETRY_S)

    async def flush(self) -> None:
        """Tell Redis everything; what could not be told is kept.

        :raises RedisUnavailable: and what else :data:`AWAY` has.
        """
        self._wake.clear()  # first: what comes in meanwhile must not wait for what comes next
        while self._push is not None or self._clicks:
            await self._push_clicks()
        # Afterwards, so that the visits of a link that is cached anew have these clicks.
        while self._slugs:
            slugs = list(islice(self._slugs, _FORGOTTEN_AT_ONCE))
            for slug in slugs:
                del self._slugs[slug]
            try:
                await self._redis.delete(*(key for slug in slugs for key in keys_of(slug)))
            except BaseException:
                self._slugs = dict.fromkeys(slugs) | self._slugs
                raise

    async def _push_clicks(self) -> None:
        if self._push is None:
            chosen = dict(islice(self._clicks.items(), _PUSHED_AT_ONCE))
            for key in chosen:
                del self._clicks[key]
            self._push = (uuid.uuid4().hex, chosen)
        identity, clicks = self._push
        triples = [number for (link, day), count in clicks.items() for number in (link, day, count)]
        await self._redis.script(_PUSH)(
            keys=[f"shortener:clicks:pushed:{identity}", OPEN, QUEUE],
            args=[PROCESS, MAX_FIELDS, BATCH, _MARKER_S, *triples],
        )
        self._push = None
        _WAITING.dec(sum(clicks.values()))
