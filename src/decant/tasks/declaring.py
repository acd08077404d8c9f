"""Options of tasks as attributes: in the bodies of classes, and of instances."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from .options import IGNORED_OPTIONS, TaskOptions, changed

__all__ = ["Declared", "option_attributes"]

T = TypeVar("T", bound=type)
_OPTIONS = frozenset(one.name for one in fields(TaskOptions))


class Option:
    """One option: of an instance what its ``options`` say, of a class what its body says."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, task: Any, kind: Any) -> Any:
        if task is None or "options" not in vars(task):
            return kind._declared.get(self.name, getattr(_DEFAULTS, self.name))
        return getattr(task.options, self.name)

    def __set__(self, task: Any, value: Any) -> None:
        changed(task.name, task.options, self.name, value)


_DEFAULTS = TaskOptions()


class Declared(type):
    """Collects the options in the body of a class, and leaves the attributes to :class:`Option`."""

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **kwargs: Any) -> Any:
        said = {key: body[key] for key in body if key in _OPTIONS | IGNORED_OPTIONS and not callable(body[key])}
        rest = {key: value for key, value in body.items() if key not in said}
        made: Any = super().__new__(mcs, name, bases, rest, **kwargs)
        before: dict[str, Any] = {}
        for base in reversed(made.__mro__[1:]):
            before |= vars(base).get("_own_options", {})
        made._own_options = {key: value for key, value in said.items() if key in _OPTIONS}
        made._declared = before | made._own_options
        return made


def option_attributes(cls: T) -> T:
    """Give a class an attribute for each option."""
    for name in _OPTIONS:
        setattr(cls, name, Option(name))
    return cls
