"""The link shortener: what a finished Quart application on Decant looks like."""

from __future__ import annotations

from .factory import create_app

__all__ = ["create_app"]
