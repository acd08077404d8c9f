"""A cache that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from .base import BaseCache

__all__ = ["NullCache"]


class NullCache(BaseCache):
    """Keeps nothing: every call computes. ``set`` still refuses what cannot be cached."""

    stores: ClassVar[bool] = False

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        return [None] * len(keys)

    async def _set(self, values: Mapping[str, bytes], timeout_s: float | None) -> None:
        return None

    async def _add(self, key: str, value: bytes, timeout_s: float | None) -> bool:
        return True

    async def _delete(self, keys: Sequence[str]) -> list[str]:
        return list(keys)

    async def _incr(self, key: str, delta: int, timeout_s: float | None) -> int:
        return delta

    async def _touch(self, keys: Sequence[str], timeout_s: float | None) -> None:
        return None

    async def _delete_if(self, key: str, value: bytes) -> bool:
        return False

    async def _clear(self) -> bool:
        return True
