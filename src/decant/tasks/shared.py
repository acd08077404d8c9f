"""Tasks without an application: ``shared_task``, ``current_app``, and whose tasks are meant here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from werkzeug.local import LocalProxy

from .. import context
from ..faces import Face, faced, twin_of
from .request import current

if TYPE_CHECKING:
    from .extension import Tasks

__all__ = ["current_app", "current_tasks", "known", "shared_task", "shown_here"]

_Shared = tuple[Callable[..., Any], Mapping[str, Any]]
_all: Final[WeakSet[Any]] = WeakSet()
_latest: list[Any] = []
_shared: Final[list[_Shared]] = []


def known(tasks: Tasks) -> None:
    """Remember a new ``Tasks``, and give it what was shared so far."""
    _all.add(tasks)
    for function, options in _shared:
        tasks.make_task(function, options)


def made_current(tasks: Tasks) -> None:
    """What is meant where no application is current: the one that said so last."""
    _latest[:] = [tasks]


def current_tasks() -> Tasks:
    """The ``Tasks`` of the running task, of the current application, or the only one that there is.

    :raises RuntimeError: if that does not say which is meant.
    """
    running = current()
    if running is not None and running[0].app is not None:
        return running[0].app  # type: ignore[no-any-return]
    if context.has_app():
        found = twin_of(context.current_app().extensions.get("tasks"))
        if found is not None:
            return found  # type: ignore[no-any-return]
    if _latest:
        return _latest[0]  # type: ignore[no-any-return]
    if len(_all) == 1:
        return next(iter(_all))  # type: ignore[no-any-return]
    if not _all:
        raise RuntimeError("there is no Tasks yet: make one, `tasks = Tasks(app)`")
    raise RuntimeError("there are several Tasks: an application's context must say which is meant, or app=tasks")


def shown_here(twin: Any, tasks: Tasks) -> Any:
    """A twin as the code that uses ``tasks`` wants it: its face in a Flask application."""
    return faced(twin) if tasks.is_sync else twin


current_app: Any = LocalProxy(lambda: shown_here(current_tasks(), current_tasks()))
"""The ``Tasks`` that are meant here: Celery's ``current_app``."""


class _Unset:
    """The task that a shared function is, wherever it is used."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> Any:
        tasks = current_tasks()
        return shown_here(tasks.tasks[self.name], tasks)


def shared_task(*args: Any, **options: Any) -> Any:
    """Celery's: a task of every ``Tasks``, made before or after. What it stands for is the current one's.

    Takes the options of ``@tasks.task``::

        @shared_task(bind=True, max_retries=5)
        async def fetch(self, url): ...
    """

    def share(function: Callable[..., Any]) -> Any:
        function = twin_of(function)
        name = options.get("name") or f"{function.__module__}.{function.__name__}"
        entry = (function, {**options, "name": name})
        _shared[:] = [one for one in _shared if one[1]["name"] != name]
        _shared.append(entry)
        for tasks in list(_all):
            tasks.make_task(*entry)
        return LocalProxy(_Unset(name))

    if len(args) == 1 and not isinstance(args[0], Face) and callable(args[0]):
        return share(args[0])
    if args:
        raise TypeError(f"shared_task takes options by keyword, as in @shared_task(name='x'), not {args!r}")
    return share
