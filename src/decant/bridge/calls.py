"""One call of a function in a thread, and what code belongs to which call or task."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from greenlet import greenlet

from .greenlets import ThreadBridge, bridged, carry, discard, enterable
from .waiting import local

__all__ = ["Call", "Flow", "detached", "flow", "logger", "owner", "thread_waits"]

Flow = asyncio.Task[Any] | asyncio.Runner
Outcome = tuple[Any, BaseException | None]
logger = logging.getLogger("decant.bridge")


class _Here(threading.local):
    call: Call | None = None


_here = _Here()


class Call:
    """One function in a thread; each method says on which side it runs. ``task`` is what the thread waits for."""

    def __init__(self, function: Callable[[], Any], mailbox: SimpleQueue[Callable[[], Any]]) -> None:
        self.loop = asyncio.get_running_loop()
        self.flow: Flow | None = flow()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.outcome: Outcome = (None, None)
        self.function, self.mailbox, self.context = function, mailbox, copy_context()
        self.task: asyncio.Task[Any] | None = None
        self.cancelling = self.abandoned = self.ended = False

    def run(self, serve: Callable[[Call], Any]) -> None:  # in the thread
        outer, _here.call = _here.call, self
        try:
            if self.cancelling:
                raise asyncio.CancelledError
            self.outcome = (serve(self), None)
        except BaseException as error:  # handed to the task that awaits the call
            self.outcome = (None, error)
        finally:
            _here.call = outer

    def finish(self) -> None:  # in the thread
        try:
            self.loop.call_soon_threadsafe(self._finish)
        except RuntimeError:
            self.outcome = (None, None)
            logger.warning("%r ended after its event loop was closed", self.function)

    def _finish(self) -> None:  # on the loop
        self.ended = True
        if not self.done.done():  # cancelled: with the task that awaits it
            self.done.set_result(None)

    def serve(self) -> Any:  # in the thread
        bridge = ThreadBridge(self.function)
        bridge.gr_context = self.context
        result = bridge.switch()
        error: BaseException | None = None
        try:
            while not bridge.dead:
                value, error = None, None
                try:
                    value = self._forward(result, bridge)
                except BaseException as raised:  # belongs to the function
                    error = raised
                result = bridge.switch(value) if error is None else bridge.throw(error)
            return result
        finally:
            error = None  # or an exception and its traceback would keep each other

    def _forward(self, awaitable: Awaitable[Any], bridge: ThreadBridge) -> Any:  # in the thread
        answers: list[Outcome] = []
        context = enterable(bridge.gr_context)
        token = context.run(owner.set, self)
        try:
            self.loop.call_soon_threadsafe(self._start, awaitable, context, answers)
        except RuntimeError:
            discard(awaitable)
            raise
        while not answers:  # other messages are functions that the awaitable sends to a thread: to this one
            try:
                self.mailbox.get(timeout=1.0)()
            except Empty:
                if self.loop.is_closed():
                    raise RuntimeError("the event loop was closed while a thread waited for it") from None
        context.run(owner.reset, token)
        if context is not bridge.gr_context:
            carrier = greenlet(carry)
            carrier.gr_context = bridge.gr_context
            carrier.switch(context)
        value, error = answers.pop()
        try:
            if error is not None:
                raise error
            return value
        finally:
            error = None

    def _start(self, awaitable: Awaitable[Any], context: Context, answers: list[Outcome]) -> None:  # on the loop
        if self.cancelling or self.abandoned:
            self.cancelling = False  # delivered once, so that clean-up may wait
            discard(awaitable)
            self.mailbox.put(partial(answers.append, (None, asyncio.CancelledError())))
            return
        self.task = self.loop.create_task(bridged(awaitable), context=context)
        self.task.add_done_callback(partial(self._answer, answers))

    def _answer(self, answers: list[Outcome], task: asyncio.Task[Any]) -> None:  # on the loop
        self.task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.mailbox.put(partial(answers.append, (None if error else task.result(), error)))

    def cancel(self) -> None:  # on the loop
        if self.task is None or not self.task.cancel():  # what ended already is answered, and its next wait raises
            self.cancelling = True


owner: ContextVar[Call | None] = ContextVar("decant_thread_that_waits", default=None)


def thread_waits() -> bool:
    """Whether the running task works for a thread that waits for it: :func:`in_thread` then runs there."""
    call = owner.get()
    return call is not None and call.task is not None and call.loop is asyncio._get_running_loop()


def detached() -> Context:
    """A copy of the current context for a task that may outlive the thread that waits, and so must not run there."""
    context = copy_context()
    context.run(owner.set, None)
    return context


def flow() -> Flow:
    """What the code here belongs to: of two parts of one flow, only one runs at a time.

    The current task; in a thread of :func:`in_thread`, and in what it waits for, the task that sent it there;
    where no loop runs, and in what is waited for there, the runner that the thread keeps. Has ``get_loop()``.

    :raises RuntimeError: in a callback of the loop, outside any task.
    """
    loop = asyncio._get_running_loop()
    if loop is None:
        sent = _here.call.flow if _here.call is not None else None
        return sent or local.keep().runner
    task, call = asyncio.current_task(loop), owner.get()
    if task is None:
        raise RuntimeError("a callback of the event loop belongs to no task: start one with create_task")
    if call is not None and call.task is task and call.flow is not None:
        return call.flow
    return local.kept.runner if local.kept is not None and local.kept.task is task else task
