"""Jobs in threads: each is a task on a loop, which enters its context and hands its function to a thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any

from ..bridge import Threads, bridged, detached
from ..context import on_quart
from .contexts import Snapshot, snapshot
from .loops import loop_for
from .pool import Job

__all__ = ["Place", "ThreadRunner", "place"]

_ENDED = "the event loop that submitted the job ended before the job began"


@dataclass(frozen=True)
class Place:
    """Where and with what context a function runs: taken from the code that submits it."""

    snapshot: Snapshot
    loop: asyncio.AbstractEventLoop
    context: Context


def place(app: Any, copy_g: bool) -> Place:
    """Where functions that are submitted here and now run."""
    return Place(snapshot(app, copy_g), loop_for(on_quart(app)), detached())


class ThreadRunner:
    """Runs functions in at most ``size`` threads, and coroutine functions on the loop.

    ``job.work`` is a :class:`Place` and the function, without arguments.
    """

    def __init__(self, size: int) -> None:
        self.threads = Threads(size, max_queued=sys.maxsize)  # the pool in front of it has the bound
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.AbstractEventLoop] = set()

    def start(self, job: Job, ended: Callable[[], None]) -> None:
        """As :meth:`Runner.start`.

        :raises RuntimeError: if the loop is closed, or about to be.
        """
        where: Place = job.work[0]
        if where.loop in self._ending:
            raise RuntimeError(_ENDED)
        where.loop.call_soon_threadsafe(self._begin, job, ended)

    def _begin(self, job: Job, ended: Callable[[], None]) -> None:  # on the loop
        where: Place = job.work[0]
        work = self._work(job, ended)
        task = where.loop.create_task(bridged(work), context=where.context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, work, job, ended))

    def _done(self, work: Any, job: Job, ended: Callable[[], None], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if getcoroutinestate(work) == CORO_CREATED:  # cancelled before its first step
            work.close()
            job.future.set_exception(RuntimeError(_ENDED))
            self._ended_with(job.work[0].loop, ended)

    def _ended_with(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
        """At its end ``asyncio.run`` cancels all of its tasks: a job that was started there now would never end."""
        if not all(task.cancelling() for task in asyncio.all_tasks(loop)):
            return ended()
        self._ending.add(loop)
        try:
            ended()
        finally:
            self._ending.discard(loop)

    async def _work(self, job: Job, ended: Callable[[], None]) -> None:
        where, function = job.work
        try:
            value = await where.snapshot.call(function, self.threads)
        except asyncio.CancelledError:
            job.future.set_exception(CancelledError("the job was stopped before its end: shutdown"))
            ended = partial(self._ended_with, where.loop, ended)
            raise
        except BaseException as error:  # belongs to who asks for the result
            job.future.set_exception(error)
        else:
            job.future.set_result(value)
        finally:
            del job  # or an error, its traceback and the future would keep each other
            ended()
            del ended

    def stop(self) -> None:
        """Cancel what runs: a thread is stopped when it waits next."""
        for task in tuple(self._tasks):
            with suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """Let idle threads end."""
        self.threads.close()
