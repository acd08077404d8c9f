"""Tests of a Quart application with Flask's API: a test client, a CLI runner, and a pytest plugin.

The plugin (:mod:`decant.testing.plugin`) is loaded by pytest in every environment that has Decant, so nothing
is imported here before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask.testing import EnvironBuilder

    from .client import Client
    from .commands import CliRunner
    from .cookies import Cookie
    from .responses import TestResponse

__all__ = ["CliRunner", "Client", "Cookie", "EnvironBuilder", "TestResponse"]

_HOMES = {
    "CliRunner": ".commands",
    "Client": ".client",
    "Cookie": ".cookies",
    "EnvironBuilder": "flask.testing",  # Flask's own does for a Quart application what it does for Flask's
    "TestResponse": ".responses",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
