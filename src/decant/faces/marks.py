"""What a twin says of itself: which methods and properties do I/O, and how it calls its users' functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from inspect import isawaitable
from typing import Any, Final, Generic, NoReturn, TypeVar, overload

__all__ = ["BOTH", "IO", "called", "io_method", "io_property"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
IO: Final = "__decant_io__"
BOTH: Final = "__decant_both__"
"""A true attribute of this name: instances of the class serve sync code as they are, though it has ``__aiter__``."""


def io_method(function: F) -> F:
    """Mark a method that does I/O: on the face, what it returns is awaited."""
    setattr(getattr(function, "__func__", function), IO, True)
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
