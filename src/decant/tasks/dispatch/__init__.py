"""The index in Redis: what is due, who is told, and the keys of all that."""

from __future__ import annotations

from .listening import Listener, Messages
from .names import ARQ_FUNCTION, Names
from .pushing import Dispatcher, claimed_from, is_durable

__all__ = ["ARQ_FUNCTION", "Dispatcher", "Listener", "Messages", "Names", "claimed_from", "is_durable"]
