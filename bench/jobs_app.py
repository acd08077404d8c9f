"""The application of ``bench/jobs.py``: the same jobs as Celery's side, durable and not."""

from __future__ import annotations

import asyncio
import os
import time

from decant import Quart
from decant.tasks import Tasks
from decant.tasks.worker.settings import worker_settings

app = Quart(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=os.environ["BENCH_DATABASE_URL"],
    REDIS_URL=os.environ["BENCH_REDIS_URL"],
)
tasks = Tasks(app)


async def noop() -> None:
    """Nothing."""


async def sleep_20ms() -> None:
    """A job that waits, as for another server."""
    await asyncio.sleep(0.02)


async def started() -> float:
    """When it began, in seconds since 1970."""
    return time.time()


for function in (noop, sleep_20ms, started):
    tasks.task(name=function.__name__)(function)
    tasks.task(name=f"{function.__name__}, Redis only", durable=False)(function)

WorkerSettings = worker_settings(tasks, app, max_jobs=100)
