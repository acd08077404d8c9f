"""Running jobs: what a worker does with one that it was given, from the claim to its end."""

from __future__ import annotations

__all__: list[str] = []
