"""What ``decant worker --faces`` is given: a Celery application, as ``celery -A`` finds it, and Flask's beside it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import CommandError
from ..faces import twin_of
from .project import load_target

__all__ = ["celery_in", "settled"]

_NAMES = ("celery", "celery_app", "app", "application", "flask_app")


def celery_in(target: str, key: str) -> Any:
    """The application in the module ``target``, or in its submodule ``celery``, under one of the usual names.

    :raises CommandError: if there is none.
    """
    for module in (target, f"{target}.celery"):
        found = load_target(f"{module}:__name__", key) and import_module(module)
        for name in _NAMES:
            value = getattr(found, name, None)
            if _settles(value) or _celery_of(value) is not None:
                return value
        if not hasattr(found, "__path__"):
            break
    raise CommandError(
        f"{key} {target!r} has no Celery application named {', '.join(_NAMES)}: say which, as module:name"
    )


def settled(found: Any) -> Any:
    """The Celery application, for which it is settled where its jobs are. Others come back as they are.

    A Flask application's is that in its ``extensions``; the Flask application of a Celery's is found among those that
    the modules have.

    :raises DecantError: if that cannot be settled.
    """
    celery, app = (twin_of(found), None) if _settles(found) else (_celery_of(found), found)
    if celery is None:
        return found
    celery.settle(app)
    return celery


def _settles(found: Any) -> bool:
    return callable(getattr(type(twin_of(found)), "settle", None))


def _celery_of(app: Any) -> Any:
    extensions = getattr(app, "extensions", None)
    found = twin_of(extensions.get("celery")) if isinstance(extensions, dict) else None
    return found if _settles(found) else None
