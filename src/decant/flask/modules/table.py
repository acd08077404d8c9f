"""One row of the tables: what a module has, and what it has not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Module", "names", "waiting"]


@dataclass(frozen=True)
class Module:
    """A module to be made.

    :param names: what is in it, as an application imports it.
    :param absent: names of the original that have no counterpart, submodules too, and what to use instead: half a
        sentence.
    :param doc: its docstring.
    """

    names: Mapping[str, Any]
    absent: Mapping[str, str] = field(default_factory=dict)
    doc: str = ""


def names(source: Any, *wanted: str) -> dict[str, Any]:
    """These of a module, by their names."""
    return {name: getattr(source, name) for name in wanted}


def waiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """A twin's coroutine function as a plain one, which waits."""
    from ...faces.values import shown

    made: Callable[..., Any] = shown(function)
    return made
