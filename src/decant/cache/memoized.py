"""``memoize``: functions, whose arguments say which value it is."""

from __future__ import annotations

import base64
import inspect
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from . import signals
from .calls import Call, Rules
from .responses import freeze, thaw
from .utils import (
    Timeout,
    function_namespace,
    get_arg_default,
    get_arg_names,
    get_id,
    normalize_timeout,
    positional_only,
    source_of,
)

if TYPE_CHECKING:
    from .extension import Cache

__all__ = ["MemoizeRules", "Versions", "memoize"]


@dataclass(frozen=True)
class MemoizeRules(Rules):
    """What only ``memoize`` has."""

    make_name: Callable[[str], str] | None = None
    hash_method: Callable[..., Any] | None = None
    source_check: bool | None = None
    args_to_ignore: Sequence[str] = ()


class Versions:
    """The version of a memoized function, and of the instance of a method: part of the keys of its values.

    A new version makes all of them unreachable. Keys and texts are Flask-Caching's, so both can share them.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def keys(self, f: Callable[..., Any], args: Any, ignored: Sequence[str] = ()) -> tuple[str, list[str]]:
        """The function's name in keys, and the keys of its versions, the instance's last."""
        name, instance = function_namespace(f, args)
        if "self" in ignored:
            instance = None
        return name, [f"{name}_memver"] + ([f"{instance}_memver"] if instance else [])

    async def current(self, keys: list[str], timeout: Timeout | None) -> str:
        """The versions, those made that are missing: by ``add``, so that processes which do so at once agree."""
        found = await self._cache.get_many(*keys)
        missing = [key for key, version in zip(keys, found, strict=True) if version is None]
        if missing:
            for key in missing:
                await self._cache.add(key, _new_version(), timeout)
            found = await self._cache.get_many(*keys)
        return "".join(version or "" for version in found)

    async def reset(self, key: str, timeout: Timeout | None) -> None:
        """A new version."""
        await self._cache.set_many({key: _new_version()}, timeout)


def _new_version() -> str:
    return base64.b64encode(uuid.uuid4().bytes)[:6].decode()


class Keys:
    """Makes the keys of one memoized function: those that Flask-Caching makes."""

    def __init__(self, cache: Cache, rules: MemoizeRules) -> None:
        self.cache, self.rules = cache, rules
        self.timeout: Callable[[], Timeout | None] = lambda: None

    def __call__(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The key of a call of ``f``; awaited, in Flask a plain text."""
        return self.cache.flavored(self.key(f, args, kwargs))

    async def key(self, f: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> str:
        rules, settings = self.rules, self.cache.settings_here()
        name, keys = self.cache.versions.keys(f, args, rules.args_to_ignore)
        version = await self.cache.versions.current(keys, self.timeout())
        if callable(rules.make_name):
            name = rules.make_name(name)
            name = await name if inspect.isawaitable(name) else name
        given, named = _ordered(f, args, kwargs, rules.args_to_ignore)
        hashed = (rules.hash_method or settings.hash_method)()
        hashed.update(f"{name}{given}{named}".encode())
        if settings.source_check if rules.source_check is None else rules.source_check:
            hashed.update(source_of(f))
        return base64.b64encode(hashed.digest())[:16].decode() + version


def _ordered(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], ignored: Sequence[str]
) -> tuple[tuple[Any, ...], OrderedDict[str, Any]]:
    """The arguments in the order of the parameters, however they were given: ``f(1, b=2)`` is ``f(a=1, b=2)``.

    :raises ValueError: for a method without the instance or class as the first argument.
    """
    first, names = positional_only(f), get_arg_names(f)
    rest = {name: value for name, value in kwargs.items() if name not in ignored}
    given = [args[place] if place < len(args) else get_arg_default(f, place) for place in range(len(first))]
    ordered: list[Any] = [None if name in ignored else value for name, value in zip(first, given, strict=True)]
    position = len(first)
    for index, name in enumerate(names):
        value: Any = None
        if name in ignored:
            position += 1
        elif index == 0 and not first and name in ("self", "cls"):
            if not args:
                kind = "classmethod" if name == "cls" else "method"
                raise ValueError(
                    f"When using `delete_memoized` on a `{kind}` you must provide the `{name}` argument as the first"
                    " positional argument."
                )
            value = get_id(args[0])
            position += 1
        elif name in rest:
            value = rest.pop(name)
        else:
            value = args[position] if position < len(args) else get_arg_default(f, len(first) + index)
            position += 1
        ordered.append(value)
    return (*ordered, *args[len(ordered) :]), OrderedDict(sorted(rest.items()))


@dataclass
class MemoizedCall(Call):
    kind = "memoize"
    rules: MemoizeRules
    keys: Any = None

    async def find_key(self) -> str:
        key: str = await self.keys.key(self.f, self.args, self.kwargs)
        return key

    async def packed(self, value: Any) -> tuple[Any, float | None]:
        return await freeze(value), None

    async def shown(self, value: Any) -> Any:
        return thaw(value)

    async def finished(self, value: Any, *, stored: bool) -> Any:
        return thaw(value)

    async def after_storing(self, timeout_s: float) -> None:
        """The versions live at least as long as the value: they are not written again, which could undo a reset."""
        _, keys = self.cache.versions.keys(self.f, self.args, self.rules.args_to_ignore)
        await self.state.backend.touch(*keys, timeout=timeout_s)

    async def announced(self, hit: bool) -> None:
        signal = signals.cache_memoize_hit if hit else signals.cache_memoize_miss
        await self.state.send(signal, cache_key=self.key, f=self.f, args=self.args, kwargs=dict(self.kwargs))


def memoize(cache: Cache, timeout: Any, rules: MemoizeRules) -> Callable[[Callable[..., Any]], Any]:
    """The decorator; see :meth:`decant.cache.Cache.memoize`."""
    normalize_timeout(timeout)  # a wrong one is said here

    def decorator(f: Callable[..., Any]) -> Any:
        keys = Keys(cache, rules)

        @wraps(f)
        async def decorated(*args: Any, **kwargs: Any) -> Any:
            app, state = cache.here()
            call = MemoizedCall(cache, state, app, f, args, kwargs, rules, made.cache_timeout, keys=keys)
            return await call.run()

        made = cast(Any, decorated)
        cache.decorates(f, rules.source_check)
        keys.timeout = lambda: made.cache_timeout
        made.uncached = f
        made.cache_timeout = timeout
        made.make_cache_key = keys
        made.delete_memoized = lambda: cache.flavored(cache.delete_memoized(made))
        return made

    return decorator
