"""A storage from its URI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from limits.errors import ConfigurationError

from ...errors import ConfigError
from ...redis import Options, client, masked
from ...warn import warn
from .memory import MemoryStorage
from .other import OtherStorage
from .redis import RedisStorage

__all__ = ["KEY", "open_storage"]

KEY: Final = "RATELIMIT_STORAGE_URI"
_REDIS: Final = ("redis", "rediss", "unix", "redis+unix", "valkey", "valkeys", "valkey+unix")
_CLIENT: Final = frozenset(option.name for option in fields(Options)) - {"url", "decode_responses"}
_INSTEAD: Final = {
    "socket_timeout": "deadline_s",
    "socket_connect_timeout": "deadline_s",
    "max_connections": "pool_size",
}
"""What Flask-Limiter's users give redis-py, as its documentation does, and what bounds the same here."""


def open_storage(app: Any, uri: str | None, options: Mapping[str, Any]) -> Any:
    """The storage of an application.

    :param uri: as Flask-Limiter's; ``None`` for the application's ``REDIS_URL``.
    :param options: ``key_prefix``; for Redis those of :class:`decant.redis.Options`, and redis-py's timeouts, which
        are not used; for others, theirs.
    :raises ConfigError: if the URI or an option is wrong.
    """
    scheme, _, rest = (uri or "redis://").partition("://")
    scheme = scheme.removeprefix("async+")
    if scheme == "memory":
        return MemoryStorage()
    if scheme in _REDIS:
        scheme = "unix" if scheme.endswith("unix") else scheme.replace("valkey", "redis")
        return _redis(app, uri and f"{scheme}://{rest}", options)
    deadline_s = options.get("deadline_s", app.config.get("REDIS_DEADLINE_S", 0.25))
    given = {key: value for key, value in options.items() if key != "deadline_s"}
    if scheme.startswith("redis+"):
        given.setdefault("implementation", "redispy")
    try:
        return OtherStorage(f"async+{scheme}://{rest}", given, float(deadline_s))
    except (ConfigurationError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(KEY, masked(uri or ""), f"a storage of `limits`, or memory:// ({error})") from error


def _redis(app: Any, url: str | None, options: Mapping[str, Any]) -> RedisStorage:
    for name in sorted(options.keys() & _INSTEAD.keys()):
        warn(f"RATELIMIT_STORAGE_OPTIONS: {name} is redis-py's, and not used; {_INSTEAD[name]} is what bounds it here")
    unknown = sorted(options.keys() - _CLIENT - _INSTEAD.keys() - {"key_prefix", "implementation", "wrap_exceptions"})
    if unknown:
        allowed = ", ".join(sorted(_CLIENT | {"key_prefix"}))
        raise ConfigError("RATELIMIT_STORAGE_OPTIONS", unknown, f"with Redis, one of {allowed}")
    own = {key: value for key, value in options.items() if key in _CLIENT}
    return RedisStorage(client(app, url, **own), options.get("key_prefix", RedisStorage.PREFIX))
