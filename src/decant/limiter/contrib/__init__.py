"""For particular surroundings."""

from __future__ import annotations

__all__: list[str] = []
