"""The ids of jobs: UUIDs that grow with time, so that those of one hour are neighbours in the ledger's indexes."""

from __future__ import annotations

import os
import time
from typing import Any, Final
from uuid import UUID, uuid5

__all__ = ["as_uuid", "new_id", "uuid"]

_OWN: Final = UUID("6b5b9c4e-2f0e-5a55-9d6c-1b0e6a3f6c11")
_RANDOM_BITS: Final = (1 << 74) - 1


def new_id() -> UUID:
    """A UUID of version 7: 48 bits of milliseconds, and 74 of chance."""
    chance = int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS
    high = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | (chance >> 62) << 64
    return UUID(int=high | 0b10 << 62 | (chance & ((1 << 62) - 1)))


def uuid() -> str:
    """A new id as text: Celery's ``uuid``."""
    return str(new_id())


def as_uuid(value: Any) -> UUID:
    """The id of a job. A text that is no UUID, as a key of the caller's own, always gives the same one.

    :raises TypeError: for what is neither a UUID nor a text.
    """
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str):
        raise TypeError(f"the id of a job is a UUID or a text, not {type(value).__name__}: {value!r}")
    try:
        return UUID(value)
    except ValueError:
        return uuid5(_OWN, value)
