"""What a worker says about itself every two seconds, for the monitor and the control channel."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import psutil

__all__ = ["INTERVAL_S", "Heartbeat", "LoopLag"]

INTERVAL_S: Final = 2.0
_TTL_S: Final = 10
_REMEMBERED_S: Final = 3600
_SAMPLE_S: Final = 1.0
_WEIGHED_S: Final = 10.0
_TOLD_ACTIVE: Final = 200
try:
    _VERSION = version("quart-decant")
except PackageNotFoundError:  # a copy that was not installed
    _VERSION = ""


class LoopLag:
    """How late the event loop is: the worst of the last seconds, sampled each second."""

    def __init__(self) -> None:
        self._worst_s = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._plan()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(_SAMPLE_S, self._sample, loop, loop.time() + _SAMPLE_S)

    def _sample(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._worst_s = max(self._worst_s, loop.time() - due)
        self._plan()

    def take(self) -> float:
        """The worst since the last call, in seconds."""
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s


class Heartbeat:
    """Writes ``<prefix>:worker:<id>``, which ends by itself 10 s after the last beat, and when that was into the sorted
    set ``<prefix>:workers``, which the monitor finds workers by; it keeps those of the last hour.

    :param describe: the changing part: ``queues concurrency active paused stopping succeeded failed retried``.
    """

    def __init__(self, redis: Any, key: str, worker: str, name: str, describe: Callable[[], dict[str, Any]]) -> None:
        self._redis, self._key, self._describe = redis, key, describe
        self._index = f"{key.removesuffix(f':{worker}')}s"
        self._fixed = {
            "id": worker,
            "name": name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            "version": _VERSION,
        }
        self.lag = LoopLag()
        self.lag_s, self.rss_bytes, self._weighed_again = 0.0, 0, 0.0

    def state(self) -> dict[str, Any]:
        """The whole message. Times are seconds since 1970, sizes bytes."""
        described = self._describe()
        described["active"] = described["active"][:_TOLD_ACTIVE]
        return {
            **self._fixed,
            **described,
            "rss_bytes": self.rss_bytes,
            "loop_lag_s": round(self.lag_s, 4),
            "time": time.time(),
        }

    async def beat(self) -> dict[str, Any]:
        """Write it once."""
        self.lag_s = self.lag.take()
        if time.monotonic() >= self._weighed_again:
            self._weighed_again = time.monotonic() + _WEIGHED_S
            self.rss_bytes = await asyncio.to_thread(_rss_bytes)
        state = self.state()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(self._key, json.dumps(state, default=str), ex=_TTL_S)
        pipeline.zadd(self._index, {state["id"]: state["time"]})
        pipeline.zremrangebyscore(self._index, "-inf", state["time"] - _REMEMBERED_S)
        await pipeline.execute()
        return state

    async def forget(self) -> None:
        """The worker has ended."""
        await self._redis.delete(self._key)
        await self._redis.zrem(self._index, self._fixed["id"])


def _rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)  # reads a file
