"""What passes between a face and its twin: arguments one way, results the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncContextDecorator
from functools import cache, partial, update_wrapper, wraps
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction, unwrap
from types import FunctionType, MethodType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from ..bridge import can_wait, in_thread, thread_waits, wait
from .marks import BOTH, IO, called, io_property

__all__ = ["OVERRIDDEN", "Face", "as_plain", "call", "faced", "hand", "is_twin", "result", "shown", "twin_of", "twins"]

OVERRIDDEN: Final = "__decant_overridden__"
"""The names of methods that a user's subclass of a face has instead of the twin's, on the twin's own subclass."""


class _Callback:
    """A user's sync function on its way to a twin; equal to it, and described as it is."""

    __slots__ = ("__dict__", "__weakref__", "_function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        work = partial(self._function, *_faces(args), **_faces(kwargs))
        if asyncio._get_running_loop() is not None and (thread_waits() or not can_wait()):
            return _off_the_loop(work)
        return twin_of(work())

    def __getattr__(self, name: str) -> Any:
        if name == "_function":  # while it is being copied
            raise AttributeError(name)
        return getattr(self._function, name)

    def __eq__(self, other: object) -> bool:
        return self._function == (other._function if isinstance(other, _Callback) else other)

    def __hash__(self) -> int:
        return hash(self._function)


async def _off_the_loop(work: Callable[[], Any]) -> Any:
    got = await in_thread(lambda: twin_of(work()))
    return await got if isawaitable(got) else got  # a lambda around a coroutine function, say


class _Iterator(Iterator[Any]):
    """An async iterator, or async generator, as a plain one."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __next__(self) -> Any:
        return self._step(self._source.__anext__)

    def send(self, value: Any) -> Any:
        return self._step(self._source.asend, twin_of(value))

    def throw(self, error: BaseException) -> Any:
        return self._step(self._source.athrow, error)

    def close(self) -> None:
        """Run the generator's ``finally`` blocks now."""
        if hasattr(self._source, "aclose"):
            wait(self._source.aclose())

    def _step(self, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        try:
            return shown(wait(method(*args)))
        except StopAsyncIteration:
            raise StopIteration from None


class Face:
    """The base of all faces. An instance holds its twin, gets and sets its attributes, and is equal to what it is."""

    _twin: Any
    _twin_class: type[Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_twin_class" not in vars(cls):  # a user's
            from .overrides import overriding  # which is made of what is here

            cls._twin_class = overriding(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given, options = hand(args), hand(kwargs)
        twin = self._twin_class.__new__(self._twin_class, *given, **options)
        object.__setattr__(self, "_twin", twin)
        _shown_as[id(twin)] = self  # before __init__, which may hand the twin on
        if hasattr(type(twin), OVERRIDDEN):
            object.__setattr__(twin, "_decant_user", self)  # whose methods it calls, and attributes they need
        twin.__init__(*given, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "_twin":  # an instance that is being copied, before it has one
            raise AttributeError(name)
        return shown(getattr(self._twin, name))

    def __setattr__(self, name: str, value: Any) -> None:
        own = vars(self)  # of a subclass: what it sets before it calls our __init__
        if "_twin" not in own or name in own or hasattr(getattr(type(self), name, None), "__set__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._twin, name, hand(value))

    def __delattr__(self, name: str) -> None:
        delattr(self._twin, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._twin)})

    def __eq__(self, other: object) -> bool:
        return bool(self._twin == other._twin) if isinstance(other, Face) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._twin)

    def __repr__(self) -> str:
        return f"<face of {self._twin!r}>"


def twin_of(value: Any) -> Any:
    """The twin that a face holds; whatever is no face comes back as it is."""
    return value._twin if isinstance(value, Face) else value


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same container if ``change`` leaves its items as they are, else a new one."""
    items = [*value.values()] if isinstance(value, dict) else [*value]
    changed = [change(item) for item in items]
    if all(new is old for new, old in zip(changed, items, strict=True)):
        return value
    if isinstance(value, dict):
        return dict(zip(value, changed, strict=True))
    return getattr(value, "_make", type(value))(changed)


_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})


def _is_container(kind: type[Any]) -> bool:
    return kind in _CONTAINERS or (issubclass(kind, tuple) and hasattr(kind, "_make"))


_FUNCTIONS: Final = (FunctionType, MethodType, partial)
_USERS_FUNCTIONS: Final = (*_FUNCTIONS, type(cache(lambda: None)))


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def hand(value: Any) -> Any:
    """What a twin gets for what its user gave: no faces, and functions that run where the user waits."""
    if isinstance(value, Face):
        return value._twin
    if isinstance(value, _USERS_FUNCTIONS) and not _is_async(value):
        if isinstance(value, MethodType) and value.__func__ in _ORIGINS:
            return MethodType(_ORIGINS[value.__func__], value.__self__)
        return _ORIGINS.get(value) or _Callback(value)
    return _each(value, hand) if _is_container(type(value)) else value


def _faces(value: Any) -> Any:
    """Twins as their faces, users' functions as they were handed over, and all else as it is."""
    kind = type(value)
    if _is_container(kind):
        return _each(value, _faces)
    if kind is _Callback:
        return value._function
    return faced(value) if is_twin(kind) else value


def shown(value: Any) -> Any:
    """What a user gets for what a twin has."""
    return _function(value) if isinstance(value, _FUNCTIONS) else _faces(value)


def result(value: Any, convert: Callable[[Any], Any] = shown) -> Any:
    """What a user gets for what a method returned: waited for, iterable with ``for``, usable with ``with``."""
    if asyncio.iscoroutine(value):
        value = wait(value)
    kind = type(value)
    if getattr(kind, BOTH, False):
        return value
    if hasattr(kind, "__anext__") and not is_twin(kind):
        return _Iterator(value)
    return faced(value) if hasattr(kind, "__aenter__") or hasattr(kind, "__aiter__") else convert(value)


_ORIGINS: Final[WeakKeyDictionary[Callable[..., Any], Callable[..., Any]]] = WeakKeyDictionary()


def _function(origin: Callable[..., Any]) -> Callable[..., Any]:
    """A twin's function, method or decorator, for sync code; attributes set on it are set on the twin's."""
    decorated = isinstance(unwrap(origin, stop=lambda f: isinstance(f, _Callback)), _Callback)

    @wraps(origin)
    def function(*args: Any, **kwargs: Any) -> Any:
        if decorated:  # arguments and result are the user's own
            return result(origin(*args, **kwargs), _faces)
        return call(origin, args, kwargs)

    if decorated:
        function.__dict__ = origin.__dict__
    else:
        as_plain(function)
    _ORIGINS[function] = origin
    return function


def as_plain(function: Callable[..., Any]) -> None:
    """Forget that ``wraps`` copied the mark of a coroutine function."""
    for mark in ("_is_coroutine_mark", "_is_coroutine"):
        vars(function).pop(mark, None)


def call(origin: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given, options = hand(args), hand(kwargs)
    if isinstance(getattr(origin, "__self__", None), AsyncContextDecorator):
        given = tuple(_awaited(item) if isinstance(item, _Callback) else item for item in given)
    if getattr(origin, IO, False) and not _is_async(origin):
        return result(wait(_invoked(origin, given, options)))
    got = origin(*given, **options)
    if isinstance(got, _FUNCTIONS) and any(map(_is_async, args)) and (_is_async(got) or unwrap(got) in args):
        return got  # an async function, decorated: it stays async
    return result(got)


async def _invoked(origin: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A plain function that does I/O is called on the loop, where it may start tasks."""
    return await called(origin, *args, **kwargs)


def _awaited(callback: _Callback) -> Callable[..., Any]:
    """As contextlib's decorators want it: a coroutine function."""

    @wraps(callback)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        return await called(callback, *args, **kwargs)

    return awaited


_marked: Final[WeakKeyDictionary[type[Any], bool]] = WeakKeyDictionary()
twins: Final[WeakSet[type[Any]]] = WeakSet()
"""The classes whose faces were asked for."""


def is_twin(kind: type[Any]) -> bool:
    """Whether a class or a base of it marks I/O, or its face was asked for."""
    marked = _marked.get(kind)
    if marked is None:
        marked = _marked[kind] = any(
            isinstance(member, io_property) or hasattr(getattr(member, "__func__", member), IO)
            for base in kind.__mro__
            for member in vars(base).values()
        )
    return marked or (bool(twins) and not twins.isdisjoint(kind.__mro__))


# By id: a twin need not be hashable, and lives as long as its face.
_shown_as: Final[WeakValueDictionary[int, Face]] = WeakValueDictionary()


def faced(twin: Any) -> Any:
    """The face of one twin, as an instance of ``face(type(twin))``; the same one while somebody holds it."""
    from .classes import build  # which is made of what is here

    found = twin if isinstance(twin, Face) else _shown_as.get(id(twin))
    if found is not None:
        return found
    made = object.__new__(build(type(twin)))
    object.__setattr__(made, "_twin", twin)
    return _shown_as.setdefault(id(twin), made)
