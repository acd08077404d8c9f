"""Where values are kept. Redis and Memcached are imported when they are first asked for, since they need extras."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .base import BaseCache
from .file import FileSystemCache
from .memory import SimpleCache
from .null import NullCache

if TYPE_CHECKING:
    from .memcached import MemcachedCache
    from .redis import RedisCache
    from .replicated import RedisClusterCache, RedisSentinelCache

__all__ = [
    "BaseCache",
    "FileSystemCache",
    "MemcachedCache",
    "NullCache",
    "RedisCache",
    "RedisClusterCache",
    "RedisSentinelCache",
    "SimpleCache",
]

_HOMES: Final = {
    "MemcachedCache": "memcached",
    "RedisCache": "redis",
    "RedisClusterCache": "replicated",
    "RedisSentinelCache": "replicated",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
