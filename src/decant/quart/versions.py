"""What differs between Quart 0.22 and 0.23 and cannot be asked of their common API."""

from __future__ import annotations

from inspect import signature
from typing import Any

import quart.wrappers
from quart import current_app
from quart.globals import app_ctx

__all__ = ["ClientDisconnected", "takes_context", "update_template_context"]


class _Never(Exception):
    """Stands for an exception that this version of Quart does not have."""


ClientDisconnected: type[Exception] = getattr(quart.wrappers, "ClientDisconnectedError", _Never)
"""What 0.23 raises where something is sent to, or read from, a client that is gone."""


def takes_context(method: Any) -> bool:
    """Whether this version's method of the application takes the context first, as 0.23's do."""
    return "ctx" in signature(method).parameters


async def update_template_context(context: dict[str, Any]) -> None:
    """Add what the context processors of the current application give."""
    update: Any = current_app.update_template_context
    if takes_context(update):
        await update(app_ctx._get_current_object(), context)
    else:
        await update(context)
