"""``in_thread``: a function in a bounded thread pool that may wait for the loop which sent it there."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar, cast

from greenlet import getcurrent

from ..errors import Overloaded
from .greenlets import ThreadBridge, bridged, carry, discard, local

__all__ = ["Threads", "current_threads", "flow", "in_thread", "thread_waits"]

T = TypeVar("T")
P = ParamSpec("P")
Outcome = tuple[Any, BaseException | None]
logger = logging.getLogger("decant.bridge")


class _Call:
    """One function in a thread; each method says on which side it runs. ``task`` is what the thread waits for."""

    def __init__(self, function: Callable[[], Any], mailbox: SimpleQueue[Callable[[], Any]]) -> None:
        self.loop, self.flow = asyncio.get_running_loop(), flow()
        self.done: asyncio.Future[Outcome] = self.loop.create_future()
        self.function, self.mailbox, self.context = function, mailbox, copy_context()
        self.task: asyncio.Task[Any] | None = None
        self.cancelling = self.abandoned = False

    def __call__(self, serve: Callable[[_Call], Any]) -> None:  # in the thread
        outcome: Outcome
        outer, _here.call = _here.call, self
        try:
            if self.cancelling:
                raise asyncio.CancelledError
            outcome = (self.context.run(serve, self), None)
        except BaseException as error:  # handed to the task that awaits the call
            outcome = (None, error)
        finally:
            _here.call = outer
        try:
            self.loop.call_soon_threadsafe(self._finish, outcome)
        except RuntimeError:
            logger.warning("%r ended after its event loop was closed", self.function)

    def serve(self) -> Any:  # in the thread
        bridge = ThreadBridge(self.function)
        bridge.gr_context = getcurrent().gr_context
        result = bridge.switch()
        while not bridge.dead:
            error: BaseException | None = None
            value = None
            try:
                value = self._forward(result)
            except BaseException as raised:  # belongs to the function
                error = raised
            result = bridge.switch(value) if error is None else bridge.throw(error)
        return result

    def _forward(self, awaitable: Awaitable[Any]) -> Any:  # in the thread
        answers: list[Outcome] = []
        context = copy_context()
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
        carry(context, but=_owner)
        value, error = answers[0]
        if error is not None:
            raise error
        return value

    def _start(self, awaitable: Awaitable[Any], context: Context, answers: list[Outcome]) -> None:  # on the loop
        if self.cancelling or self.abandoned:
            self.cancelling = False  # delivered once, so that clean-up may wait
            discard(awaitable)
            self.mailbox.put(partial(answers.append, (None, asyncio.CancelledError())))
            return
        context.run(_owner.set, self)
        self.task = self.loop.create_task(bridged(awaitable), context=context)
        self.task.add_done_callback(partial(self._answer, answers))

    def _answer(self, answers: list[Outcome], task: asyncio.Task[Any]) -> None:  # on the loop
        self.task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.mailbox.put(partial(answers.append, (None if error else task.result(), error)))

    def _finish(self, outcome: Outcome) -> None:  # on the loop
        if not self.done.done():
            self.done.set_result(outcome)

    def cancel(self) -> None:  # on the loop
        if self.task is None:
            self.cancelling = True
        else:
            self.task.cancel()


_owner: ContextVar[_Call | None] = ContextVar("decant_thread_that_waits", default=None)


class _Here(threading.local):
    call: _Call | None = None


_here = _Here()


def flow() -> asyncio.Task[Any] | asyncio.Runner:
    """What the code here belongs to: of two parts of one flow, only one runs at a time.

    The current task; in a thread of :func:`in_thread`, and in what it waits for, the task that sent it there;
    where no loop runs, and in what is waited for there, the runner that the thread keeps. Has ``get_loop()``.

    :raises RuntimeError: in a callback of the loop, outside any task.
    """
    loop = asyncio._get_running_loop()
    if loop is None:
        return _here.call.flow if _here.call is not None else local.keep().runner
    task, owner = asyncio.current_task(loop), _owner.get()
    if task is None:
        raise RuntimeError("a callback of the event loop belongs to no task: start one with create_task")
    if owner is not None and owner.task is task:
        return owner.flow
    return local.kept.runner if local.kept is not None and local.kept.task is task else task


def thread_waits() -> bool:
    """Whether the running task works for a thread that waits for it: :func:`in_thread` then runs there."""
    owner = _owner.get()
    return owner is not None and owner.task is not None and owner.loop is asyncio._get_running_loop()


def _plainly(call: _Call) -> Any:
    local.may_wait = False
    return call.function()


class Threads:
    """A bounded pool of threads for synchronous functions.

    :param size: how many threads; further calls queue.
    :param max_queued: how many calls may queue; one more raises :exc:`~decant.errors.Overloaded`.
    :param grace_s: how long a cancelled caller waits for its thread, which is stopped at its next ``wait``. A
        thread that takes longer is abandoned: each of its later waits raises ``CancelledError``.
    :param may_wait: ``False`` for hashing and file work, which hold a thread but never need the loop.
    """

    def __init__(
        self, size: int = 40, *, max_queued: int = 10_000, grace_s: float = 5.0, may_wait: bool = True
    ) -> None:
        self.size, self.max_queued, self.grace_s, self.may_wait = size, max_queued, grace_s, may_wait
        self._executor: ThreadPoolExecutor | None = None
        self._calls = 0

    @property
    def busy(self) -> int:
        """How many threads work now."""
        return min(self._calls, self.size)

    @property
    def queued(self) -> int:
        """How many calls wait for a thread now."""
        return max(0, self._calls - self.size)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(*args, **kwargs)`` in a thread, with the caller's context variables, which it may set."""
        owner, work = _owner.get(), partial(function, *args, **kwargs)
        if self.may_wait and owner is not None and thread_waits():
            call = _Call(work, owner.mailbox)  # on the thread that waits for us: no second slot, no deadlock
            owner.mailbox.put(partial(call, _Call.serve))
            return cast(T, await self._result(call))
        if self.queued >= self.max_queued:
            raise Overloaded(f"{self.queued} calls already wait for one of {self.size} threads")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.size, thread_name_prefix="decant")
        call = _Call(work, SimpleQueue())
        job = self._executor.submit(call, _Call.serve if self.may_wait else _plainly)
        self._calls += 1
        call.done.add_done_callback(self._ended)
        return cast(T, await self._result(call, job))

    def _ended(self, done: asyncio.Future[Outcome]) -> None:
        self._calls -= 1

    async def _result(self, call: _Call, job: Future[None] | None = None) -> Any:
        try:
            await asyncio.wait([call.done])
        except asyncio.CancelledError:
            if job is not None and job.cancel():
                call.done.cancel()  # it was still queued
            else:
                await self._stop(call)
            raise
        value, error = call.done.result()
        carry(call.context, but=_owner)
        if error is not None:
            raise error
        return value

    async def _stop(self, call: _Call) -> None:
        call.cancel()
        try:
            await asyncio.wait([call.done], timeout=self.grace_s)
        finally:
            if not call.done.done():
                call.abandoned = True
                logger.warning("%r did not stop within %s s of its cancellation", call.function, self.grace_s)

    def close(self) -> None:
        """Let queued calls go and idle threads end; running functions are not interrupted."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


_default = Threads()
current_threads: ContextVar[Threads] = ContextVar("decant_threads", default=_default)
"""The pool of :func:`in_thread`: the application's own, where one is being served."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a synchronous function in a thread of the current pool, where it may :func:`~decant.bridge.wait`.

    Context variables are copied in, and back when it ends. If the caller is cancelled, the function's current
    or next ``wait`` raises ``CancelledError``, and the caller waits for it, at most the pool's ``grace_s``.

    :raises Overloaded: if the pool's queue is full.
    """
    return await current_threads.get().run(function, *args, **kwargs)
