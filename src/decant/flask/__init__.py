"""The Flask side: a real Flask application on the event loop, beside Quart, or with its extensions exchanged."""

from __future__ import annotations

__all__: list[str] = []
