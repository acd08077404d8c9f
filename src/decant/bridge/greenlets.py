"""``bridged``: a coroutine that runs in a greenlet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from inspect import isawaitable
from types import coroutine
from typing import Any, Generic, TypeVar
from weakref import ref

from greenlet import GreenletExit, getcurrent, greenlet

__all__ = [
    "Bridge",
    "ThreadBridge",
    "as_coroutine",
    "bridged",
    "carry",
    "discard",
    "enterable",
    "refuse_eager_tasks",
    "step",
]

T = TypeVar("T")
_MISSING = object()


class Bridge(greenlet):
    """Runs one coroutine; its parent is the greenlet that steps the task."""

    __sqlalchemy_greenlet_provider__ = True

    def __init__(self) -> None:
        hub, task = getcurrent(), asyncio.current_task()
        super().__init__(step, hub)
        self.gr_context = hub.gr_context  # the very same, so that variables are seen and set on both sides
        self.task: Callable[[], Any] = ref(task) if task else _no_task  # weak: tracebacks lead to the bridge


def _no_task() -> None:
    return None


class ThreadBridge(greenlet):
    """Runs one function in a thread; its parent forwards awaitables to the loop."""

    __sqlalchemy_greenlet_provider__ = True


def step(steps: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in this greenlet; 1-tuples tell what it yields from SQLAlchemy's awaitables."""
    value: Any = None
    error: BaseException | None = None
    future: Any = None
    try:
        while True:
            try:
                future = steps.send(value) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            value, error = None, None
            try:
                value = getcurrent().parent.switch((future,))  # type: ignore[union-attr]
            except GreenletExit:  # nobody steps this any more
                steps.close()
                raise
            except BaseException as raised:  # what the loop throws, cancellation too, belongs to the coroutine
                error = raised
    finally:
        error = future = None  # or an exception and its traceback would keep each other


@coroutine
def _drive(bridge: Bridge, steps: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    error: BaseException | None = None
    result: Any = bridge.switch(steps)
    try:
        while not bridge.dead:
            value, error = None, None
            try:
                value = (yield result[0]) if type(result) is tuple else (yield from result.__await__())
            except BaseException as raised:  # likewise
                error = raised
            if bridge.parent is not (hub := getcurrent()):  # the garbage collector may end it from another bridge
                try:
                    bridge.parent = hub
                except ValueError:  # or from another thread: greenlet ends it in its own
                    raise error or RuntimeError("a bridged coroutine was continued in another thread") from None
            result = bridge.switch(value) if error is None else bridge.throw(error)
        return result  # type: ignore[no-any-return]
    finally:
        error = result = None  # as above


async def _awaiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


def as_coroutine(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    if asyncio.iscoroutine(awaitable):
        return awaitable
    if not isawaitable(awaitable):
        raise TypeError(f"an awaitable is needed, not {type(awaitable).__name__}: {awaitable!r}")
    return _awaiting(awaitable)


def discard(awaitable: Awaitable[Any]) -> None:
    """Close what will not be awaited, so that Python does not warn of it."""
    if asyncio.iscoroutine(awaitable):
        awaitable.close()


def _in_bridge() -> bool:
    current = getcurrent()
    return type(current) is Bridge and current.task() is asyncio.current_task()


def bridged(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """Await it in such a way that synchronous code below may :func:`wait`: ``await bridged(coroutine)``.

    The surrounding task stays the current one: cancellation, ``asyncio.timeout`` and context variables are
    those of a plain ``await``. Within a bridge of the same task it is a plain ``await``.
    """
    return _bridged(_Unstarted(awaitable))


class _Unstarted(Generic[T]):
    """Holds what a task shall await, and closes it if the task is cancelled before its first step."""

    __slots__ = ("awaitable",)

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self.awaitable: Awaitable[T] | None = awaitable

    def __del__(self) -> None:
        if self.awaitable is not None:
            discard(self.awaitable)


async def _bridged(unstarted: _Unstarted[T]) -> T:
    awaitable, unstarted.awaitable = unstarted.awaitable, None
    assert awaitable is not None
    if _in_bridge():
        return await awaitable
    return await _drive(Bridge(), as_coroutine(awaitable))


_bridged.__qualname__ = bridged.__qualname__


def enterable(context: Context | None) -> Context:
    """The context itself, so that variables are seen, set and reset on both sides; a copy if it is entered."""
    if context is None:
        return copy_context()
    try:
        context.run(_no_task)
    except RuntimeError:  # somebody's Context.run() has not ended
        return context.copy()
    return context


def carry(source: Context) -> None:
    """Set in the current context what was set in ``source``, a copy of it."""
    for variable, value in source.items():
        if variable.get(_MISSING) is not value:
            variable.set(value)


def refuse_eager_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Raise where tasks start inside ``create_task``: their first step would run in their parent's bridge.

    :raises RuntimeError: naming the task factory.
    """
    started: list[bool] = []

    async def first_step() -> None:
        started.append(True)

    steps = first_step()
    advice = "call loop.set_task_factory(None) before the application starts"
    try:
        task = loop.create_task(steps)
    except Exception as error:
        steps.close()
        raise RuntimeError(f"the event loop's task factory {loop.get_task_factory()!r} fails: {advice}") from error
    if started:
        raise RuntimeError(
            f"the event loop's task factory {loop.get_task_factory()!r} starts tasks eagerly, inside create_task,"
            f" which bridged code cannot allow: {advice}"
        )
    task.cancel()
