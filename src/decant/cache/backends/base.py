"""What every backend offers, and what it has to write: a handful of commands on bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from ...faces import io_method
from ...warn import warn
from ..serializers import MsgpackSerializer, Serializer, Unreadable
from ..utils import Timeout, normalize_timeout
from .reports import unreadable

__all__ = ["BaseCache", "ignores"]


def ignores(ignore_delete_many_errors: bool, ignore_errors: bool | None) -> bool:
    """The parameter, or what its older name says, with a warning."""
    if ignore_errors is None:
        return ignore_delete_many_errors
    warn("ignore_errors is an old name: use ignore_delete_many_errors", DeprecationWarning)
    return bool(ignore_delete_many_errors or ignore_errors)


class BaseCache:
    """A place for cached values. Follows ``flask_caching.backends.base.BaseCache``, awaited.

    A backend of one's own subclasses it and writes the methods whose names begin with ``_``: keys are texts, values
    are bytes, ``timeout_s`` is in seconds and ``None`` for ever. Or it overrides the public methods.

    :param default_timeout: seconds, for values that are set without one; 0: for ever.
    :param ignore_delete_many_errors: else ``delete_many`` raises ``RuntimeError`` if a key is still there.
    :param serializer: of values; set from ``CACHE_SERIALIZER``.
    """

    stores: ClassVar[bool] = True
    """Whether it keeps anything at all."""

    def __init__(self, default_timeout: Timeout = 300, ignore_delete_many_errors: bool = False) -> None:
        self.default_timeout = normalize_timeout(default_timeout) or 0
        self.ignore_delete_many_errors = ignore_delete_many_errors
        self.serializer: Serializer = MsgpackSerializer()

    @classmethod
    def factory(cls, app: Any, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        """Make one for an application from its configuration."""
        return cls(*args, **kwargs)

    # -- what a backend writes ---------------------------------------------------------------------------------

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        raise NotImplementedError

    async def _set(self, values: Mapping[str, bytes], timeout_s: float | None) -> None:
        raise NotImplementedError

    async def _add(self, key: str, value: bytes, timeout_s: float | None) -> bool:
        raise NotImplementedError

    async def _delete(self, keys: Sequence[str]) -> list[str]:
        """Delete them; return those that were there."""
        raise NotImplementedError

    async def _incr(self, key: str, delta: int, timeout_s: float | None) -> int:
        """Atomically; a key that is missing is made."""
        raise NotImplementedError

    async def _touch(self, keys: Sequence[str], timeout_s: float | None) -> None:
        """Let them live for at least so long from now; those that are missing stay so."""
        raise NotImplementedError

    async def _delete_if(self, key: str, value: bytes) -> bool:
        """Delete it if it has this value, atomically."""
        raise NotImplementedError

    async def _clear(self) -> bool:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close what belongs to the running event loop."""

    # -- what users call ---------------------------------------------------------------------------------------

    def _timeout_s(self, timeout: Timeout | None) -> float | None:
        seconds = normalize_timeout(timeout)
        return (self.default_timeout if seconds is None else seconds) or None

    def _dumps(self, value: Any) -> bytes:
        data = self.serializer.dumps(value)
        if data is None:  # cachelib's serializers log, and give nothing
            raise TypeError(f"a value of type {type(value).__qualname__} cannot be cached by {self.serializer!r}")
        return data

    def _loads(self, key: str, data: bytes | None) -> Any:
        if data is None:
            return None
        try:
            return self.serializer.loads(data)
        except Unreadable as error:
            unreadable(key, error)
            return None

    @io_method
    async def get(self, key: str) -> Any:
        """The value; ``None`` if there is none."""
        return self._loads(key, (await self._get([key]))[0])

    @io_method
    async def get_many(self, *keys: str) -> list[Any]:
        """The values in the order of the keys, in one round trip."""
        return [self._loads(key, data) for key, data in zip(keys, await self._get(keys), strict=True)] if keys else []

    @io_method
    async def get_dict(self, *keys: str) -> dict[str, Any]:
        """The values by key; ``None`` for those that are missing."""
        return dict(zip(keys, await self.get_many(*keys), strict=True))

    @io_method
    async def has(self, key: str) -> bool:
        """Whether there is a value, ``None`` included."""
        return (await self._get([key]))[0] is not None

    @io_method
    async def set(self, key: str, value: Any, timeout: Timeout | None = None) -> bool:
        """Keep a value.

        :param timeout: seconds; 0 or -1: for ever; ``None``: the default.
        :raises TypeError: if the serializer cannot encode the value: says its type.
        """
        await self._set({key: self._dumps(value)}, self._timeout_s(timeout))
        return True

    @io_method
    async def add(self, key: str, value: Any, timeout: Timeout | None = None) -> bool:
        """As :meth:`set`, unless there is a value; whether it was kept. Atomic."""
        return await self._add(key, self._dumps(value), self._timeout_s(timeout))

    @io_method
    async def set_many(self, mapping: Mapping[str, Any], timeout: Timeout | None = None) -> list[str]:
        """Keep several values, in one round trip; the keys that were set."""
        values = {key: self._dumps(value) for key, value in mapping.items()}
        if values:
            await self._set(values, self._timeout_s(timeout))
        return list(values)

    @io_method
    async def delete(self, key: str) -> bool:
        """Whether there was a value to be deleted."""
        return bool(await self._delete([key]))

    @io_method
    async def delete_many(self, *keys: str) -> list[str]:
        """Delete several; the keys that have no value now.

        :raises RuntimeError: if one still has, unless ``ignore_delete_many_errors``.
        """
        if not keys:
            return []
        await self._delete(keys)
        kept = [key for key, data in zip(keys, await self._get(keys), strict=True) if data is not None]
        if kept and not self.ignore_delete_many_errors:
            raise RuntimeError(f"Failed to delete keys: {kept}")
        return [key for key in keys if key not in kept]

    @io_method
    async def unlink(self, *keys: str) -> list[str]:
        """As :meth:`delete_many`; where the server can, without waiting until the memory is freed."""
        return await self.delete_many(*keys)

    @io_method
    async def inc(self, key: str, delta: int = 1) -> int:
        """Add to a number, which is made if it is missing; the new one. Atomic."""
        return await self._incr(key, delta, self._timeout_s(None))

    @io_method
    async def dec(self, key: str, delta: int = 1) -> int:
        """Subtract from a number; as :meth:`inc`."""
        return await self._incr(key, -delta, self._timeout_s(None))

    @io_method
    async def clear(self) -> bool:
        """Delete everything, other users' keys in a shared place excepted where there is a key prefix."""
        return await self._clear()

    @io_method
    async def touch(self, *keys: str, timeout: Timeout | None = None) -> None:
        """Let values live for at least so long from now. Not in Flask-Caching."""
        await self._touch(keys, self._timeout_s(timeout))

    # -- what single flight needs ------------------------------------------------------------------------------

    async def lock(self, name: str, token: str, lease_s: float) -> bool:
        """Take a lock that ends with its lease; whether nobody else has it."""
        return await self._add(name, token.encode(), lease_s)

    async def extend_lock(self, name: str, lease_s: float) -> None:
        await self._touch([name], lease_s)

    async def unlock(self, name: str, token: str) -> None:
        """Give it back, if it is still ours."""
        await self._delete_if(name, token.encode())

    async def locked(self, name: str) -> bool:
        return (await self._get([name]))[0] is not None
