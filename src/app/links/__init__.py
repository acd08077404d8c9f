"""Links: making, finding, changing and deleting them."""

from __future__ import annotations

from .views import links

__all__ = ["links"]
