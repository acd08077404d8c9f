"""The function of a task, ready to be called, in a worker and in its processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ..task import Task

__all__ = ["prepared"]


def prepared(task: Task, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    """It with its arguments, put together by its annotations; a ``__call__`` of the project's own class, if it has one.

    :raises ValueError: for arguments that its annotations do not allow (any more); also ``TypeError``.
    """
    given, named = task.adapt(args, kwargs)
    return partial(task.entry, *given, **named)
