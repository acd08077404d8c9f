"""``celery.canvas``, ``celery.result`` and the like: classes that give faces when they are called.

They are no faces themselves: a chain of one signature is that signature, so what a call gives is not always of the
class that was called. ``isinstance`` sees through that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from inspect import signature as signature_of
from typing import Any, Final

from .... import tasks
from ....faces import faced, twin_of
from ....faces.classes import build
from ....tasks import canvas, control, results
from .app import current_celery

__all__ = ["CANVAS", "CONTROL", "RESULTS", "allow_join_result", "maybe_signature", "result_from_tuple", "signature"]


def _with_app(given: dict[str, Any]) -> dict[str, Any]:
    """The application that is meant, if none was given: not one of the Quart half's."""
    if given.get("app") is None:
        with suppress(RuntimeError):
            return {**given, "app": current_celery()}
    return given


class _Exported(type):
    _twin_class: Any
    _takes_app: bool

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        given = _with_app(kwargs) if cls._takes_app else kwargs
        return faced(twin_of(cls._twin_class(*args, **given)))

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(twin_of(instance), cls._twin_class)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return issubclass(getattr(subclass, "_twin_class", subclass), cls._twin_class)

    def __getattr__(cls, name: str) -> Any:
        return getattr(build(cls._twin_class), name)


def _exported(twin: Any) -> Any:
    body = {
        "_twin_class": twin,
        "_takes_app": "app" in signature_of(twin.__init__).parameters,
        "__doc__": twin.__doc__,
        "__module__": twin.__module__,
        "__qualname__": twin.__qualname__,
    }
    return _Exported(twin.__name__, (), body)


CANVAS: Final = {
    twin.__name__: _exported(twin)
    for twin in (
        *(tasks.Signature, tasks.chain, tasks.group, tasks.chord),
        *(tasks.chunks, tasks.xmap, tasks.xstarmap),
    )
}
RESULTS: Final = {
    twin.__name__: _exported(twin)
    for twin in (
        *(results.ResultBase, results.AsyncResult, results.EagerResult),
        *(results.GroupResult, results.ResultSet),
    )
}
CONTROL: Final = {twin.__name__: _exported(twin) for twin in (control.Control, control.Inspect)}


def signature(varies: Any, *args: Any, **kwargs: Any) -> Any:
    """Celery's: a call to be made later, of a task, its name, or a dictionary."""
    return faced(twin_of(canvas.signature(twin_of(varies), *args, **_with_app(kwargs))))


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """Celery's: a signature of what may be one already, or ``None``."""
    if d is None:
        return None
    made = canvas.maybe_signature(twin_of(d), app=twin_of(_with_app({"app": app}).get("app")))
    return faced(made.clone() if clone else made)


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """The result for what ``as_tuple`` returned."""
    return faced(tasks.result_from_tuple(r, app=twin_of(_with_app({"app": app}).get("app"))))


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Nothing to allow: a job that waits for another one holds a thread, and no worker."""
    yield
