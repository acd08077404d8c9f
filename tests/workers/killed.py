"""A process of its own that drains clicks and is killed on the way: ``python -m tests.workers.killed``.

Each line of its input is a point; a forked child runs the job and gives itself SIGKILL there. The answer is a line with
the child's exit status, negative for a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from app import create_app
from decant import Quart
from workers.jobs import drain

__all__ = ["POINTS", "run"]

POINTS = ("taken", "recorded", "added", "committed", "removed")


async def run(app: Quart) -> int:
    """The job, as a worker runs it: in a context of the application."""
    async with app.app_context():
        counted: int = await drain.drain_clicks()
        return counted


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapper(*args: Any) -> Any:
        kill()
        return await function(*args)

    return wrapper


def after(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapper(*args: Any) -> Any:
        result = await function(*args)
        kill()
        return result

    return wrapper


def arm(point: str) -> None:
    if point == "taken":
        drain.take_batch = after(drain.take_batch)
    elif point == "recorded":
        drain._add_visits = before(drain._add_visits)
    elif point == "added":
        drain._add_days = after(drain._add_days)
    elif point == "committed":
        drain.remove_batch = before(drain.remove_batch)
    elif point == "removed":
        drain.remove_batch = after(drain.remove_batch)


def main() -> None:
    app = create_app({"CDN_COMPRESS": False})  # it takes a second
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            arm(line.strip())
            asyncio.run(run(app))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
