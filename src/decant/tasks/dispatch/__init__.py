"""Redis as the index of what is to be done: pushing jobs, and hearing of their ends."""

from __future__ import annotations

__all__: list[str] = []
