"""The link shortener: what a finished Quart application on Decant looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decant import Quart

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None) -> Quart:
    """The application: :func:`app.factory.create_app`."""
    # Imported when it is called: a process that draws a QR code imports that module of the application, not all.
    from .factory import create_app

    return create_app(config)
