"""Subclasses of a face: what they override, the twin calls as well."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from typing import Any

from .marks import IO, called, io_method
from .values import OVERRIDDEN, Face, faced, hand, shown

__all__ = ["overriding"]


def overriding(user: type[Face]) -> type[Any]:
    """The twin's class for a user's subclass of a face: one with the subclass's public methods instead of its own.

    ``super().get(…)`` in such a method calls the twin's.
    """
    twin = user._twin_class
    methods: dict[str, Any] = {}
    for name, value in vars(user).items():
        original = None if name.startswith("_") or not isfunction(value) else getattr(twin, name, None)
        if callable(original):
            methods[name] = _calling(name, original)
    known: frozenset[str] = getattr(twin, OVERRIDDEN, frozenset())
    body = {"__module__": user.__module__, "__doc__": user.__doc__, OVERRIDDEN: known | methods.keys()}
    return type(user.__name__, (twin,), {**body, **methods, "__decant_face__": user})


def _calling(name: str, original: Any) -> Callable[..., Any]:
    if iscoroutinefunction(original) or hasattr(original, IO):

        @io_method
        @wraps(original)
        async def asynchronous(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await called(hand(getattr(faced(self), name)), *args, **kwargs)

        return asynchronous

    @wraps(original)
    def synchronous(self: Any, *args: Any, **kwargs: Any) -> Any:
        return hand(getattr(faced(self), name)(*shown(args), **shown(kwargs)))

    return synchronous
