"""Futures that are awaited, and are ``concurrent.futures.Future``s; and where they are kept by key."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from ..bridge import can_wait, wait

__all__ = ["FutureCollection", "FutureProxy", "logger"]

logger = logging.getLogger("decant.executor")
_BLOCKS = (
    "{name}() would block the event loop, because the job is not done: write `await future` (or `async for`"
    " over what map() returned)"
)


class _AwaitedBy:
    """Who awaits a future. A future cannot forget a callback, and many may give up waiting before a long job ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[asyncio.Future[None]] | None = set()

    async def wait(self, timeout: float | None) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._waiting is None:
                return
            self._waiting.add(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        finally:
            with self._lock:
                if self._waiting is not None:
                    self._waiting.discard(waiter)

    def wake(self, _: Future[Any]) -> None:
        """Called when the future is done."""
        with self._lock:
            waiting, self._waiting = self._waiting or (), None
        for waiter in waiting:
            with suppress(RuntimeError):  # its loop was closed
                waiter.get_loop().call_soon_threadsafe(_arrive, waiter)


def _arrive(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class FutureProxy(Future[Any]):
    """The future of a job: ``await future`` on an event loop, ``future.result()`` in a thread.

    As Flask-Executor's, of which it has the name: callbacks run with the context in which they were added. Differences:
    it is the future itself, no proxy; callbacks run in a thread (coroutine functions: on the loop) soon after the job
    has ended; an error that nobody asks for is logged when the future is dropped; ``result`` and ``exception`` never
    block an event loop: in a bridge they wait as ``decant.wait`` does, elsewhere they raise ``RuntimeError``.

    If it was cancelled, ``concurrent.futures.CancelledError`` is raised: asyncio's means that the awaiting task is.
    If the task that awaits it is cancelled, a job that has not started is cancelled too, unless it is stored.
    """

    _stored = False
    _seen = True  # until it is whole: Ctrl-C in the midst of __init__ leaves what __del__ then finds

    def __init__(self, job: str, call_back: Callable[[Callable[..., Any]], Callable[[Future[Any]], None]]) -> None:
        super().__init__()
        self._job, self._call_back = job, call_back
        self._on_cancel: Callable[[], None] | None = None
        self._awaited_by = _AwaitedBy()
        super().add_done_callback(self._awaited_by.wake)
        self._seen = False

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        try:
            await self._awaited_by.wait(None)
        except asyncio.CancelledError:
            if not self._stored:
                self.cancel()
            raise
        try:
            return self.result()
        finally:
            del self  # or an exception and its traceback would keep each other

    def result(self, timeout: float | None = None) -> Any:
        """What the job returned; raises what it raised, or ``TimeoutError`` after ``timeout`` seconds.

        :raises RuntimeError: on an event loop, outside a bridge, if the job is not done.
        """
        try:
            self._wait_on_loop("result", timeout)
            return super().result(timeout)
        finally:
            self._seen = self._seen or self.done()
            del self

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the job raised, or ``None``. Errors as :meth:`result`."""
        self._wait_on_loop("exception", timeout)
        error = super().exception(timeout)
        self._seen = True
        return error

    def _wait_on_loop(self, name: str, timeout: float | None) -> None:
        if self.done() or asyncio._get_running_loop() is None:
            return
        if not can_wait():
            raise RuntimeError(_BLOCKS.format(name=name))
        wait(self._awaited_by.wait(timeout))

    def cancel(self) -> bool:
        """Cancel a job that has not started; ``False`` if it has."""
        cancelled = super().cancel()
        on_cancel, self._on_cancel = self._on_cancel, None
        if cancelled and on_cancel is not None:
            on_cancel()
        return cancelled

    def add_done_callback(self, fn: Callable[..., Any]) -> None:
        """Call ``fn(future)`` when the job has ended, with the context that is active here and now.

        In a thread, or on the loop if it is a coroutine function; its errors are logged.
        """
        if (getattr(fn, "__module__", None) or "").partition(".")[0] == "asyncio":
            super().add_done_callback(fn)  # only wakes a loop
        else:
            super().add_done_callback(self._call_back(fn))

    def _when_done(self, function: Callable[[Future[Any]], object]) -> None:
        """Call it at once where the job ends: it must not block."""
        super().add_done_callback(function)

    def _failed(self) -> bool:
        return self.cancelled() or super().exception(0) is not None

    def __del__(self) -> None:
        if self._seen or not self.done() or self.cancelled():
            return
        error = super().exception(0)
        if error is not None and not isinstance(error, CancelledError):
            logger.error("the job %s failed, and nobody asked for its result", self._job, exc_info=error)


class FutureCollection:
    """Futures by key, at most ``max_length``: the oldest are dropped.

    Every method and attribute of a future is one of the collection, with the key as its first argument:
    ``futures.done("key")``, and ``None`` for an unknown key. ``await futures.pop("key")`` for the result.
    """

    def __init__(self, max_length: int | None = 50) -> None:
        self.max_length = max_length
        self._lock = threading.Lock()
        self._futures: dict[Hashable, Future[Any]] = {}

    def __contains__(self, future: object) -> bool:
        with self._lock:
            return any(kept is future for kept in self._futures.values())

    def __len__(self) -> int:
        return len(self._futures)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__") or name in ("_futures", "_lock"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def of_future(future_key: Hashable, *args: Any, **kwargs: Any) -> Any:
            future = self._futures.get(future_key)
            if future is None:
                return None
            value = getattr(future, name)
            return value(*args, **kwargs) if callable(value) else value

        return of_future

    def add(self, future_key: Hashable, future: Future[Any]) -> None:
        """Keep a future.

        :raises ValueError: if there is one with that key.
        """
        self._claim(future_key, future)
        self._trim()

    def _claim(self, future_key: Hashable, future: Future[Any]) -> None:
        """Keep it, and for now all others: its job may be refused."""
        with self._lock:
            if future_key in self._futures:
                raise ValueError(f"future_key {future_key} already exists")
            self._futures[future_key] = future

    def _trim(self) -> None:
        dropped = []
        with self._lock:
            while self.max_length is not None and len(self._futures) > self.max_length:
                dropped.append(self._futures.pop(next(iter(self._futures))))
        del dropped  # outside of the lock: a future that is freed may log

    def pop(self, future_key: Hashable) -> Any:
        """The future with that key, which is kept no longer; ``None`` if there is none."""
        with self._lock:
            return self._futures.pop(future_key, None)
