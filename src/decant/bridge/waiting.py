"""``wait``: for an awaitable, from synchronous code, wherever it runs."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from greenlet import getcurrent

from .greenlets import Bridge, ThreadBridge, as_coroutine, bridged, carry, discard, enterable, step

__all__ = ["can_wait", "local", "wait"]

T = TypeVar("T")
_OUTSIDE = (
    "wait() was called on the event loop, outside the bridge of the current task, where it would block every"
    " other task. Await instead, or run the coroutine that leads here through bridged(): child tasks"
    " (create_task, gather, TaskGroup) are bridged only when they say so, as in gather(bridged(f()))."
)
_MAY_NOT = "wait() was called in a thread of a pool with may_wait=False: use in_thread() of a pool that may wait"


def wait(awaitable: Awaitable[T]) -> T:
    """Wait for an awaitable from synchronous code; return its value or raise its exception.

    In a bridge the task waits and the loop goes on. In a thread of :func:`in_thread` the awaitable runs on the
    owning loop. Where no loop runs (a script, a shell) it runs on one that the thread keeps, so that
    connection pools live from call to call.

    :raises RuntimeError: on the loop outside the bridge of the current task (a coroutine is closed), and in a
        thread of a pool with ``may_wait=False``.
    """
    current, loop = getcurrent(), asyncio._get_running_loop()
    if type(current) is Bridge:
        if loop is not None and current.task() is asyncio.current_task(loop):
            del current  # a greenlet that is kept by its own frame could never be collected
            return step(as_coroutine(awaitable))
    elif getattr(current, "__sqlalchemy_greenlet_provider__", False):
        if loop is None or type(current) is not ThreadBridge:
            assert current.parent is not None
            return current.parent.switch(as_coroutine(awaitable))  # type: ignore[no-any-return]
    elif loop is None and local.may_wait:
        return local.run(as_coroutine(awaitable))
    discard(awaitable)
    raise RuntimeError(_OUTSIDE if local.may_wait else _MAY_NOT)


def can_wait() -> bool:
    """Whether :func:`wait` may be called here and now."""
    current, loop = getcurrent(), asyncio._get_running_loop()
    if type(current) is Bridge:
        return loop is not None and current.task() is asyncio.current_task(loop)
    if getattr(current, "__sqlalchemy_greenlet_provider__", False):
        return loop is None or type(current) is not ThreadBridge
    return loop is None and local.may_wait


class _Loop(asyncio.SelectorEventLoop):
    """A loop that a forked child leaves alone: to close it there would empty its parent's selector."""

    def __init__(self) -> None:
        super().__init__()
        self.pid = os.getpid()

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        if self.pid == getpid():
            super().__del__()


class _Runner:
    def __init__(self) -> None:
        self.runner, self.pid = asyncio.Runner(loop_factory=_Loop), os.getpid()
        self.task: asyncio.Task[Any] | None = None

    async def root(self, steps: Coroutine[Any, Any, T]) -> T:
        self.task = asyncio.current_task()
        try:
            return await bridged(steps)
        finally:
            self.task = None
            del self  # or the traceback of an exception would keep the runner, and another thread would collect it

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        if self.pid == getpid():
            self.runner.close()


class _Local(threading.local):
    """What a thread without a loop keeps: one runner, closed with the thread, made anew after a fork."""

    may_wait = True
    kept: _Runner | None = None

    def keep(self) -> _Runner:
        if self.kept is None or self.kept.pid != os.getpid():
            self.kept = _Runner()
        return self.kept

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        kept = self.keep()
        copy_context()  # a new thread has no context until it is asked for one
        own = getcurrent().gr_context
        context = enterable(own)
        try:
            return kept.runner.run(kept.root(steps), context=context)
        finally:
            del kept  # likewise
            if context is not own:
                carry(context)

    def close(self) -> None:
        kept, self.kept = self.kept, None
        if kept is not None and kept.pid == os.getpid():
            kept.runner.close()  # now: a traceback may hold it until greenlets cannot run any more


local = _Local()
atexit.register(lambda: local.close())
