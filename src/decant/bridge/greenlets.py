"""``wait`` and ``bridged``: a coroutine that runs in a greenlet."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from inspect import isawaitable
from types import coroutine
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

__all__ = ["ThreadBridge", "bridged", "can_wait", "carry", "discard", "local", "refuse_eager_tasks", "wait"]

T = TypeVar("T")
_MISSING = object()
_OUTSIDE = (
    "wait() was called on the event loop, outside the bridge of the current task, where it would block every"
    " other task. Await instead, or run the coroutine that leads here through bridged(): child tasks"
    " (create_task, gather, TaskGroup) are bridged only when they say so, as in gather(bridged(f()))."
)
_MAY_NOT = "wait() was called in a thread of a pool with may_wait=False: use in_thread() of a pool that may wait"


class _Bridge(greenlet):
    """Runs one coroutine; its parent is the greenlet that steps the task."""

    __sqlalchemy_greenlet_provider__ = True

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        hub = getcurrent()
        super().__init__(_step, hub)
        self.gr_context = hub.gr_context  # the very same, so that variables are seen and set on both sides
        self.task = task


class ThreadBridge(greenlet):
    """Runs one function in a thread; its parent forwards awaitables to the loop."""

    __sqlalchemy_greenlet_provider__ = True


def _step(steps: Coroutine[Any, Any, T], hub: greenlet) -> T:
    """Run a coroutine to its end in this greenlet; 1-tuples tell what it yields from SQLAlchemy's awaitables."""
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            future = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        value, error = None, None
        try:
            value = hub.switch((future,))
        except BaseException as raised:  # what the loop throws, cancellation too, belongs to the coroutine
            error = raised


@coroutine
def _drive(bridge: _Bridge, steps: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    result: Any = bridge.switch(steps, bridge.parent)
    while not bridge.dead:
        error: BaseException | None = None
        value = None
        try:
            value = (yield result[0]) if type(result) is tuple else (yield from result.__await__())
        except BaseException as raised:  # likewise
            error = raised
        result = bridge.switch(value) if error is None else bridge.throw(error)
    return result  # type: ignore[no-any-return]


async def _awaiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _coroutine(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    if asyncio.iscoroutine(awaitable):
        return awaitable
    if not isawaitable(awaitable):
        raise TypeError(f"an awaitable is needed, not {type(awaitable).__name__}: {awaitable!r}")
    return _awaiting(awaitable)


def discard(awaitable: Awaitable[Any]) -> None:
    """Close what will not be awaited, so that Python does not warn of it."""
    if asyncio.iscoroutine(awaitable):
        awaitable.close()


async def bridged(awaitable: Awaitable[T]) -> T:
    """Await it in such a way that synchronous code below may :func:`wait`.

    The surrounding task stays the current one: cancellation, ``asyncio.timeout`` and context variables are
    those of a plain ``await``. Within a bridge of the same task it is a plain ``await``.
    """
    task, current = asyncio.current_task(), getcurrent()
    if type(current) is _Bridge and current.task is task:
        return await awaitable
    return await _drive(_Bridge(task), _coroutine(awaitable))


def wait(awaitable: Awaitable[T]) -> T:
    """Wait for an awaitable from synchronous code; return its value or raise its exception.

    In a bridge the task waits and the loop goes on. In a thread of :func:`in_thread` the awaitable runs on the
    owning loop. Where no loop runs (a script, a shell) it runs on one that the thread keeps, so that
    connection pools live from call to call.

    :raises RuntimeError: on the loop outside the bridge of the current task (a coroutine is closed), and in a
        thread of a pool with ``may_wait=False``.
    """
    current, loop = getcurrent(), asyncio._get_running_loop()
    if type(current) is _Bridge:
        if current.task is asyncio.current_task(loop):
            assert current.parent is not None
            return _step(_coroutine(awaitable), current.parent)
    elif getattr(current, "__sqlalchemy_greenlet_provider__", False):
        if loop is None or type(current) is not ThreadBridge:
            assert current.parent is not None
            return current.parent.switch(_coroutine(awaitable))  # type: ignore[no-any-return]
    elif loop is None and local.may_wait:
        return local.run(_coroutine(awaitable))
    discard(awaitable)
    raise RuntimeError(_OUTSIDE if loop else _MAY_NOT)


def can_wait() -> bool:
    """Whether :func:`wait` may be called here and now."""
    current, loop = getcurrent(), asyncio._get_running_loop()
    if type(current) is _Bridge:
        return current.task is asyncio.current_task(loop)
    if getattr(current, "__sqlalchemy_greenlet_provider__", False):
        return loop is None or type(current) is not ThreadBridge
    return loop is None and local.may_wait


class _Local(threading.local):
    """What a thread without a loop keeps: one runner, closed with the thread, made anew after a fork."""

    may_wait = True
    kept: _Runner | None = None

    def keep(self) -> _Runner:
        if self.kept is None or self.kept.pid != os.getpid():
            self.kept = _Runner()
        return self.kept

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        kept, context = self.keep(), copy_context()
        try:
            return kept.runner.run(kept.root(steps), context=context)
        finally:
            carry(context)

    def close(self) -> None:
        self.kept = None


class _Runner:
    def __init__(self) -> None:
        self.runner, self.pid = asyncio.Runner(), os.getpid()
        self.task: asyncio.Task[Any] | None = None

    async def root(self, steps: Coroutine[Any, Any, T]) -> T:
        self.task = asyncio.current_task()
        return await bridged(steps)

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        if self.pid == getpid():  # a forked child must not touch its parent's selector
            self.runner.close()


local = _Local()
atexit.register(lambda: local.close())


def carry(source: Context, *, but: ContextVar[Any] | None = None) -> None:
    """Set in the current context what was set in ``source``, a copy of it."""
    for variable, value in source.items():
        if variable is not but and variable.get(_MISSING) is not value:
            variable.set(value)


def refuse_eager_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Raise where tasks start inside ``create_task``: their first step would run in their parent's bridge.

    :raises RuntimeError: naming the task factory.
    """
    started: list[bool] = []

    async def first_step() -> None:
        started.append(True)

    steps = first_step()
    task = loop.create_task(steps)
    if started:
        raise RuntimeError(
            f"the event loop's task factory {loop.get_task_factory()!r} starts tasks eagerly, inside create_task,"
            " which bridged code cannot allow: call loop.set_task_factory(None) before the application starts"
        )
    task.cancel()
