"""The application as servers load it: ``hypercorn -c hypercorn.toml app.asgi:app``."""

from __future__ import annotations

from . import create_app

__all__ = ["app"]

app = create_app()
