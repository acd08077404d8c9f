"""The Flask side: a real Flask application on the event loop, beside Quart, or with its extensions exchanged.

Each name is loaded when it is first asked for, so that ``install()`` can run before Flask or an extension is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .installing import install, uninstall
    from .marks import blocking
    from .mounting import Mounted, mount
    from .proxies import share_proxies, waiting
    from .request_ids import RequestIdFilter, request_id
    from .shim import Asgi, asgi

__all__ = [
    "Asgi",
    "Mounted",
    "RequestIdFilter",
    "asgi",
    "blocking",
    "install",
    "mount",
    "request_id",
    "share_proxies",
    "uninstall",
    "waiting",
]

_HOMES = {
    "Asgi": "shim",
    "Mounted": "mounting",
    "RequestIdFilter": "request_ids",
    "asgi": "shim",
    "blocking": "marks",
    "install": "installing",
    "mount": "mounting",
    "request_id": "request_ids",
    "share_proxies": "proxies",
    "uninstall": "installing",
    "waiting": "proxies",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
