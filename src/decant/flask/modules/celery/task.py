"""``celery.Task``: what an application derives its own tasks' class from, and what its tasks are instances of."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from types import MethodType
from typing import Any

from .... import tasks
from ....faces import twin_of
from ....tasks.declaring import Declared
from ....tasks.request import current

__all__ = ["Task"]


class _Tasks(Declared):
    """A task is used through its face, and an instance of its class all the same."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return type.__instancecheck__(cls, twin_of(instance))

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return type.__subclasscheck__(cls, getattr(subclass, "_twin_class", subclass))


class Task(tasks.Task, metaclass=_Tasks):
    """:class:`decant.tasks.Task` for code written for Celery: no method of a class derived from it awaits.

    Its own ``__call__`` runs around the job, as that of Flask's documentation, which enters the application's context.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls).get("__call__")
        if isfunction(own) and not iscoroutinefunction(own):
            cls.__call__ = _with_plain_self(own)  # type: ignore[method-assign]

    def bind_to(self, app: Any, name: str, given: Any, function: Callable[..., Any] | None = None) -> None:
        """As :meth:`decant.tasks.Task.bind_to`; the methods of derived classes get a ``self`` that waits."""
        super().bind_to(app, name, given, function)
        for kind in reversed(type(self).__mro__[: type(self).__mro__.index(Task)]):
            for attribute, value in vars(kind).items():
                if _is_method(attribute, value):
                    vars(self)[attribute] = MethodType(value, self.plain)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here and now; in a job's own ``__call__`` by way of ``super()``, as that job."""
        found = current()
        if found is not None and found[0].name == self.name:
            request = found[1]
            if not request.called_directly and not vars(request).get("entered"):
                vars(request)["entered"] = True
                return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)


def _is_method(name: str, value: Any) -> bool:
    if name.startswith("__") or name in ("run", "bind_to", "on_bound"):
        return False
    return isfunction(value) and not iscoroutinefunction(value)


def _with_plain_self(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self.plain if self.name else self, *args, **kwargs)

    return call
