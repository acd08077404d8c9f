"""Figures that are dear to find out: asked for once at a time and kept for seconds, however many look at them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["Recent"]

T = TypeVar("T")


class Recent:
    """One event loop's. Keys are few and known: nothing is ever dropped. What fails is not kept."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, key: str, kept_s: float, find: Callable[[], Awaitable[T]]) -> T:
        """What ``find`` answered, at most ``kept_s`` seconds ago, or now."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            until, value = self._kept.get(key, (0.0, None))
            if time.monotonic() >= until:
                value = await find()
                self._kept[key] = (time.monotonic() + kept_s, value)
            return value  # type: ignore[no-any-return]
