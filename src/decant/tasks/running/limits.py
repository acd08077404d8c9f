"""Stopping a function that runs: soft and hard time limits, revocation, the end of the worker.

A soft limit raises ``SoftTimeLimitExceeded`` inside the function, which may tidy up and even go on: in an ``async``
function where it waits, in one in a thread where it waits next (:func:`decant.bridge.wait`), in a process at once. A
hard one cancels: an ``async`` function gets ``CancelledError``, a thread too, at its next wait, and is abandoned if
there is none within 5 s (of a Flask application's job only the end is written: its slot is taken until the function
ends); a process is killed. ``asyncio.timeout``, ``TaskGroup`` and ``gather`` in the function stay intact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import copy_context
from types import coroutine
from typing import Any, Final, NamedTuple, TypeVar

from greenlet import getcurrent

from ...bridge import wait
from ...bridge.greenlets import ThreadBridge, discard
from ..errors import SoftTimeLimitExceeded

__all__ = ["Limits", "SoftThread", "Stopped", "Stopper", "TimeLimits"]

T = TypeVar("T")
_AGAIN_S: Final = 1.0


class Limits(NamedTuple):
    """Seconds, or ``None`` for no limit."""

    soft_s: float | None = None
    hard_s: float | None = None


class TimeLimits:
    """The limits of one worker: what the call and the task say, unless it was set otherwise at run time."""

    def __init__(self) -> None:
        self._set: dict[str, Limits] = {}

    def set(self, task: str, soft_s: float | None = None, hard_s: float | None = None) -> None:
        """Limit a task's jobs that begin from now on; ``None`` for both leaves it to the task again.

        :raises ValueError: for what are no seconds.
        """
        for name, value in (("soft", soft_s), ("hard", hard_s)):
            if value is not None and (not isinstance(value, int | float) or value < 0):
                raise ValueError(f"the {name} time limit is {value!r}: seconds, at least 0, are allowed")
        if soft_s is None and hard_s is None:
            self._set.pop(task, None)
        else:
            self._set[task] = Limits(soft_s, hard_s)

    def of(self, task: str, *said: tuple[float | None, float | None]) -> Limits:
        """The limits of a job: the first of ``said``, pairs of soft and hard limits, that names one, for each."""
        if task in self._set:
            return self._set[task]
        return Limits(next((one for one, _ in said if one), None), next((one for _, one in said if one), None))


class Stopped(Exception):
    """The function was stopped; ``reason`` is that of :meth:`Stopper.stop`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class _SoftInside(SoftTimeLimitExceeded, asyncio.CancelledError):
    """As it is raised on an event loop: also a cancellation, or a ``TaskGroup`` would leave its tasks behind."""


class Stopper:
    """Stops one function, for the first reason that is given.

    :meth:`run` surrounds all that its task does, :meth:`limited` the function alone: nothing else is ever cancelled.
    """

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008  (it cannot be changed)
        self.limits = limits
        self.reason: str | None = None
        self._task: asyncio.Task[Any] | None = None
        self._soften: Callable[[], None] = self.soften
        self._soft_due = self._delivered = False
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def stop(self, reason: str) -> None:
        """Cancel the function, now or as soon as it begins, and again each second until it ends."""
        if self.reason is None:
            self.reason = reason
            self._cancel()

    def soften(self) -> None:
        """Raise ``SoftTimeLimitExceeded`` in an ``async`` function; to be called on its loop."""
        if self._task is not None and self.reason is None:
            self._soft_due = True
            self._task.cancel()

    async def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Await it in the task's outermost place, outside of its bridge, where each cancellation comes by."""
        return await _translated(self, steps)  # which is no coroutine that a task takes, from Python 3.12 on

    async def limited(
        self, awaitable: Awaitable[T], soften: Callable[[], None] | None = None, *, timed: bool = True
    ) -> T:
        """Await the function within its limits; ``soften`` tells it of the soft one, if not :meth:`soften`.

        :param timed: whether the limits count from now; else from :meth:`start_timers`.
        :raises Stopped: if it was stopped, also before it began.
        :raises SoftTimeLimitExceeded: if it let that pass.
        """
        if self.reason is not None:
            discard(awaitable)
            raise Stopped(self.reason)
        self._task, self._soften = asyncio.current_task(), soften or self.soften
        if timed:
            self.start_timers()
        try:
            value = await awaitable
        except _SoftInside as error:
            raise SoftTimeLimitExceeded(*error.args).with_traceback(error.__traceback__) from error.__cause__
        except asyncio.CancelledError:
            if self.reason is None:
                raise
            raise Stopped(self.reason) from None
        finally:
            await self._end()
        if self._delivered and self.reason is not None:  # it ended well for all that, as when it only tidied up
            raise Stopped(self.reason)
        return value

    def instead_of(self, error: asyncio.CancelledError) -> BaseException:
        """What a cancellation that comes by is to the function."""
        if self._soft_due and self.reason is None:
            self._soft_due = False
            if self._task is not None:
                self._task.uncancel()
            return _SoftInside(self.limits.soft_s)
        self._delivered = True
        return error

    def start_timers(self) -> None:
        """The function begins now; said again, it has only now begun."""
        loop = asyncio.get_running_loop()
        for name in ("soft", "hard"):
            if name in self._timers:
                self._timers[name].cancel()
        if self.limits.soft_s is not None:
            self._timers["soft"] = loop.call_later(self.limits.soft_s, self._soften)
        if self.limits.hard_s is not None:
            self._timers["hard"] = loop.call_later(self.limits.hard_s, self.stop, "hard")

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._timers["again"] = self._task.get_loop().call_later(_AGAIN_S, self._cancel)

    async def _end(self) -> None:
        task, self._task = self._task, None
        for timer in self._timers.values():
            timer.cancel()
        ours, self._soft_due = self.reason is not None or self._soft_due, False
        if task is None or not ours or not task.cancelling():
            return
        delivered = self._delivered
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # what was asked for at the last moment comes now, and hits nobody
        while task.cancelling():
            task.uncancel()
        self._delivered = delivered


@coroutine
def _translated(stopper: Stopper, steps: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    value: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                future = steps.send(value) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            value = error = None
            try:
                value = yield future
            except asyncio.CancelledError as raised:
                error = stopper.instead_of(raised)
            except BaseException as raised:  # belongs to the coroutine
                error = raised
    finally:
        error = None  # or it and its traceback would keep each other


class SoftThread:
    """Runs one plain function, and raises ``SoftTimeLimitExceeded`` where it waits once :meth:`fire` was called."""

    def __init__(self, soft_s: float | None = None) -> None:
        self.soft_s = soft_s
        self.loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._due = False

    @property
    def waits(self) -> bool:
        """Whether the function waits for something on :attr:`loop` now."""
        return self._task is not None

    def fire(self) -> None:
        """The limit has passed; to be called on the loop that the function waits for."""
        self._due = True
        if self._task is not None:
            self._task.cancel()

    def call(self, function: Callable[[], T]) -> T:
        """Call it, in a greenlet of its own, whose waits come by here; in the thread."""
        bridge = ThreadBridge(function)
        bridge.gr_context = getcurrent().gr_context or copy_context()
        result = bridge.switch()
        error: BaseException | None = None
        try:
            while not bridge.dead:
                value, error = None, None
                try:
                    value = wait(self._watched(result))
                except BaseException as raised:  # belongs to the function
                    error = raised
                result = bridge.switch(value) if error is None else bridge.throw(error)
            return result  # type: ignore[no-any-return]
        finally:
            error = None

    async def _watched(self, awaitable: Awaitable[Any]) -> Any:
        if self._due:
            self._due = False
            discard(awaitable)
            raise SoftTimeLimitExceeded(self.soft_s)
        self.loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if not self._due or self._task is None:
                raise
            self._due = False
            self._task.uncancel()
            raise SoftTimeLimitExceeded(self.soft_s) from None
        finally:
            self._task = None
