"""A synchronous cache, one of cachelib's or of a user's own, called in threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...bridge import in_thread
from ...faces import io_method
from ..utils import Timeout, normalize_timeout
from .base import BaseCache

__all__ = ["ThreadedCache"]


class ThreadedCache(BaseCache):
    """Wraps an object with the methods of ``cachelib.BaseCache``, which serializes for itself.

    It has no atomic ways to lock, so that there is no single flight between processes beyond what its ``add`` gives.
    """

    def __init__(self, cache: Any) -> None:
        super().__init__(getattr(cache, "default_timeout", 300))
        self.wrapped = cache
        del self.serializer  # it has its own

    @io_method
    async def get(self, key: str) -> Any:
        return await in_thread(self.wrapped.get, key)

    @io_method
    async def get_many(self, *keys: str) -> list[Any]:
        return list(await in_thread(self.wrapped.get_many, *keys))

    @io_method
    async def has(self, key: str) -> bool:
        return bool(await in_thread(self.wrapped.has, key))

    @io_method
    async def set(self, key: str, value: Any, timeout: Timeout | None = None) -> bool:
        return bool(await in_thread(self.wrapped.set, key, value, self._whole(timeout)))

    @io_method
    async def add(self, key: str, value: Any, timeout: Timeout | None = None) -> bool:
        return bool(await in_thread(self.wrapped.add, key, value, self._whole(timeout)))

    @io_method
    async def set_many(self, mapping: Mapping[str, Any], timeout: Timeout | None = None) -> list[str]:
        return list(await in_thread(self.wrapped.set_many, dict(mapping), self._whole(timeout)))

    @io_method
    async def delete(self, key: str) -> bool:
        return bool(await in_thread(self.wrapped.delete, key))

    @io_method
    async def delete_many(self, *keys: str) -> list[str]:
        return list(await in_thread(self.wrapped.delete_many, *keys))

    @io_method
    async def inc(self, key: str, delta: int = 1) -> int:
        number: int = await in_thread(self.wrapped.inc, key, delta)
        return number

    @io_method
    async def dec(self, key: str, delta: int = 1) -> int:
        number: int = await in_thread(self.wrapped.dec, key, delta)
        return number

    @io_method
    async def clear(self) -> bool:
        return bool(await in_thread(self.wrapped.clear))

    @io_method
    async def touch(self, *keys: str, timeout: Timeout | None = None) -> None:
        found = await self.get_dict(*keys)
        await self.set_many({key: value for key, value in found.items() if value is not None}, timeout)

    async def lock(self, name: str, token: str, lease_s: float) -> bool:
        return await self.add(name, token, lease_s)

    async def extend_lock(self, name: str, lease_s: float) -> None:
        await self.touch(name, timeout=lease_s)

    async def unlock(self, name: str, token: str) -> None:
        if await self.get(name) == token:
            await self.delete(name)

    async def locked(self, name: str) -> bool:
        return await self.has(name)

    @staticmethod
    def _whole(timeout: Timeout | None) -> int | None:
        seconds = normalize_timeout(timeout)
        return None if seconds is None else int(-(-seconds // 1))
