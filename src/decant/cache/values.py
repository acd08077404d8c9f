"""The values of a cache: what ``Cache`` hands on to the current application's backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..faces import io_method
from .utils import Timeout

__all__ = ["Values"]


class Values:
    """Flask-Caching's proxy methods, awaited. The decorators call these, so that a subclass may override them."""

    def backend_here(self) -> Any:
        """The current application's backend."""
        raise NotImplementedError

    @io_method
    async def get(self, key: str) -> Any:
        """The value; ``None`` if there is none.

        As for all of these: :exc:`~decant.errors.Unavailable` if the backend does not answer.
        """
        return await self.backend_here().get(key)

    @io_method
    async def set(self, key: str, value: Any, timeout: Timeout | None = None) -> bool:
        """Keep a value.

        :param timeout: seconds or a ``timedelta``; 0: for ever; ``None``: ``CACHE_DEFAULT_TIMEOUT``.
        :raises TypeError: if the value cannot be encoded: says its type.
        """
        kept: bool = await self.backend_here().set(key, value, timeout=timeout)
        return kept

    @io_method
    async def add(self, key: str, value: Any, timeout: Timeout | None = None) -> bool:
        """As :meth:`set`, unless there is a value; whether it was kept."""
        kept: bool = await self.backend_here().add(key, value, timeout)
        return kept

    @io_method
    async def delete(self, key: str) -> bool:
        """Whether there was a value to be deleted."""
        deleted: bool = await self.backend_here().delete(key)
        return deleted

    @io_method
    async def has(self, key: str) -> bool:
        """Whether there is a value, ``None`` included."""
        found: bool = await self.backend_here().has(key)
        return found

    @io_method
    async def clear(self) -> bool:
        """Delete everything that has the key prefix; all of the place if there is none."""
        cleared: bool = await self.backend_here().clear()
        return cleared

    @io_method
    async def get_many(self, *keys: str) -> list[Any]:
        """The values in the order of the keys, in one round trip."""
        values: list[Any] = await self.backend_here().get_many(*keys)
        return values

    @io_method
    async def get_dict(self, *keys: str) -> dict[str, Any]:
        """The values by key."""
        values: dict[str, Any] = await self.backend_here().get_dict(*keys)
        return values

    @io_method
    async def set_many(self, mapping: Mapping[str, Any], timeout: Timeout | None = None) -> list[str]:
        """Keep several values, in one round trip; the keys that were set."""
        keys: list[str] = await self.backend_here().set_many(mapping, timeout)
        return keys

    @io_method
    async def delete_many(self, *keys: str) -> list[str]:
        """Delete several; the keys that have no value now."""
        deleted: list[str] = await self.backend_here().delete_many(*keys)
        return deleted

    @io_method
    async def unlink(self, *keys: str) -> list[str]:
        """As :meth:`delete_many`; Redis frees the memory later."""
        deleted: list[str] = await self.backend_here().unlink(*keys)
        return deleted
