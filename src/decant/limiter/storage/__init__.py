"""Where counters are: in Redis, in memory, or in whatever else ``limits`` can use."""

from __future__ import annotations

from .base import STRATEGIES, Answer, Claim, Decision, Role, Storage
from .memory import MemoryStorage
from .opening import open_storage
from .other import OtherStorage
from .redis import RedisStorage

__all__ = [
    "STRATEGIES",
    "Answer",
    "Claim",
    "Decision",
    "MemoryStorage",
    "OtherStorage",
    "RedisStorage",
    "Role",
    "Storage",
    "open_storage",
]
