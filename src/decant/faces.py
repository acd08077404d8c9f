"""The synchronous face of an asynchronous class: one implementation for Quart, and for Flask.

A twin is written once, async, and marks what talks to the outside::

    class Cache:
        @io_method
        async def get(self, key: str) -> object: ...

        @io_property
        async def state(self) -> str: ...

``face(Cache)`` is the class that Flask code uses: ``cache.get("a")`` returns the value and ``cache.state`` is a plain
value, by way of :func:`decant.bridge.wait`, so in a thread, in a bridge on the loop, and in a script alike. ``async
with`` becomes ``with``, ``async for`` becomes ``for``, coroutine functions become functions, returned twins come as
their faces (in lists, tuples, sets and dictionaries too), and everything else passes through.

Functions that a user hands to a face run where that user waits: on the loop in the caller's bridge, or in the
caller's thread. Only there may they be called, so a twin calls every function of a user as ``await called(f, …)``.

An iterator that is left early is closed as an async generator is: soon, by the loop. To have it closed at once, use
``contextlib.closing``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from functools import partial, update_wrapper, wraps
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction, isroutine, unwrap
from types import FunctionType, MethodType
from typing import Any, Final, Generic, NoReturn, TypeVar, overload
from weakref import WeakKeyDictionary

from .bridge import can_wait, in_thread, thread_waits, wait

__all__ = ["Face", "called", "face", "faced", "io_method", "io_property", "twin_of"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_IO: Final = "__decant_io__"


def io_method(function: F) -> F:
    """Mark a method that does I/O: on the face, what it returns is awaited."""
    setattr(getattr(function, "__func__", function), _IO, True)
    return function


class _Unawaited(Generic[T]):
    """What an :class:`io_property` is before ``await``: whatever else is done with it is a mistake."""

    __slots__ = ("_getter", "_name", "_owner")

    def __init__(self, getter: Callable[[Any], Awaitable[T]], owner: Any, name: str) -> None:
        self._getter, self._owner, self._name = getter, owner, name

    def __await__(self) -> Generator[Any, Any, T]:
        return self._getter(self._owner).__await__()

    def __repr__(self) -> str:
        return f"<{self._name}, not awaited>"

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(f"{self._name} is not a value yet: await it, as in `await x.{self._name.rpartition('.')[2]}`")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self._name} is not a value yet, so it has no {name!r}: await it, `(await …).{name}`")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _refuse
    __len__ = __iter__ = __contains__ = __getitem__ = __int__ = __float__ = __index__ = __hash__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __or__ = __and__ = __format__ = _refuse


class io_property(Generic[T]):
    """A property whose getter is a coroutine function: ``await r.state``; a plain value on the face."""

    def __init__(self, getter: Callable[[Any], Awaitable[T]]) -> None:
        self.getter = getter
        self.fset: Callable[[Any, Any], None] | None = None
        self.name = getattr(getter, "__qualname__", repr(getter))
        self.__doc__ = getter.__doc__

    def setter(self, function: Callable[[Any, Any], None]) -> io_property[T]:
        """Add a setter: a plain function, since an assignment cannot be awaited."""
        self.fset = function
        return self

    @overload
    def __get__(self, owner: None, kind: type) -> io_property[T]: ...
    @overload
    def __get__(self, owner: object, kind: type | None = None) -> Awaitable[T]: ...
    def __get__(self, owner: object, kind: type | None = None) -> io_property[T] | Awaitable[T]:
        return self if owner is None else _Unawaited(self.getter, owner, self.name)

    def __set__(self, owner: object, value: Any) -> None:
        if self.fset is None:
            raise AttributeError(f"{self.name} cannot be set")
        self.fset(owner, value)


async def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a user's function, sync or async, handed over by a face or not, and return its value."""
    result = function(*args, **kwargs)
    return await result if isawaitable(result) else result


class _Callback:
    """A user's sync function on its way to a twin; equal to it, and described as it is."""

    __slots__ = ("__dict__", "__weakref__", "_function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        work = partial(self._function, *map(_shown, args), **{key: _shown(value) for key, value in kwargs.items()})
        if asyncio._get_running_loop() is not None and (thread_waits() or not can_wait()):
            return in_thread(lambda: twin_of(work()))
        return twin_of(work())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __eq__(self, other: object) -> bool:
        return self._function == (other._function if isinstance(other, _Callback) else other)

    def __hash__(self) -> int:
        return hash(self._function)


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
            return _shown(wait(method(*args)))
        except StopAsyncIteration:
            raise StopIteration from None


class Face:
    """The base of all faces. An instance holds its twin, gets and sets its attributes, and is equal to what it is."""

    _twin: Any
    _twin_class: type[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "_twin", self._twin_class(*_hand(args), **_hand(kwargs)))

    def __getattr__(self, name: str) -> Any:
        if name == "_twin":  # an instance that is being copied, before it has one
            raise AttributeError(name)
        return _shown(getattr(self._twin, name))

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(getattr(type(self), name, None), "__set__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._twin, name, _hand(value))

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
    return type(value)(zip(value, changed, strict=True) if isinstance(value, dict) else changed)


_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
_FUNCTIONS: Final = (FunctionType, MethodType, partial)


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def _hand(value: Any) -> Any:
    """What a twin gets for what its user gave: no faces, and functions that run where the user waits."""
    if isinstance(value, Face):
        return value._twin
    if isinstance(value, _FUNCTIONS) and not _is_async(value):
        if isinstance(value, MethodType) and value.__func__ in _ORIGINS:
            return MethodType(_ORIGINS[value.__func__], value.__self__)
        return _ORIGINS.get(value) or _Callback(value)
    return _each(value, _hand) if type(value) in _CONTAINERS else value


def _shown(value: Any) -> Any:
    """What a user gets for what a twin has or returned."""
    kind = type(value)
    if kind in _CONTAINERS:
        return _each(value, _shown)
    if kind is _Callback:
        return value._function
    if isinstance(value, _FUNCTIONS):
        return _function(value)
    return faced(value) if _is_twin(kind) else value


def _result(value: Any, io: bool = True) -> Any:
    """What a user gets for what a method returned: waited for, iterable with ``for``, usable with ``with``."""
    if asyncio.iscoroutine(value) or (io and isawaitable(value)):
        value = wait(value)
    kind = type(value)
    if hasattr(kind, "__anext__") and not _is_twin(kind):
        return _Iterator(value)
    return faced(value) if hasattr(kind, "__aenter__") or hasattr(kind, "__aiter__") else _shown(value)


_ORIGINS: Final[WeakKeyDictionary[Callable[..., Any], Callable[..., Any]]] = WeakKeyDictionary()


def _function(origin: Callable[..., Any]) -> Callable[..., Any]:
    """A twin's function, method or decorator, for sync code; attributes set on it are set on the twin's."""
    decorated = isinstance(unwrap(origin, stop=lambda f: isinstance(f, _Callback)), _Callback)

    @wraps(origin)
    def function(*args: Any, **kwargs: Any) -> Any:
        if decorated:  # the user's own arguments
            return _result(origin(*args, **kwargs))
        return _call(origin, args, kwargs)

    _as_plain(function)
    _ORIGINS[function] = origin
    return function


def _as_plain(function: Callable[..., Any]) -> None:
    """Forget that ``wraps`` copied the mark of a coroutine function."""
    for mark in ("_is_coroutine_mark", "_is_coroutine"):
        vars(function).pop(mark, None)


def _call(origin: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = origin(*_hand(args), **_hand(kwargs))
    if isinstance(result, _FUNCTIONS) and any(map(_is_async, args)) and (_is_async(result) or unwrap(result) in args):
        return result  # an async function, decorated: it stays async
    return _result(result, getattr(origin, _IO, False))


_OPERATORS: Final = frozenset(
    f"__{name}__"
    for name in (  # noqa: SIM905
        "call len getitem setitem delitem contains bool iter next reversed int float index complex str bytes format"
        " enter exit lt le gt ge add radd iadd sub rsub isub mul rmul imul truediv floordiv mod and rand iand or ror"
        " ior xor rxor lshift rlshift rshift rrshift neg pos invert abs round"
    ).split()
)
_ASYNC_OPERATORS: Final = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}


def _method(name: str, original: Any) -> Any:
    @wraps(original)
    def method(self: Face, /, *args: Any, **kwargs: Any) -> Any:
        return _call(getattr(self._twin, name), args, kwargs)

    _as_plain(method)
    return method


def _next(self: Face) -> Any:
    """The next item."""
    try:
        return _result(self._twin.__anext__())
    except StopAsyncIteration:
        raise StopIteration from None


def _awaited(name: str, original: Any) -> Any:
    """``__aenter__`` as ``__enter__``, and its like."""
    if name == "__anext__":
        return _next

    def operator(self: Face, *args: Any) -> Any:
        return _result(getattr(self._twin, name)(*args))

    operator.__doc__ = original.__doc__
    return operator


class _Attribute:
    """A class attribute, property, static or class method of the twin, on the class and on the instance."""

    def __init__(self, name: str, original: Any) -> None:
        self.name, self.io = name, isinstance(original, io_property)
        self.__doc__ = original.__doc__ if hasattr(type(original), "__get__") else None

    def __get__(self, owner: Face | None, kind: type[Face]) -> Any:
        if owner is None:
            value = getattr(kind._twin_class, self.name)
            return value if self.io else _shown(value)
        value = getattr(owner._twin, self.name)
        return _result(value) if self.io else _shown(value)

    def __set__(self, owner: Face, value: Any) -> None:
        setattr(owner._twin, self.name, _hand(value))

    def __delete__(self, owner: Face) -> None:
        delattr(owner._twin, self.name)


def _members(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, original in vars(cls).items():
        if name in _ASYNC_OPERATORS:
            yield _ASYNC_OPERATORS[name], _awaited(name, original)
        elif name in _OPERATORS or (not name.startswith("_") and isroutine(original) and callable(original)):
            if isinstance(original, staticmethod | classmethod):
                yield name, _Attribute(name, original)
            else:
                yield name, _method(name, original)
        elif not name.startswith("_"):
            yield name, _Attribute(name, original)
        elif name == "__init__" and cls is not object:
            yield name, wraps(original)(lambda self, *args, **kwargs: Face.__init__(self, *args, **kwargs))


_FACE: Final = "__decant_face__"
_static_types: Final[dict[type[Any], type[Face]]] = {}
_building: Final = threading.RLock()
_known: Final[WeakKeyDictionary[type[Any], bool]] = WeakKeyDictionary()


def face(cls: type[Any]) -> Any:
    """The class that sync code uses in place of ``cls``; the same one each time.

    It takes the arguments of ``cls``, and has its methods with their signatures and docstrings, its properties,
    operators, static and class methods. The faces of base classes are its bases.

    >>> class Greeter:
    ...     async def hello(self, name: str) -> str:
    ...         return f"hello {name}"
    >>> face(Greeter)().hello("world")
    'hello world'
    """
    with _building:
        made = vars(cls).get(_FACE) or _static_types.get(cls)
        if made is None:
            bases = tuple(face(base) for base in cls.__bases__ if base is not object and base is not Generic)
            body = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
            made = type(cls.__name__, bases or (Face,), body | {"_twin_class": cls} | dict(_members(cls)))
            _known[cls] = True
            try:
                setattr(cls, _FACE, made)
            except TypeError:  # a class of C
                _static_types[cls] = made
        return made


def faced(twin: Any) -> Any:
    """The face of one twin, as an instance of ``face(type(twin))``."""
    made = object.__new__(face(type(twin)))
    object.__setattr__(made, "_twin", twin)
    return made


def _is_twin(kind: type[Any]) -> bool:
    """Whether a class, or a base of it, marks I/O or has been given a face."""
    known = _known.get(kind)
    if known is None:
        known = _known[kind] = any(
            isinstance(member, io_property) or hasattr(getattr(member, "__func__", member), _IO)
            for base in kind.__mro__
            for member in vars(base).values()
        )
    return known
