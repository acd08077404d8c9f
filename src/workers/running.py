"""How jobs run: each in a context of the application, bridged, with a database session of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

from arq.typing import WorkerCoroutine

from decant.bridge import bridged

__all__ = ["in_app", "start", "stop"]

Context = dict[Any, Any]


def in_app(job: Callable[..., Awaitable[Any]]) -> WorkerCoroutine:
    """Run the job as a view runs: with ``db.session``, and able to ``wait`` in synchronous code."""

    @wraps(job)
    async def run(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        async with ctx["app"].app_context():
            return await bridged(job(ctx, *args, **kwargs))

    return cast(WorkerCoroutine, run)


class _Routine(logging.Filter):
    """Leaves out what arq says at INFO of each run of a scheduled job: a job that has done something says so itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or "cron:" not in record.getMessage()


_routine = _Routine()


async def start(ctx: Context) -> None:
    """Before the first job: the application's own start."""
    logging.getLogger("arq.worker").addFilter(_routine)
    await ctx["app"].startup()


async def stop(ctx: Context) -> None:
    """After the last job: close what the application has opened."""
    await ctx["app"].shutdown()
