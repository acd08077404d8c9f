"""A cache in the process's memory: bounded, least recently used first out."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from ..utils import Timeout
from .base import BaseCache, ignores

__all__ = ["SimpleCache"]


class SimpleCache(BaseCache):
    """Values of one process, shared by its threads and event loops; other processes have their own.

    They are kept as bytes, so that a caller who changes what it got changes nobody else's.

    :param threshold: how many values at most; one more drops the one that was used least recently, expired ones
        first among the 20 oldest. 0 means 500, as in Flask-Caching.
    :param ignore_errors: Flask-Caching's older name of ``ignore_delete_many_errors``.
    """

    def __init__(
        self,
        threshold: int = 500,
        default_timeout: Timeout = 300,
        ignore_delete_many_errors: bool = False,
        ignore_errors: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(default_timeout, ignores(ignore_delete_many_errors, ignore_errors))
        self._threshold, self._clock = threshold or 500, clock
        self._cache: OrderedDict[str, tuple[float, bytes]] = OrderedDict()  # by cachelib's name, which users know
        self._mutex = threading.RLock()

    @classmethod
    def factory(cls, app: Any, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        return cls(*args, **{"threshold": config["CACHE_THRESHOLD"], **kwargs})

    def _live(self, key: str) -> bytes | None:
        found = self._cache.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return found[1]

    def _due(self, timeout_s: float | None) -> float:
        return math.inf if timeout_s is None else self._clock() + timeout_s

    def _keep(self, key: str, value: bytes, due: float) -> None:
        self._cache[key] = due, value
        self._cache.move_to_end(key)
        while len(self._cache) > self._threshold:
            self._drop_one()

    def _drop_one(self) -> None:
        now = self._clock()
        for index, (key, (due, _)) in enumerate(self._cache.items()):
            if due <= now:
                del self._cache[key]
                return
            if index == 20:
                break
        self._cache.popitem(last=False)

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        with self._mutex:
            return [self._live(key) for key in keys]

    async def _set(self, values: Mapping[str, bytes], timeout_s: float | None) -> None:
        with self._mutex:
            for key, value in values.items():
                self._keep(key, value, self._due(timeout_s))

    async def _add(self, key: str, value: bytes, timeout_s: float | None) -> bool:
        with self._mutex:
            if self._live(key) is not None:
                return False
            self._keep(key, value, self._due(timeout_s))
            return True

    async def _delete(self, keys: Sequence[str]) -> list[str]:
        with self._mutex:
            return [key for key in keys if self._live(key) is not None and self._cache.pop(key)]

    async def _incr(self, key: str, delta: int, timeout_s: float | None) -> int:
        with self._mutex:
            found = self._live(key)
            number = int(found or 0) + delta
            due = self._cache[key][0] if found is not None else self._due(timeout_s)
            self._keep(key, b"%d" % number, due)
            return number

    async def _touch(self, keys: Sequence[str], timeout_s: float | None) -> None:
        with self._mutex:
            for key in keys:
                if self._live(key) is not None:
                    due, value = self._cache[key]
                    self._cache[key] = max(due, self._due(timeout_s)), value

    async def _delete_if(self, key: str, value: bytes) -> bool:
        with self._mutex:
            if self._live(key) != value:
                return False
            del self._cache[key]
            return True

    async def _clear(self) -> bool:
        with self._mutex:
            self._cache.clear()
            return True
