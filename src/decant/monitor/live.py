"""What happens, as it happens: one reader of the stream of events per process, for all who watch and for the metrics.

The reader runs while somebody watches, and for ten minutes after metrics were asked for; it goes on where it stopped,
as far as the stream reaches back. Whoever watches has a buffer of 32 messages, and is dropped when it is full.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final

from ..errors import Overloaded, RedisUnavailable
from .counting import Counting
from .store import Store, Worker

__all__ = ["Hub", "Watcher"]

logger = logging.getLogger("decant.monitor")
_BUFFER: Final = 32
_WATCHERS: Final = 500
_LISTED: Final = 50
_READ: Final = 2000
_BLOCK_MS: Final = 500
_LOOK_S: Final = 0.5
_PAUSE_S: Final = 0.2
_BEAT_S: Final = 2.0
_QUIET_S: Final = 15.0
_METRICS_S: Final = 600.0
_RETRY_S: Final = (0.5, 5.0)


class Watcher:
    """One open page. ``job``: it wants the events of one job only."""

    def __init__(self, job: str | None) -> None:
        self.job = job
        self.dropped = False
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(_BUFFER + 1)
        self._task = asyncio.current_task()

    def put(self, message: bytes) -> None:
        """Have it sent; if the buffer is full, drop the watcher, which its browser makes begin anew."""
        if self.dropped:
            return
        if self._messages.qsize() < _BUFFER:
            self._messages.put_nowait(message)
            return
        self.dropped = True
        if self._task is not None:
            self._task.cancel()  # it waits for a client that does not read

    def end(self) -> None:
        """Have the answer end after what is in the buffer."""
        if not self.dropped:
            self.dropped = True
            self._messages.put_nowait(None)

    async def next(self) -> bytes | None:
        """The next message, or a comment that keeps the connection open; ``None`` at the end."""
        try:
            async with asyncio.timeout(_QUIET_S):
                return await self._messages.get()
        except TimeoutError:
            return b": nothing new\n\n"


class Hub:
    """The reader of one event loop and those who watch.

    :param stopping: whether the server stops, which is asked twice a second.
    """

    def __init__(self, store: Store, stopping: Callable[[], bool]) -> None:
        self.counting = Counting()
        self.watchers: set[Watcher] = set()
        self._store, self._stopping = store, stopping
        self._reader: asyncio.Task[None] | None = None
        self._last: bytes | str = ""
        self._metrics_until = self._next_beat = 0.0
        self._gone: dict[str, float] = {}
        self._closed = False

    def check_room(self) -> None:
        """:raises Overloaded: if 500 watch already."""
        if len(self.watchers) >= _WATCHERS:
            raise Overloaded(f"{_WATCHERS} pages watch already", retry_after_s=30)

    @asynccontextmanager
    async def watching(self, job: str | None = None) -> AsyncIterator[Watcher]:
        """Take part, until the block ends."""
        watcher = Watcher(job)
        self.watchers.add(watcher)
        try:
            self._run()
            if self._closed:
                watcher.end()
            yield watcher
        finally:
            self.watchers.discard(watcher)

    async def metrics(self) -> str:
        """Prometheus' text; from now on, events are counted.

        :raises RedisUnavailable: if Redis does not answer.
        """
        self._metrics_until = time.monotonic() + _METRICS_S
        self._run()
        workers = await self._store.workers()
        self._forget_gone(workers)
        return self.counting.text(workers)

    async def aclose(self) -> None:
        """End all answers and the reader."""
        self._closed = True
        reader, self._reader = self._reader, None
        for watcher in self.watchers:
            watcher.end()
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader])

    def _run(self) -> None:
        if not self._closed and (self._reader is None or self._reader.done()):
            self._reader = asyncio.create_task(self._read(), context=Context())

    def _wanted(self) -> bool:
        return bool(self.watchers) or time.monotonic() < self._metrics_until

    async def _read(self) -> None:
        pause_s, failures = _RETRY_S[0], 0
        while self._wanted() and not self._ended():
            try:
                events = await self._events()
                await self._beat()
                pause_s, failures = _RETRY_S[0], 0
            except RedisUnavailable as error:
                failures += 1
                if failures > 1:  # once may be a busy moment
                    self._send("away", {"message": "Redis does not answer"})
                logger.debug("events cannot be read: %s", error)
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, _RETRY_S[1])
                continue
            except Exception:
                logger.exception("the monitor's reader failed, and goes on")
                await self._pause(_RETRY_S[1])
                continue
            if events:
                self._deliver(events)
            if len(events) < _READ:  # or there are more already
                await asyncio.sleep(_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, though not when the server stops."""
        for _ in range(math.ceil(seconds / _LOOK_S)):
            if self._ended():
                return
            await asyncio.sleep(_LOOK_S)

    def _ended(self) -> bool:
        if self._stopping():
            self._closed = True
            for watcher in self.watchers:
                watcher.end()
        return self._closed

    async def _events(self) -> list[dict[str, Any]]:
        redis, stream = self._store.runtime.redis, self._store.runtime.names.events
        if not self._last:
            newest = await redis.xrevrange(stream, count=1)
            self._last = newest[0][0] if newest else "0"
        answer = await redis.xread({stream: self._last}, count=_READ, block=_BLOCK_MS)
        entries = answer[0][1] if answer else []
        if entries:
            self._last = entries[-1][0]
        return [_event(fields) for _, fields in entries]

    def _deliver(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self.counting.add(event)
        if not self.watchers:
            return
        common = None
        ids = {event.get("id") for event in events}
        for watcher in list(self.watchers):
            if watcher.job is None:
                common = common or _message("jobs", _digest(events))
                watcher.put(common)
            elif watcher.job in ids:
                own = [event for event in events if event.get("id") == watcher.job]
                watcher.put(_message("jobs", _digest(own)))

    async def _beat(self) -> None:
        """Every two seconds, what the workers say."""
        if not self.watchers or time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + _BEAT_S
        workers = await self._store.workers()
        active = sum(len(worker.active) for worker in workers)
        self._send("workers", {"online": len(workers), "active": active})

    def _send(self, name: str, data: Any) -> None:
        message = _message(name, data)
        for watcher in list(self.watchers):
            watcher.put(message)

    def _forget_gone(self, workers: list[Worker]) -> None:
        """A worker that was not there for ten minutes does not come back: its next start has another id."""
        online, now = {worker.id for worker in workers}, time.monotonic()
        for name in self.counting.workers() - online - {""}:
            if now - self._gone.setdefault(name, now) > _METRICS_S:
                self.counting.forget(name)
                del self._gone[name]
        self._gone = {name: since for name, since in self._gone.items() if name not in online}


def _event(fields: dict[bytes, bytes]) -> dict[str, Any]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}


def _digest(events: list[dict[str, Any]]) -> dict[str, Any]:
    """How many there were, and the last fifty."""
    listed = [
        {name: event[name] for name in ("type", "id", "task", "worker", "time") if name in event}
        for event in events[-_LISTED:]
    ]
    return {"number": len(events), "events": listed}


def _message(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
