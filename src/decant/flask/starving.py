"""For how long a thread was ready to run and got no core: time for which nobody in it is to blame."""

from __future__ import annotations

import threading
from pathlib import Path

__all__ = ["Delays", "run_delay"]


def run_delay(native_id: int) -> float:
    """For how many seconds of its life a thread of this process waited for a core; 0 where nobody counts it.

    Linux's ``schedstat``, whose second number it is, in nanoseconds.
    """
    try:
        return int(Path(f"/proc/self/task/{native_id}/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class Delays:
    """The delays of the threads whose loops are watched, as they were when last looked at."""

    def __init__(self) -> None:
        self._native: dict[int, int] = {}
        self._seen: dict[int, float] = {}
        self._before: dict[int, tuple[object, float]] = {}

    def add(self) -> None:
        """Begin to note those of the thread that runs here."""
        self._native[threading.get_ident()] = threading.get_native_id()

    def look(self, thread: int, step: object) -> None:
        """Note that ``step`` runs in that thread; what was noted before counts as the delay at its beginning."""
        now = run_delay(self._native.get(thread, 0))
        if self._before.get(thread, (None, 0.0))[0] is not step:
            self._before[thread] = (step, self._seen.get(thread, now))
        self._seen[thread] = now

    def of(self, thread: int, step: object) -> float:
        """For how many seconds the thread waited for a core since the step began."""
        now = run_delay(self._native.get(thread, 0))
        noted, before = self._before.get(thread, (None, now))
        if noted is not step:
            before = self._seen.get(thread, now)
        return max(0.0, now - before)
