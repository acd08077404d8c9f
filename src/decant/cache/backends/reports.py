"""What backends report: a log line at most once a minute for each kind of trouble, and metrics."""

from __future__ import annotations

import logging
import time
from typing import Final

from ...ops.registry import counter

__all__ = ["FAILED", "logger", "once_a_minute", "unreadable"]

logger: Final = logging.getLogger("decant.cache")
FAILED: Final = counter("decant_cache_failures", "Operations of a cache that failed", ("reason",))
_LINE_EVERY_S: Final = 60.0
_said: Final[dict[str, float]] = {}


def once_a_minute(kind: str, said: dict[str, float] = _said) -> bool:
    """Whether to log this kind of trouble now.

    :param said: when each kind was logged; that of the process, or of whom it is about.
    """
    now = time.monotonic()
    if now - said.get(kind, -_LINE_EVERY_S) < _LINE_EVERY_S:
        return False
    said[kind] = now
    return True


def unreadable(key: str, error: Exception) -> None:
    """A value that cannot be read is a miss: whatever wrote it, the view computes."""
    FAILED.inc(reason="unreadable")
    if once_a_minute("unreadable"):
        logger.warning("the value of %r cannot be read, so it counts as missing: %s", key, error)
