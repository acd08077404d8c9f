"""The Flask application that a Celery application belongs to, where nobody says which."""

from __future__ import annotations

import sys
from typing import Any

import flask

from ....faces import Face, twin_of

__all__ = ["flask_of"]


def flask_of(celery: Any) -> flask.Flask | None:
    """That in whose ``extensions`` it is, else the only one in the modules that have it; ``None`` if that says nothing.

    :param celery: the twin.
    """
    own: dict[int, flask.Flask] = {}
    beside: dict[int, flask.Flask] = {}
    for module in list(sys.modules.values()):
        values = list(getattr(module, "__dict__", {}).values())
        apps = {id(value): value for value in values if issubclass(type(value), flask.Flask)}
        own |= {key: app for key, app in apps.items() if twin_of(app.extensions.get("celery")) is celery}
        if apps and any(value._twin is celery for value in values if issubclass(type(value), Face)):
            beside |= apps
    found = list((own or beside).values())
    return found[0] if len(found) == 1 else None
