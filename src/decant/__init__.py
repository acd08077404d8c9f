"""Decant pours a Flask application into Quart: the same API, on an event loop.

``Quart`` and ``wait`` are loaded when they are first asked for, so that ``import decant.cors`` brings in nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bridge import wait
    from .quart import Quart

__all__ = ["Quart", "wait"]

_HOMES = {"Quart": "decant.quart", "wait": "decant.bridge"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
