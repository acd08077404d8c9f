"""Background tasks: kept, bridged, with the application's context, and ended before the application is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

from ..bridge import bridged, can_wait, current_threads, detached, flow, wait
from ..context import on_quart
from .flask_handlers import run_in_app_context

__all__ = ["BackgroundTask", "BackgroundTasks"]

logger = logging.getLogger("decant.socketio")
_LAST_GRACE_S: Final = 1.0


class BackgroundTask:
    """A task that was started, or will be once the application serves; ``await`` it, or :meth:`join` it."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._started = asyncio.Event()

    def start(self) -> asyncio.Task[Any]:
        """Start it on the running loop."""
        self._task = asyncio.get_running_loop().create_task(bridged(self._work()), context=detached())
        self._task.add_done_callback(_report)
        self._started.set()
        return self._task

    def cancel(self) -> None:
        """Cancel it, if it runs."""
        if self._task is not None:
            self._task.cancel()

    async def join(self) -> None:
        """Wait until it has ended; what it raised was logged."""
        await self._started.wait()
        if self._task is not None:
            await asyncio.wait([self._task])

    def __await__(self) -> Generator[Any, None, Any]:
        """Its value, or what it raised."""
        return self._result().__await__()

    async def _result(self) -> Any:
        await self.join()
        return self._task.result() if self._task is not None else None


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("The background task %r failed", task.get_name(), exc_info=error)


class BackgroundTasks:
    """The tasks of one application."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._running: set[asyncio.Task[Any]] = set()
        self._waiting: list[BackgroundTask] = []

    def start(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> BackgroundTask:
        """Start ``target``, async, or sync and then in a thread: now, or when the application serves.

        It may be called on the loop, in a synchronous handler or any other thread, and before the loop runs.
        """

        async def work() -> Any:
            try:
                return await self._run(target, args, kwargs)
            except SystemExit as error:  # would end the event loop, and the server with it
                raise RuntimeError(f"the background task raised {error!r}") from error

        task = BackgroundTask(work)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._start_from_outside(task)
        else:
            self._start(task)
        return task

    async def _run(self, target: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if not on_quart(self.app):
            return await run_in_app_context(self.app, target, *args, **kwargs)
        threads = getattr(self.app, "threads", None)
        if threads is not None:
            current_threads.set(threads)
        async with self.app.app_context():
            return await self.app.ensure_async(target)(*args, **kwargs)

    def _start_from_outside(self, task: BackgroundTask) -> None:
        if isinstance(flow(), asyncio.Task) and can_wait():  # a thread that a task waits for: on that task's loop
            wait(self._start_there(task))
        elif self._serving is not None:
            self._serving.call_soon_threadsafe(self._start, task)
        else:
            self._waiting.append(task)

    _serving: asyncio.AbstractEventLoop | None = None

    async def _start_there(self, task: BackgroundTask) -> None:
        self._start(task)

    def _start(self, task: BackgroundTask) -> None:
        started = task.start()
        self._running.add(started)
        started.add_done_callback(self._running.discard)

    def serve(self) -> None:
        """Start those that waited for the loop."""
        self._serving = asyncio.get_running_loop()
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            self._start(task)

    async def drain(self, timeout_s: float) -> None:
        """Wait for all; cancel those that have not ended in time, as those that go round for ever."""
        self._serving = None
        if self._running:
            await asyncio.wait(set(self._running), timeout=timeout_s)
        late = set(self._running)
        for task in late:
            task.cancel()
        if late:
            _, stuck = await asyncio.wait(late, timeout=_LAST_GRACE_S)
            if stuck:
                logger.warning("%s background tasks do not end: %s", len(stuck), stuck)
