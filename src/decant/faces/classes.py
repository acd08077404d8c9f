"""``face``: the class that sync code uses in place of an async one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import wraps
from inspect import isroutine
from typing import Any, Final, Generic

from ..bridge import wait
from .marks import io_property
from .values import OVERRIDDEN, Face, as_plain, call, hand, result, shown, twins

__all__ = ["build", "face"]

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
        twin = self._twin
        if name in getattr(type(twin), OVERRIDDEN, ()):  # super().method() of a user's subclass
            return call(original.__get__(twin), args, kwargs)
        return call(getattr(twin, name), args, kwargs)

    as_plain(method)
    return method


def _next(self: Face) -> Any:
    """The next item."""
    try:
        return result(self._twin.__anext__())
    except StopAsyncIteration:
        raise StopIteration from None


def _operator(name: str, original: Any) -> Any:
    """``__aenter__`` as ``__enter__``, and its like."""
    if name == "__anext__":
        return _next

    def operator(self: Face, *args: Any) -> Any:
        return result(getattr(self._twin, name)(*args))

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
            return value if self.io else shown(value)
        value = getattr(owner._twin, self.name)
        return result(wait(value)) if self.io else shown(value)

    def __set__(self, owner: Face, value: Any) -> None:
        setattr(owner._twin, self.name, hand(value))

    def __delete__(self, owner: Face) -> None:
        delattr(owner._twin, self.name)


def _members(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, original in vars(cls).items():
        if name in _ASYNC_OPERATORS:
            yield _ASYNC_OPERATORS[name], _operator(name, original)
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
_OWN: Final = "__face_members__"  # of a twin: what its face has otherwise, because libraries look for the original's
_static_types: Final[dict[type[Any], type[Face]]] = {}
_building: Final = threading.RLock()


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
    twins.add(cls)
    return build(cls)


def build(cls: type[Any]) -> type[Face]:
    """The face of ``cls``, which does not thereby become one that results are shown with."""
    with _building:
        made: type[Face] | None = vars(cls).get(_FACE) or _static_types.get(cls)
        if made is None:
            bases = tuple(build(base) for base in cls.__bases__ if base is not object and base is not Generic)
            body = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
            members = dict(_members(cls)) | vars(cls).get(_OWN, {})
            made = type(cls.__name__, bases or (Face,), body | {"_twin_class": cls} | members)
            try:
                setattr(cls, _FACE, made)
            except TypeError:  # a class written in C
                _static_types[cls] = made
        return made
