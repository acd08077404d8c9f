"""Who holds the event loop: said while it is held, with the line, and counted.

A view that blocks on the loop stops every other request, and nothing shows who it was once it is over. Each step of a
request is noted when it begins (under a microsecond); a thread looks every 25 ms whether one goes on for too long.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from inspect import iscoroutinefunction
from time import monotonic
from types import coroutine
from typing import Any, Final, NamedTuple, TypeVar
from weakref import ref

from greenlet import getcurrent

from ..bridge import bridged, can_wait
from ..ops.registry import counter, histogram
from .frames import Frame, place_of, show, walk
from .starving import Delays

__all__ = ["Subject", "Watchdog"]

T = TypeVar("T")
logger = logging.getLogger("decant.flask.watchdog")
_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ADVICE: Final = (
    "If it has to block, mark the view with @decant.flask.blocking or list it in DECANT_BLOCKING_VIEWS: it then runs in"
    " a thread"
)
_ADVICE_ASYNC: Final = "Give what blocks in an async function to a thread: await asyncio.to_thread(function)"


class Subject(NamedTuple):
    """What is being watched: the endpoint of a view (``None`` if no route matches), a text for it, its function."""

    endpoint: str | None
    text: str
    function: Callable[..., Any] | None = None


Describe = Callable[[], Subject]


class _Hold(NamedTuple):
    """One step of a request: what runs between two awaits that wait."""

    describe: Describe
    since: float


async def _awaiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


class _Rate:
    """Lets through what is worth a line in the log: one per subject and ``every_s``, ``at_most`` in a minute."""

    def __init__(self, every_s: float = 10.0, at_most: int = 30) -> None:
        self.every_s, self.at_most = every_s, at_most
        self._last: dict[str, float] = {}
        self._dropped: dict[str, int] = {}
        self._minute, self._count = 0.0, 0
        self._lock = threading.Lock()

    def take(self, name: str) -> int | None:
        """How many of this name were kept back since the last one; ``None`` if this one is, too."""
        now = monotonic()
        with self._lock:
            if now - self._minute >= 60:
                self._minute, self._count = now, 0
            if now - self._last.get(name, -self.every_s) < self.every_s or self._count >= self.at_most:
                self._dropped[name] = self._dropped.get(name, 0) + 1
                return None
            self._last[name] = now
            self._count += 1
            return self._dropped.pop(name, 0)


class Watchdog:
    """Logs, as a warning of ``decant.flask.watchdog``, any view that holds an event loop for too long, and counts it.

    The record has ``endpoint``, ``file``, ``line`` (where it is now) and ``seconds``. The metrics, with the label
    ``view``: ``decant_loop_held_total`` and ``decant_loop_held_seconds``. Time for which the thread of the loop had to
    wait for a core does not count, where the system tells it (Linux).

    :param after_s: how long a view may hold the loop.
    """

    def __init__(self, after_s: float = 0.1) -> None:
        self.after_s = after_s
        self._held: dict[int, _Hold] = {}  # by the thread of the loop
        self._logged: dict[int, _Hold | None] = {}
        self._over: deque[tuple[int, _Hold, float]] = deque(maxlen=1000)  # what has ended, to be counted
        self._delays = Delays()
        self._rate = _Rate()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._count = counter("decant_loop_held", "Views that held the event loop for too long", ("view",))
        self._seconds = histogram(
            "decant_loop_held_seconds",
            "For how long views held the event loop, where that was too long",
            ("view",),
            _BUCKETS,
        )

    # -- on the loop -------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it looks."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to look; what is watched first begins it, too."""
        with self._starting:
            if not self.is_running:  # also of a parent process, after a fork
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=_look, args=(ref(self), self._stop), name="decant-watchdog", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Look no more; the thread ends at once, and is not waited for."""
        with self._starting:
            self._thread = None
            self._stop.set()

    async def watch(self, awaitable: Awaitable[T], describe: Describe) -> T:
        """Await it bridged, in the running task, and watch each of its steps.

        :param describe: says what it is, if it is to be told; called on the loop or in the watchdog's thread.
        """
        if not self.is_running:
            self.start()
        watched = self._watched(bridged(awaitable), describe)
        if can_wait():  # in a bridge, which would be left and entered again in the middle of what looks like one step
            return getcurrent().parent.switch(_awaiting(watched))  # type: ignore[union-attr, no-any-return]
        return await watched

    @coroutine
    def _watched(self, steps: Coroutine[Any, Any, T], describe: Describe) -> Generator[Any, Any, T]:
        held, thread = self._held, threading.get_ident()
        if thread not in self._logged:
            self._logged[thread] = None
            self._delays.add()
        value: Any = None
        error: BaseException | None = None
        try:
            while True:
                outer = held.get(thread)
                hold = held[thread] = _Hold(describe, monotonic())
                try:
                    future = steps.send(value) if error is None else steps.throw(error)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                finally:
                    if outer is None:
                        del held[thread]
                    else:
                        held[thread] = outer
                    if (took := monotonic() - hold.since) > self.after_s:
                        self._over.append((thread, hold, took))
                value, error = None, None
                try:
                    value = yield future
                except BaseException as raised:  # belongs to what is watched
                    error = raised
        finally:
            error = None  # or it and its traceback would keep each other

    # -- in its own thread -------------------------------------------------------------------------------------

    def _look(self) -> None:
        while self._over:
            self._reported(self._was_held, *self._over.popleft())
        for thread in list(self._logged):
            hold = self._held.get(thread)
            self._delays.look(thread, hold)
            if hold is None or self._logged[thread] is hold:
                continue
            if monotonic() - hold.since - self._delays.of(thread, hold) > self.after_s:
                self._reported(self._is_held, thread, hold)

    def _reported(self, report: Callable[..., None], *what: Any) -> None:
        """A bug of the application's routing, or of a handler of the log, must not end the watch."""
        try:
            report(*what)
        except Exception:
            logger.exception("the watchdog could not report a view")

    def _was_held(self, thread: int, hold: _Hold, took: float) -> None:
        told = self._logged.get(thread) is hold
        took -= self._delays.of(thread, hold)  # the delay until now, so a little of what came after it, too
        if took <= self.after_s:
            if not told:
                return
            took = self.after_s
        subject = hold.describe()
        view = subject.endpoint or "-"
        self._count.inc(view=view)
        self._seconds.observe(took, view=view)
        if not told:  # over before it was seen, or the interpreter was held with it
            self._logged[thread] = hold
            self._log(subject, took, (), "held the event loop for %d ms (its stack was not seen)")

    def _is_held(self, thread: int, hold: _Hold) -> None:
        frames = walk(sys._current_frames().get(thread))
        took = monotonic() - hold.since - self._delays.of(thread, hold)
        if self._held.get(thread) is not hold:
            return  # it has just ended, and those may be the frames of another
        self._logged[thread] = hold
        self._log(hold.describe(), took, frames, "has held the event loop for %d ms and still does")

    def _log(self, subject: Subject, took: float, frames: tuple[Frame, ...], what: str) -> None:
        kept_back = self._rate.take(subject.endpoint or "-")
        if kept_back is None:
            return
        advice = _ADVICE_ASYNC if iscoroutinefunction(subject.function) else _ADVICE
        place = place_of(frames, subject.function)
        more = f"\n({kept_back} more of this view since the last such line.)" if kept_back else ""
        stack = f"\nThe stack of its greenlet, innermost last:\n{show(frames)}" if frames else ""
        logger.warning(
            f"%s {what}, at %s. Every other request waits meanwhile. {advice}.%s%s",
            subject.text,
            took * 1000,
            place or "an unknown place",
            more,
            stack,
            extra={
                "endpoint": subject.endpoint,
                "file": place.file if place else None,
                "line": place.line if place else None,
                "seconds": took,
            },
        )


def _look(watchdog: ref[Watchdog], stop: threading.Event) -> None:
    """Until it is stopped, or nobody has it any more: an application may never be told of its end."""
    every_s = 0.0
    while True:
        stopped = stop.wait(every_s)
        if (living := watchdog()) is None:
            return
        living._look()
        if stopped:
            return
        every_s = living.after_s / 4
        del living
