"""How many requests are served at once, which rate limits do not bound."""

from __future__ import annotations

from .limit import ConcurrencyLimit
from .shared import SharedSlots
from .slots import Full, Slots

__all__ = ["ConcurrencyLimit", "Full", "SharedSlots", "Slots"]
