"""The configuration: Flask-Caching's keys and ours, checked when the application is set up."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from ..errors import ConfigError
from ..faces import twin_of
from ..warn import warn
from . import backends
from .backends.base import BaseCache
from .backends.threaded import ThreadedCache
from .serializers import MsgpackSerializer, PickleSerializer, Serializer, serializer_from
from .utils import normalize_timeout

__all__ = ["Settings", "make_backend", "settings_from"]

_DEFAULTS: Final[dict[str, Any]] = {
    "CACHE_ARGS": [],
    "CACHE_DEFAULT_TIMEOUT": 300,
    "CACHE_DIR": None,
    "CACHE_ENABLE_SIGNALS": False,
    "CACHE_FILE_HASH_METHOD": hashlib.sha256,
    "CACHE_HASH_METHOD": hashlib.sha256,
    "CACHE_IGNORE_ERRORS": False,
    "CACHE_IGNORE_IDENTITY": False,
    "CACHE_JITTER": 0.0,
    "CACHE_KEY_PREFIX": "flask_cache_",
    "CACHE_LOCK_TIMEOUT": 5.0,
    "CACHE_MEMCACHED_SERVERS": None,
    "CACHE_NO_NULL_WARNING": False,
    "CACHE_OPTIONS": None,
    "CACHE_SERIALIZER": None,
    "CACHE_SINGLE_FLIGHT": True,
    "CACHE_SOURCE_CHECK": False,
    "CACHE_TAG_TIMEOUT": 30 * 24 * 3600,
    "CACHE_THRESHOLD": 500,
    "CACHE_TYPE": "NullCache",
    "CACHE_USER_ID": None,
}
_OLD_NAMES: Final = {
    "null": "NullCache",
    "simple": "SimpleCache",
    "filesystem": "FileSystemCache",
    "redis": "RedisCache",
    "redissentinel": "RedisSentinelCache",
    "rediscluster": "RedisClusterCache",
    "memcached": "MemcachedCache",
}
_NOT_OFFERED: Final = {"SASLMemcachedCache", "SpreadSASLMemcachedCache", "UWSGICache", "GoogleCloudStorageCache"}
_BOOLEANS: Final = (
    "CACHE_ENABLE_SIGNALS",
    "CACHE_IGNORE_ERRORS",
    "CACHE_IGNORE_IDENTITY",
    "CACHE_NO_NULL_WARNING",
    "CACHE_SINGLE_FLIGHT",
    "CACHE_SOURCE_CHECK",
)


@dataclass(frozen=True)
class Settings:
    """What the decorators need to know of one application. Times are in seconds."""

    default_timeout_s: float
    enable_signals: bool
    hash_method: Callable[..., Any]
    ignore_identity: bool
    jitter: float
    lock_timeout_s: float
    serializer: Serializer
    single_flight: bool
    source_check: bool
    tag_timeout_s: float
    user_id: Callable[[], Any] | None


def settings_from(config: dict[str, Any]) -> Settings:
    """Read and check; ``config`` gets the defaults of the keys that it lacks.

    :raises ConfigError: with the key, the value and what is allowed.
    """
    for key, default in _DEFAULTS.items():
        config.setdefault(key, default)
    for key in _BOOLEANS:
        if not isinstance(config[key], bool | int):
            raise ConfigError(key, config[key], "True or False is allowed")
    options = config["CACHE_OPTIONS"]
    if not (options is None or isinstance(options, Mapping)):
        raise ConfigError("CACHE_OPTIONS", options, "a dictionary of keyword arguments is allowed")
    if not isinstance(config["CACHE_ARGS"], list | tuple):
        raise ConfigError("CACHE_ARGS", config["CACHE_ARGS"], "a list of arguments is allowed")
    threshold = config["CACHE_THRESHOLD"]
    if not isinstance(threshold, int) or isinstance(threshold, bool) or threshold < 0:
        raise ConfigError("CACHE_THRESHOLD", threshold, "a whole number from 0 is allowed")
    prefix = config["CACHE_KEY_PREFIX"]
    if not (prefix is None or isinstance(prefix, str) or callable(prefix)):
        raise ConfigError("CACHE_KEY_PREFIX", prefix, "a text or a function that returns one is allowed")
    config["CACHE_DEFAULT_TIMEOUT"] = _timeout(config, "CACHE_DEFAULT_TIMEOUT")
    _function(config, "CACHE_FILE_HASH_METHOD", "a hash constructor")
    return Settings(
        default_timeout_s=config["CACHE_DEFAULT_TIMEOUT"],
        enable_signals=bool(config["CACHE_ENABLE_SIGNALS"]),
        hash_method=_function(config, "CACHE_HASH_METHOD", "a hash constructor, for example hashlib.sha256,"),
        ignore_identity=bool(config["CACHE_IGNORE_IDENTITY"]),
        jitter=_number(config, "CACHE_JITTER", 0, 0.9),
        lock_timeout_s=_number(config, "CACHE_LOCK_TIMEOUT", 0.1, 3600),
        serializer=serializer_from(config["CACHE_SERIALIZER"]),
        single_flight=bool(config["CACHE_SINGLE_FLIGHT"]),
        source_check=bool(config["CACHE_SOURCE_CHECK"]),
        tag_timeout_s=_timeout(config, "CACHE_TAG_TIMEOUT"),
        user_id=_function(config, "CACHE_USER_ID", "a function that returns who asks")
        if config["CACHE_USER_ID"]
        else None,
    )


def _function(config: Mapping[str, Any], key: str, what: str) -> Callable[..., Any]:
    if not callable(config[key]):
        raise ConfigError(key, config[key], f"{what} is allowed")
    function: Callable[..., Any] = config[key]
    return function


def _number(config: Mapping[str, Any], key: str, least: float, most: float) -> float:
    value = config[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigError(key, value, f"a number from {least} to {most} is allowed")
    return float(value)


def _timeout(config: Mapping[str, Any], key: str) -> float:
    allowed = "seconds from 0 (for ever), as a number, a text of digits or a timedelta, are allowed"
    try:
        seconds = normalize_timeout(config[key])
    except (TypeError, ValueError):
        raise ConfigError(key, config[key], allowed) from None
    if seconds is None or math.isnan(seconds):
        raise ConfigError(key, config[key], allowed)
    return seconds


def _factory(kind: Any) -> Any:
    """The class or function that ``CACHE_TYPE`` names."""
    if callable(kind):
        return kind
    allowed = f"one of {', '.join(backends.__all__)}, the dotted path of a class or factory, or a factory is allowed"
    if not isinstance(kind, str):
        raise ConfigError("CACHE_TYPE", kind, allowed)
    if kind in _OLD_NAMES:
        warn(f"CACHE_TYPE {kind!r} is an old name: use {_OLD_NAMES[kind]!r}", DeprecationWarning)
        kind = _OLD_NAMES[kind]
    module, _, name = kind.rpartition(".")
    if name in _NOT_OFFERED and module in ("", "flask_caching.backends"):
        raise ConfigError("CACHE_TYPE", kind, f"not offered by decant.cache; {allowed}")
    if module in ("", "flask_caching.backends"):
        if name not in backends.__all__:
            raise ConfigError("CACHE_TYPE", kind, allowed)
        return getattr(backends, name)
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError("CACHE_TYPE", kind, f"it cannot be imported ({error}); {allowed}") from error


def make_backend(app: Any, config: dict[str, Any], serializer: Serializer) -> Any:
    """Make what ``CACHE_TYPE`` names, as Flask-Caching does: a class with a ``factory``, or a factory itself.

    A synchronous cache, one of cachelib's for instance, is called in threads.
    """
    kind = config["CACHE_TYPE"]
    factory = _factory(kind)
    is_null = isinstance(factory, type) and issubclass(factory, backends.NullCache)
    if is_null and not config["CACHE_NO_NULL_WARNING"]:
        warn("CACHE_TYPE is NullCache: nothing is cached")
    options: dict[str, Any] = {
        "default_timeout": config["CACHE_DEFAULT_TIMEOUT"],
        "ignore_delete_many_errors": bool(config["CACHE_IGNORE_ERRORS"]),
        **(config["CACHE_OPTIONS"] or {}),
    }
    args = list(config["CACHE_ARGS"])
    if isinstance(factory, type) and issubclass(factory, BaseCache):
        factory = factory.factory
    if "cachelib" in (kind if isinstance(kind, str) else getattr(factory, "__module__", "")):
        backend = factory(*args, **options)
    else:
        backend = factory(app, config, args, options)
    backend = twin_of(backend)
    if not isinstance(backend, BaseCache):
        backend = ThreadedCache(backend)
    if hasattr(backend, "serializer"):
        backend.serializer = serializer
    elif not isinstance(serializer, MsgpackSerializer | PickleSerializer) and hasattr(
        getattr(backend, "wrapped", None), "serializer"
    ):
        backend.wrapped.serializer = serializer  # one for cachelib's own store
        return backend
    if config["CACHE_SERIALIZER"] is not None and not (backend.stores and hasattr(backend, "serializer")):
        warn(f"CACHE_SERIALIZER is set but {backend!r} uses none")
    return backend
