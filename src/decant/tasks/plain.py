"""``self`` of a task that is a plain function: what does I/O returns its value."""

from __future__ import annotations

from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from ..faces.marks import IO
from ..faces.values import call
from .task import Task

__all__ = ["plain_of"]

_made: WeakKeyDictionary[type[Any], type[Any]] = WeakKeyDictionary()
_SIGNATURES = ("signature", "subtask", "s", "si", "chunks", "map", "starmap", "AsyncResult")


def plain_of(task: Task) -> Any:
    """A task of a class derived from its class, with the same attributes: ``isinstance`` and ``super()`` work."""
    kind = _made.get(type(task))
    if kind is None:
        names = [name for name in dir(Task) if hasattr(getattr(Task, name, None), IO)]
        body: dict[str, Any] = {name: _method(name) for name in (*names, *_SIGNATURES)}
        made_kind: Any = type(type(task))
        kind = _made[type(task)] = made_kind(type(task).__name__, (type(task),), body)
    made: Any = object.__new__(kind)
    made.__dict__ = task.__dict__
    task.__dict__["_task"] = task
    return made


def _method(name: str) -> Any:
    @wraps(getattr(Task, name))
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(getattr(self._task, name), args, kwargs)

    for mark in ("_is_coroutine_mark", "_is_coroutine", IO):
        vars(method).pop(mark, None)
    return method
