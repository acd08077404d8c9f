"""What a parent and its worker processes owe each other, for :mod:`decant.executor` and :mod:`decant.tasks`."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Final

__all__ = ["START_METHOD", "end", "end_with_parent"]

START_METHOD: Final = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""Never fork: it copies the locks that threads hold."""
_JOIN_S: Final = 5.0


def end(process: Any, pipe: Connection | None) -> str:
    """In the parent: end a process whose loop ends with its pipe, within seconds; how it ended, in words."""
    if pipe is not None:
        pipe.close()
    if process is None:
        return ""
    process.join(_JOIN_S)
    if process.exitcode is None:
        process.kill()
        process.join()
    code = process.exitcode
    return f"ended with status {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"


def end_with_parent() -> None:
    """In the child, in a thread of its own: wait for the parent's end, however that comes, and end with it."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
