"""A process of its own that imports a file and is killed on the way: ``python -m tests.workers.killed_import``.

Each line of its input is the number of an import, a point, and how often that is passed before; a forked child runs the
job and gives itself SIGKILL there. The answer is a line with the child's exit status, negative for a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from app import create_app
from app.imports import running
from decant.bridge import bridged

__all__ = ["POINTS"]

POINTS = ("begun", "made", "refused", "committed")


def killing(function: Callable[..., Any], passed: int) -> Callable[..., Any]:
    """Kills the process when it is called for the last of ``passed`` times."""
    calls = 0

    def wrapper(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > passed:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args)

    return wrapper


def arm(point: str, passed: int) -> None:
    if point == "begun":
        running._count = killing(running._count, passed)
    elif point == "made":  # its links are in the transaction
        running._advance = killing(running._advance, passed)
    elif point == "refused":  # its links, but not yet its refused rows
        running.reports.pieces_of = killing(running.reports.pieces_of, passed)
    elif point == "committed":
        running.live.tell = killing(running.live.tell, passed)


def main() -> None:
    app = create_app({"CDN_COMPRESS": False})  # it takes a second

    async def run(import_id: int) -> None:
        async with app.app_context():
            await bridged(app.extensions["imports"].run(import_id))

    print("ready", flush=True)
    for line in sys.stdin:
        number, point, passed = line.split()
        child = os.fork()
        if child == 0:
            arm(point, int(passed))
            asyncio.run(run(int(number)))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
