"""``celery.contrib.testing``: a worker within a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from ....faces import twin_of
from ....tasks.worker.service import Service, working
from ....tasks.worker.settings import worker_settings

__all__ = ["start_worker"]

_STARTS_S: Final = 30.0


@contextmanager
def start_worker(
    app: Any, concurrency: int = 1, pool: str = "threads", loglevel: Any = None, **kwargs: Any
) -> Iterator[Service]:
    """Within it a worker runs the jobs of a Celery application, in a thread with an event loop of its own.

    ``perform_ping_check`` and Celery's other options have no effect: the worker is ready when this is entered.
    """
    twin = twin_of(app)
    twin.settle()
    ready, box = threading.Event(), list[tuple[Service, asyncio.AbstractEventLoop, asyncio.Event]]()

    async def work() -> None:
        settings = worker_settings(twin, twin.runtime().app)
        async with working(settings, queues=None, concurrency=concurrency, grace_s=2.0, starts_app=False) as service:
            stop = asyncio.Event()
            box.append((service, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    with ThreadPoolExecutor(1, "celery-worker") as threads:
        running = threads.submit(asyncio.run, work())
        running.add_done_callback(lambda _: ready.set())
        if not ready.wait(_STARTS_S):
            raise TimeoutError(f"the worker did not start within {_STARTS_S:g} s")
        if not box:
            running.result()
        service, loop, stop = box[0]
        try:
            yield service
        finally:
            loop.call_soon_threadsafe(stop.set)
            running.result(_STARTS_S)
