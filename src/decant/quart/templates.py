"""Jinja's filters that do not go together in an asynchronous environment, as Quart's is.

There ``map``, ``select``, ``reject`` and their like give asynchronous generators, which ``max``, ``sort`` and some
others cannot iterate over: ``{{ days | map(attribute="clicks") | max }}``, which a Flask application may have in its
templates, would be a ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from jinja2 import Environment

__all__ = ["iterate_in_filters"]

_FILTERS: Final = ("batch", "max", "min", "reverse", "sort")
"""Those of Jinja's that iterate over what they are given, and are not asynchronous themselves."""


def iterate_in_filters(environment: Environment) -> None:
    """Let Jinja's own ``batch``, ``max``, ``min``, ``reverse`` and ``sort`` take what ``map`` and its like give."""
    for name in _FILTERS:
        environment.filters[name] = _taking(environment.filters[name])


def _taking(function: Callable[..., Any]) -> Callable[..., Any]:
    place = int(hasattr(function, "jinja_pass_arg"))  # the environment comes before the value

    @wraps(function)  # with the mark that has it passed
    def call(*args: Any, **kwargs: Any) -> Any:
        if not hasattr(args[place], "__aiter__"):
            return function(*args, **kwargs)
        return _gathered(*args, **kwargs)  # awaited by the template, as each filter's result is

    async def _gathered(*args: Any, **kwargs: Any) -> Any:
        items = [item async for item in args[place]]
        return function(*args[:place], items, *args[place + 1 :], **kwargs)

    return call
