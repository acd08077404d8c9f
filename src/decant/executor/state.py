"""What one executor has in one application."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakMethod, ref

from ..bridge import Threads, bridged
from .futures import FutureCollection, FutureProxy, logger
from .pool import Job, Pool
from .processes import ProcessRunner
from .settings import Settings
from .threads import Place, ThreadRunner, place

__all__ = ["State"]

_CALLBACK_THREADS = 4
_LAST_GRACE_S = 1.0


class State:
    """Pool, futures and callbacks; it does not keep the application alive."""

    def __init__(self, app: Any, name: str, settings: Settings) -> None:
        self.settings, self._app = settings, ref(app)
        self._names = (app.name, name or "default")
        self._begin_anew()

    def _begin_anew(self) -> None:
        settings, self.pid = self.settings, os.getpid()
        runner = ProcessRunner if settings.processes else ThreadRunner
        self.pool = Pool(*self._names, settings.max_workers, settings.max_pending, runner(settings.max_workers))
        self.futures = FutureCollection(settings.futures_max_length)
        self._callback_threads = Threads(_CALLBACK_THREADS)
        self._callbacks: set[asyncio.Task[None]] = set()
        if settings.processes:
            atexit.register(_at_exit, WeakMethod(self._at_exit), self.pid)

    def here(self) -> State:
        """Itself; in a forked child without the parent's jobs, which do not run there."""
        if self.pid != os.getpid():
            self._begin_anew()
        return self

    def place(self) -> Place:
        """The context and the loop of the code that calls this."""
        return place(self._app(), self.settings.push_app_context)

    def job(self, function: Callable[[], Any], named: Callable[..., Any]) -> Job:
        """One call, not yet submitted.

        :param named: what it is called after in the logs.
        """
        work: Any = function if self.settings.processes else (self.place(), function)
        return Job(FutureProxy(getattr(named, "__qualname__", repr(named)), self.call_back), work)

    def call_back(self, fn: Callable[..., Any]) -> Callable[[Future[Any]], None]:
        """A function that starts ``fn(future)`` with the context of here and now, and returns at once."""
        where = self.place()

        def start(future: Future[Any]) -> None:
            self.pool.hold()
            try:
                where.loop.call_soon_threadsafe(self._begin, where, fn, future)
            except RuntimeError:
                self.pool.release()
                logger.error("%r was not called back: its event loop is closed", fn)

        return start

    def _begin(self, where: Place, fn: Callable[..., Any], future: Future[Any]) -> None:  # on the loop
        task = where.loop.create_task(bridged(self._called_back(where, fn, future)), context=where.context)
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    async def _called_back(self, where: Place, fn: Callable[..., Any], future: Future[Any]) -> None:
        try:
            await where.snapshot.call(partial(fn, future), self._callback_threads)
        except Exception:
            logger.exception("exception calling callback %r of a job", fn)
        finally:
            self.pool.release()

    # -- the end -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take jobs, again after :meth:`drain`."""
        self.here().pool.open()

    async def drain(self, timeout_s: float | None) -> None:
        """Take no more jobs; wait for those that there are, and stop what has not ended by then."""
        self.pool.close()
        idle = asyncio.wrap_future(self.pool.idle())
        try:
            done, _ = await asyncio.wait([idle], timeout=timeout_s)
            if not done:
                await self._stop(idle, timeout_s)
        finally:
            idle.cancel()
            self.free()

    async def _stop(self, idle: asyncio.Future[None], timeout_s: float | None) -> None:
        queued, running = self.pool.cancel()
        for task in self._callbacks:
            with suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(task.cancel)
        done, _ = await asyncio.wait([idle], timeout=_LAST_GRACE_S)
        logger.warning(
            "the executor %r was shut down after %s s: %s queued jobs were cancelled, %s running ones stopped%s",
            self.pool.name, timeout_s, queued, running, "" if done else f", of which {self.pool.running} went on",
        )  # fmt: skip

    def _at_exit(self) -> None:
        """Where nobody drained it: the interpreter ends, and would wait for its children without a deadline."""
        self.pool.close()
        try:
            self.pool.idle().result(self.settings.shutdown_timeout_s)
        except TimeoutError:
            self.pool.cancel()
            with suppress(TimeoutError):
                self.pool.idle().result(_LAST_GRACE_S)
        self.free()

    def free(self) -> None:
        """Let idle threads and processes end."""
        self.pool.runner.close()
        self._callback_threads.close()


def _at_exit(end: WeakMethod[Callable[[], None]], pid: int) -> None:
    method = end()
    if method is not None and os.getpid() == pid:  # a forked child has none of its parent's processes
        method()
