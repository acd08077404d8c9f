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

_FILTERS: Final = {"batch": 0, "max": 1, "min": 1, "reverse": 0, "sort": 1}
"""Those of Jinja's that iterate over what they are given, and are not asynchronous themselves; which argument that is:
some are given the environment before it.
"""


def iterate_in_filters(environment: Environment) -> None:
    """Let Jinja's own ``batch``, ``max``, ``min``, ``reverse`` and ``sort`` take what ``map`` and its like give."""
    for name, place in _FILTERS.items():
        environment.filters[name] = _taking(environment.filters[name], place)


def _taking(function: Callable[..., Any], place: int) -> Callable[..., Any]:
    @wraps(function)  # with the mark that has it given the environment
    def call(*args: Any, **kwargs: Any) -> Any:
        if not hasattr(args[place], "__aiter__"):
            return function(*args, **kwargs)
        return _gathered(*args, **kwargs)  # awaited by the template, as each filter's result is

    async def _gathered(*args: Any, **kwargs: Any) -> Any:
        items = [item async for item in args[place]]
        return function(*args[:place], items, *args[place + 1 :], **kwargs)

    return call
