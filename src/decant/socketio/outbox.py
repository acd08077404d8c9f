"""What is to be published: in order, without holding anybody up, and kept or dropped while Redis is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from typing import Any, Final
from weakref import WeakKeyDictionary

from ..errors import Overloaded, RedisUnavailable
from ..ops.registry import counter
from ..redis import Redis

__all__ = ["SETTLE_S", "Outbox"]

logger = logging.getLogger("decant.socketio")
_BATCH: Final = 100
_RETRY_S: Final = (0.1, 1.0)
SETTLE_S: Final = 5.0
"""So long after Redis is back all who listen are taken to be back as well."""
_LOG_EVERY_S: Final = 60.0
_DROPPED: Final = counter(
    "decant_socketio_dropped_messages", "Messages to other processes that were given up", ["reason"]
)


class _Line:
    """The messages of one event loop, and the task that publishes them."""

    def __init__(self) -> None:
        self.items: deque[tuple[str, asyncio.Future[None]]] = deque()
        self.task: asyncio.Task[None] | None = None
        self.away = False
        self.wake = asyncio.Event()


class Outbox:
    """Publishes messages on one channel, in the order in which they were sent.

    :param redis: gives the client.
    :param keep: whether what cannot be published now is published later, when as many listeners have subscribed
        again as there were, or 5 s after Redis is back. Else it is dropped.
    :param size: how many messages may wait; one more is dropped.
    """

    def __init__(self, redis: Callable[[], Redis], channel: str, *, keep: bool, size: int) -> None:
        self.redis, self.channel, self.keep, self.size = redis, channel, keep, size
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._logged_at = -_LOG_EVERY_S
        self._listeners = 0

    def notice(self, listeners: int, *, all_are_back: bool = True) -> None:
        """How many listen now; if some of them may not have come back yet, it may be more."""
        self._listeners = listeners if all_are_back else max(listeners, self._listeners)

    @property
    def waiting(self) -> int:
        """How many messages are not published yet."""
        return sum(len(line.items) for line in list(self._lines.values()))

    async def send(self, message: str) -> None:
        """Publish; return when it is published, kept or dropped. It never raises for Redis' sake."""
        loop = asyncio.get_running_loop()
        line = self._lines.setdefault(loop, _Line())
        if len(line.items) >= self.size:
            self._drop("outbox full", 1, f"{self.size} messages wait already")
            return
        done: asyncio.Future[None] = loop.create_future()
        line.items.append((message, done))
        if line.away:
            done.set_result(None)
        if line.task is None or line.task.done():
            line.task = loop.create_task(self._publish(line), context=Context())
        await done

    async def flush(self, timeout_s: float) -> None:
        """Wait for what the running loop has sent; drop what is not published within ``timeout_s``."""
        line = self._lines.get(asyncio.get_running_loop())
        if line is None or line.task is None:
            return
        line.wake.set()
        await asyncio.wait([line.task], timeout=timeout_s)
        line.task.cancel()
        await asyncio.wait([line.task])
        self._give_up(line, "shutdown", f"they were not published within {timeout_s:g} s of the shutdown")

    async def _publish(self, line: _Line) -> None:
        delay_s = _RETRY_S[0]
        while line.items:
            batch = list(islice(line.items, _BATCH))
            try:
                if line.away:
                    await self._settled(line)
                self.notice(await self._publish_batch([message for message, _ in batch]))
            except (RedisUnavailable, Overloaded, OSError) as error:
                if not self.keep:
                    self._give_up(line, "redis away", str(error))
                    return
                self._wait_for_redis(line, error)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RETRY_S[1])
            except Exception as error:
                self._give_up(line, "refused", f"{type(error).__name__}: {error}")
                return
            else:
                line.away, delay_s = False, _RETRY_S[0]
                for _ in batch:
                    self._answer(line.items.popleft())

    async def _publish_batch(self, messages: list[str]) -> int:
        """How many listeners the last one had."""
        pipeline = self.redis().pipeline(transaction=False)
        for message in messages:
            pipeline.publish(self.channel, message)
        counts: list[Any] = await pipeline.execute()
        return int(counts[-1])

    async def _settled(self, line: _Line) -> None:
        """Wait until the listeners have come back as well: what is published before that, they would not hear."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_S
        while not line.wake.is_set():
            ((_, count),) = await self.redis().pubsub_numsub(self.channel)
            if count >= self._listeners or loop.time() >= deadline:
                return
            await asyncio.sleep(_RETRY_S[0])

    def _wait_for_redis(self, line: _Line, error: Exception) -> None:
        line.away = True
        for item in line.items:
            self._answer(item)
        self._log("Redis is away, so that other processes hear of events later: %s", error)

    def _give_up(self, line: _Line, reason: str, text: str) -> None:
        count = len(line.items)
        if count:
            self._drop(reason, count, text)
        while line.items:
            self._answer(line.items.popleft())

    def _drop(self, reason: str, count: int, text: str) -> None:
        _DROPPED.inc(count, reason=reason)
        self._log("%s events were not handed to other processes: %s", count, text)

    def _log(self, text: str, *args: Any) -> None:
        if time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            logger.warning(text, *args)

    @staticmethod
    def _answer(item: tuple[str, asyncio.Future[None]]) -> None:
        if not item[1].done():
            item[1].set_result(None)
