"""What the modules that :func:`decant.flask.install` replaces are made of: one file for each of the extensions.

Such a file has ``MODULES``: the extension's module and its submodules by their full names.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from .table import Module

__all__ = ["TARGETS", "Module", "modules_of"]

TARGETS: Final[dict[str, str]] = {
    "flask_caching": "decant.cache",
    "flask_limiter": "decant.limiter",
    "flask_cors": "decant.cors",
    "flask_socketio": "decant.socketio",
    "flask_sqlalchemy": "decant.database",
    "flask_executor": "decant.executor",
    "flask_cdn": "decant.cdn",
    "flask_migrate": "decant.database.migrate",
    "celery": "decant.tasks",
}
"""What is replaced, and by what."""


def modules_of(target: str) -> dict[str, Module]:
    """The modules of one target.

    :raises MissingExtra: (an ``ImportError``) if what the twin needs is not installed.
    """
    table: Any = import_module(f"{__name__}.{target.removeprefix('flask_')}")
    found: dict[str, Module] = table.MODULES
    return found
