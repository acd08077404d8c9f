"""File locks that the kernel drops when their holder ends, so that none is ever stale."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from ..errors import EmbeddedError

if sys.platform != "win32":  # where servers.server_class says that there are no embedded servers
    import fcntl

__all__ = ["Lock", "is_locked"]

_POLL_S = 0.02


class Lock:
    """An ``flock`` on a file: each instance is a holder of its own, also within one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_exclusive(self) -> bool:
        """Take it alone, if nobody holds it."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take it together with others, if nobody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def exclusive(self, deadline: float) -> None:
        """Wait for :meth:`try_exclusive`; ``deadline`` is on the clock of :func:`time.monotonic`."""
        self._wait(fcntl.LOCK_EX, deadline)

    def shared(self, deadline: float) -> None:
        """Wait for :meth:`try_shared`."""
        self._wait(fcntl.LOCK_SH, deadline)

    def release(self) -> None:
        """Let go, also for processes that were forked with it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, and let go if no other process inherited it."""
        os.close(self.descriptor)

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self.descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self, how: int, deadline: float) -> None:
        while not self._try(how):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self.path} stayed locked by another process: is it hanging?")
            time.sleep(_POLL_S)


def is_locked(path: Path) -> bool:
    """Whether somebody holds it alone; a data directory that was removed has no locks."""
    try:
        lock = Lock(path)
    except FileNotFoundError:
        return False
    try:
        return not lock.try_shared()
    finally:
        lock.close()
