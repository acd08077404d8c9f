"""The names of what is cached for a slug."""

from __future__ import annotations

import uuid
from typing import Final
from zlib import crc32

__all__ = ["PROCESS", "SLOTS", "keys_of"]

PROCESS: Final = uuid.uuid4().hex
"""What makes ids unique that this process's scripts make."""

SLOTS: Final = 65_536
"""So many unknown slugs are remembered at most, whatever is asked for: each has a slot, which it shares."""


def keys_of(slug: str) -> tuple[str, str, str]:
    """The cached link, the lease of who fetches it, and the slot that remembers it as unknown."""
    slot = crc32(slug.encode()) % SLOTS
    return f"shortener:link:{slug}", f"shortener:lease:{slug}", f"shortener:unknown:{slot}"
