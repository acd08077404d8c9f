"""``flask_caching``: Flask-Caching's names over :mod:`decant.cache`, and its way to store values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, Final

from ... import cache
from ...cache import backends, jinja2ext, serializers, signals, utils
from ...cache.backends import BaseCache as _Stored
from ...errors import ConfigError, MissingExtra
from ...faces import face
from .table import Module, names

__all__ = ["MODULES", "BaseCache", "Cache"]


class Cache(cache.Cache):
    """:class:`decant.cache.Cache` that stores values as Flask-Caching does: pickled, unless ``CACHE_SERIALIZER`` says
    otherwise.

    So processes that still run Flask-Caching share them. It warns that reading a pickle runs code of whoever can write
    to the store.
    """

    def init_app(self, app: Any, config: dict[str, Any] | None = None) -> None:
        """As :meth:`decant.cache.Cache.init_app`."""
        if config is not None and not isinstance(config, dict):
            return super().init_app(app, config)  # which says that it must be one
        said = {**app.config, **(self.config or {}), **(config or {})}
        own: dict[str, Any] = {"CACHE_TYPE": _kind(said.get("CACHE_TYPE", "NullCache"))}
        if "." in str(said.get("CACHE_TYPE")):  # Flask-Caching warns of NullCache by its short names only
            own["CACHE_NO_NULL_WARNING"] = True
        if said.get("CACHE_SERIALIZER") is None:
            own["CACHE_SERIALIZER"] = _serializer(own["CACHE_TYPE"])
        return super().init_app(app, {**(config or {}), **own})

    @staticmethod
    def _memvname(funcname: str) -> str:
        return f"{funcname}_memver"  # the key of a memoized function's version, which some applications delete


class BaseCache:
    """What an application derives a store of its own from, as from Flask-Caching's: its methods are plain functions,
    and are called in threads. ``CACHE_TYPE`` names the class, or a factory.
    """

    def __init__(self, default_timeout: int = 300) -> None:
        self.default_timeout = default_timeout
        self.ignore_errors = False

    @classmethod
    def factory(cls, app: Any, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Make it for an application; ``kwargs`` has ``default_timeout`` and ``CACHE_OPTIONS``."""
        return cls()

    def get(self, key: str) -> Any:
        """The value, or ``None``."""
        return None

    def delete(self, key: str) -> bool:
        """Whether there was one."""
        return True

    def get_many(self, *keys: str) -> list[Any]:
        """Their values, in this order."""
        return [self.get(key) for key in keys]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Their values, by key."""
        return dict(zip(keys, self.get_many(*keys), strict=True))

    def set(self, key: str, value: Any, timeout: int | None = None) -> bool | None:
        """Store a value, for ``timeout`` seconds."""
        return True

    def add(self, key: str, value: Any, timeout: int | None = None) -> bool:
        """Store a value if there is none."""
        return True

    def set_many(self, mapping: Mapping[str, Any], timeout: int | None = None) -> list[Any]:
        """Store several; the keys that were stored."""
        return [key for key, value in mapping.items() if self.set(key, value, timeout)]

    def delete_many(self, *keys: str) -> list[Any]:
        """Delete several; the keys that are gone."""
        return [key for key in keys if self.delete(key)]

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        raise NotImplementedError(f"{type(self)} doesn't have an efficient implementation of `has`")

    def clear(self) -> bool:
        """Delete everything."""
        return True

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Count up; not atomic."""
        value = (self.get(key) or 0) + delta
        return value if self.set(key, value) else None

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Count down; not atomic."""
        return self.inc(key, -delta)

    def unlink(self, *keys: str) -> list[Any]:
        """:meth:`delete_many`."""
        return self.delete_many(*keys)


def _kind(kind: Any) -> Any:
    """``CACHE_TYPE`` in the words of :mod:`decant.cache`."""
    if isinstance(kind, str) and "." in kind:
        module, _, name = kind.rpartition(".")
        if module.partition(".")[0] == "flask_caching":
            return _TWINS.get(name, name)
        try:
            kind = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            return kind  # decant.cache says what is wrong with it
    if isinstance(kind, type) and _has_own_factory(kind):
        factory: Callable[..., Any] = kind.factory  # type: ignore[attr-defined]
        return factory
    kind = _TWINS.get(kind, kind) if isinstance(kind, str) else kind
    return getattr(kind, "_twin_class", kind)


def _has_own_factory(kind: type[Any]) -> bool:
    """Whether a class of the application's, or :class:`BaseCache`, has a ``factory``, and not only the store above."""
    for base in kind.__mro__:
        if base in _STORES.values() or issubclass(base, _Stored):
            return False
        if "factory" in vars(base):
            return True
    return False


class _OwnMemory:
    """Pickles of this process, which nobody else can write: nothing to warn of."""

    def __init__(self) -> None:
        self._pickle = serializers.PickleSerializer()
        self.dumps, self.loads = self._pickle.dumps, self._pickle.loads


def _serializer(kind: Any) -> Any:
    """For a store of :mod:`decant.cache` what Flask-Caching has; others serialize for themselves."""
    if _is(kind, "SimpleCache", "simple"):
        return _OwnMemory()
    if _is(kind, "NullCache", "null"):
        return None
    is_ours = "." not in kind if isinstance(kind, str) else isinstance(kind, type) and issubclass(kind, _Stored)
    return "pickle" if is_ours else None


def _is(kind: Any, name: str, old: str) -> bool:
    return kind in (name, old) or (isinstance(kind, type) and issubclass(kind, getattr(backends, name)))


def _pickling(name: str) -> type[Any] | None:
    """A store that has Flask-Caching's format where an application makes it itself, too; ``None`` without its extra."""
    try:
        store = getattr(backends, name)
    except MissingExtra:
        return None

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        store.__init__(self, *args, **kwargs)
        self.serializer = serializers.PickleSerializer()

    wraps(store.__init__)(__init__)
    return type(name, (store,), {"__module__": store.__module__, "__doc__": store.__doc__, "__init__": __init__})


def _missing(name: str) -> type[BaseCache]:
    """A store whose extra is not installed: most applications import it, or what names it, without using it."""

    def __init__(self: BaseCache, *args: Any, **kwargs: Any) -> None:
        getattr(backends, name)  # says what to install

    return type(name, (BaseCache,), {"__doc__": "Without its extra it cannot be made.", "__init__": __init__})


_NAMES: Final = [name for name in backends.__all__ if name not in ("BaseCache", "NullCache")]
_TWINS: Final = {name: twin for name in _NAMES if (twin := _pickling(name)) is not None}
_STORES: dict[str, Any] = {name: face(_TWINS[name]) if name in _TWINS else _missing(name) for name in _NAMES}
_STORES["NullCache"] = face(backends.NullCache)


class SASLMemcachedCache(BaseCache):
    """Can be imported, for what asks whether a store is one; cannot be made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ConfigError(
            "CACHE_TYPE",
            type(self).__name__,
            "MemcachedCache is without SASL: use it, RedisCache, or a class of your own",
        )


class SpreadSASLMemcachedCache(SASLMemcachedCache):
    """Likewise."""


_STORES |= {kind.__name__: kind for kind in (SASLMemcachedCache, SpreadSASLMemcachedCache)}
_CONTRIB: Final = {
    "googlecloudstoragecache": "use RedisCache, or a cache of your own as CACHE_TYPE",
    "uwsgicache": "use RedisCache, or a cache of your own as CACHE_TYPE",
    "GoogleCloudStorageCache": "use RedisCache, or a cache of your own as CACHE_TYPE",
    "UWSGICache": "use RedisCache, or a cache of your own as CACHE_TYPE",
}
_UTILS: Final = (
    *("function_namespace", "get_arg_default", "get_arg_names", "get_id", "join_generator"),
    *("make_template_fragment_key", "normalize_timeout", "query_args_as_pairs", "wants_args", "wants_extra_args"),
)
_UTILS_ABSENT: Final = {
    "TEMPLATE_FRAGMENT_KEY_TEMPLATE": "use make_template_fragment_key()",
    "del_chars": "use function_namespace()",
    "valid_chars": "use function_namespace()",
    "null_control": "use function_namespace()",
    "get_function_parameters": "use inspect.signature()",
}


def _store(*wanted: str) -> Module:
    return Module({"BaseCache": BaseCache, **{name: _STORES[name] for name in wanted}})


MODULES: Final = {
    "flask_caching": Module(
        {
            "Cache": face(Cache),
            "__version__": "2.5.1",
            "CachedResponse": cache.CachedResponse,
            "SUPPORTED_HASH_FUNCTIONS": cache.SUPPORTED_HASH_FUNCTIONS,
            "BaseCache": BaseCache,
            "SimpleCache": _STORES["SimpleCache"],
            "CacheExtension": jinja2ext.CacheExtension,
            "JINJA_CACHE_ATTR_NAME": jinja2ext.JINJA_CACHE_ATTR_NAME,
            **names(signals, *signals.__all__),
            **names(utils, *_UTILS),
        },
        {"VERSION_TIMEOUT": "the versions of memoized functions live as long as their values"},
    ),
    "flask_caching.backends": _store(*_STORES),
    "flask_caching.backends.base": _store(),
    "flask_caching.backends.filesystemcache": _store("FileSystemCache"),
    "flask_caching.backends.memcache": _store("MemcachedCache", "SASLMemcachedCache", "SpreadSASLMemcachedCache"),
    "flask_caching.backends.nullcache": _store("NullCache"),
    "flask_caching.backends.rediscache": _store("RedisCache", "RedisSentinelCache", "RedisClusterCache"),
    "flask_caching.backends.simplecache": _store("SimpleCache"),
    "flask_caching.contrib": Module({}, _CONTRIB),
    "flask_caching.jinja2ext": Module(
        {
            **names(jinja2ext, "CacheExtension", "JINJA_CACHE_ATTR_NAME"),
            **names(utils, "make_template_fragment_key", "normalize_timeout"),
        }
    ),
    "flask_caching.signals": Module(names(signals, *signals.__all__)),
    "flask_caching.utils": Module(names(utils, *_UTILS), _UTILS_ABSENT),
}
