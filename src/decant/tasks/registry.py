"""The tasks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import AlreadyRegistered, NotRegistered

if TYPE_CHECKING:
    from .task import Task

__all__ = ["TaskRegistry"]


class TaskRegistry(dict[str, "Task"]):
    """Celery's registry: a dictionary whose misses raise :exc:`NotRegistered`."""

    def __missing__(self, key: str) -> Task:
        raise NotRegistered(key)

    def register(self, task: Task) -> None:
        """Add a task under its name. A function defined anew, as a reload does, takes the place of the old one.

        :raises AlreadyRegistered: if another function has that name.
        """
        known = self.get(task.name)
        if known is not None and known is not task and not _same(known, task):
            raise AlreadyRegistered(
                f"two tasks are named {task.name!r}: {_place(known)} and {_place(task)}; give one of them a `name`"
            )
        self[task.name] = task

    def unregister(self, name: Any) -> None:
        """Take a task out, by name or itself.

        :raises NotRegistered: if it is not there.
        """
        key = getattr(name, "name", name)
        if self.pop(key, None) is None:
            raise NotRegistered(key)

    def regular(self) -> dict[str, Task]:
        """All of them: Celery's own periodic kind is gone."""
        return dict(self)


def _same(one: Task, other: Task) -> bool:
    return _place(one) == _place(other)


def _place(task: Task) -> str:
    function = task.function
    return f"{function.__module__}.{function.__qualname__}"
