"""``in_thread``: a function in a bounded thread pool that may wait for the loop which sent it there."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar, cast

from ..errors import Overloaded
from .calls import Call, logger, owner, thread_waits
from .greenlets import carry
from .waiting import local

__all__ = ["Threads", "current_threads", "in_thread"]

T = TypeVar("T")
P = ParamSpec("P")


def _on_mailbox(call: Call) -> None:
    call.run(Call.serve)
    call.finish()


def _plainly(call: Call) -> Any:
    local.may_wait = False
    return call.context.run(call.function)


class Threads:
    """A bounded pool of threads for synchronous functions.

    :param size: how many threads; further calls queue.
    :param max_queued: how many calls may queue; one more raises :exc:`~decant.errors.Overloaded`. With 0 none
        queues: a call is refused when every thread works.
    :param grace_s: how long a cancelled caller waits for its thread, which is stopped at its next ``wait``. A
        thread that takes longer is abandoned: each of its later waits raises ``CancelledError``.
    :param may_wait: ``False`` for hashing and file work, which hold a thread but never need the loop.
    """

    def __init__(
        self, size: int = 40, *, max_queued: int = 10_000, grace_s: float = 5.0, may_wait: bool = True
    ) -> None:
        self.size, self.max_queued, self.grace_s, self.may_wait = size, max_queued, grace_s, may_wait
        self._forget()

    def _forget(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._queue: deque[Call] = deque()
        self._calls = self._working = 0

    @property
    def busy(self) -> int:
        """How many threads work now."""
        return min(self._calls, self.size)

    @property
    def queued(self) -> int:
        """How many calls wait for a thread now."""
        return max(0, self._calls - self.size)

    @property
    def full(self) -> bool:
        """Whether one more call would be refused."""
        return self._calls >= self.size + self.max_queued

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(*args, **kwargs)`` in a thread, with the caller's context variables, which it may set."""
        sender, work = owner.get(), partial(function, *args, **kwargs)
        if self.may_wait and sender is not None and thread_waits():
            call = Call(work, sender.mailbox)  # on the thread that waits for us: no second slot, no deadlock
            sender.mailbox.put(partial(_on_mailbox, call))
            return cast(T, await self._result(call))
        call = Call(work, SimpleQueue())
        self._submit(call)
        return cast(T, await self._result(call))

    def _submit(self, call: Call) -> None:
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._forget()
        with self._lock:
            if self.full:
                raise Overloaded(f"{self.queued} calls already wait for one of {self.size} threads")
            if self._working < self.size:
                self._start_thread()
            self._queue.append(call)
            self._calls += 1

    def _start_thread(self) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.size, thread_name_prefix="decant")
        self._executor.submit(self._work)  # raises if the interpreter shuts down, or no thread can be started
        self._working += 1

    def _work(self) -> None:  # in the thread: whatever is queued, as the executor's own way of each call costs more
        while (call := self._next()) is not None:
            call.run(Call.serve if self.may_wait else _plainly)
            with self._lock:
                self._calls -= 1
            call.finish()
            del call  # or it would live until the next one comes

    def _next(self) -> Call | None:
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._working -= 1
            return None

    def _taken_back(self, call: Call) -> bool:
        """Whether no thread had begun with it, and none will."""
        with self._lock:
            if call not in self._queue:
                return False
            self._queue.remove(call)
            self._calls -= 1
            return True

    async def _result(self, call: Call) -> Any:
        try:
            await call.done
        except asyncio.CancelledError:
            if not self._taken_back(call):
                await self._stop(call)
            raise
        finally:
            call.flow = None
        (value, error), call.outcome = call.outcome, (None, None)
        carry(call.context)
        try:
            if error is not None:
                raise error
            return value
        finally:
            error = None  # or it and its traceback would keep each other

    async def _stop(self, call: Call) -> None:
        call.cancel()
        if not call.ended:
            call.done = call.loop.create_future()  # the one before was cancelled with the task that awaited it
        deadline = call.loop.time() + self.grace_s
        try:
            while not call.ended and (left := deadline - call.loop.time()) > 0:
                with suppress(asyncio.CancelledError):  # again, as by a timeout and then by a client that goes away
                    await asyncio.wait([call.done], timeout=left)
        finally:
            call.outcome = (None, None)
            if not call.ended:
                call.abandoned = True
                logger.warning("%r did not stop within %s s of its cancellation", call.function, self.grace_s)

    def close(self) -> None:
        """Refuse what is queued and let idle threads end; running functions are not interrupted."""
        with self._lock:
            executor, self._executor = self._executor, None
            refused = list(self._queue)
            self._queue.clear()
            self._calls -= len(refused)
        if executor is not None:
            executor.shutdown(wait=False)
        for call in refused:
            call.outcome = (None, Overloaded("the pool of threads was closed"))
            call.finish()


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
