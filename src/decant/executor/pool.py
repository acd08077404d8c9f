"""The queue of one executor: so many jobs at once, so many that wait, and no more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from ..errors import Overloaded
from ..ops.registry import counter, gauge, histogram
from .futures import FutureProxy

__all__ = ["Job", "Pool", "Runner"]


@dataclass(eq=False)
class Job:
    """One call: ``work`` is what the runner needs to make it."""

    future: FutureProxy
    work: Any
    queued_at: float = field(default_factory=monotonic)


class Runner(Protocol):
    """Runs jobs, in threads or in processes."""

    def start(self, job: Job, ended: Callable[[], None]) -> None:
        """Run it, never blocking; settle its future, then call ``ended``, from whichever thread."""

    def stop(self) -> None:
        """Stop what still runs."""

    def close(self) -> None:
        """Free threads and processes."""


class Pool:
    """Starts jobs in the order in which they came, ``size`` at once.

    :param name: of the executor, in metrics and messages.
    :param max_pending: how many jobs may wait for their start.
    """

    def __init__(self, app: str, name: str, size: int, max_pending: int, runner: Runner) -> None:
        self.name, self.size, self.max_pending, self.runner = name, size, max_pending, runner
        self._lock = threading.RLock()
        self._queue: dict[Job, None] = {}
        self._running, self._callbacks, self.closed, self._cancelled = 0, 0, False, False
        self._idle: list[Future[None]] = []
        self._labels: dict[str, Any] = {"app": app, "executor": name}
        self._measure()

    def _measure(self) -> None:
        labels = ("app", "executor")
        gauge("decant_executor_running", "Jobs that run now", labels).set_function(
            lambda: self._running, **self._labels
        )
        gauge("decant_executor_pending", "Jobs that wait for a worker now", labels).set_function(
            lambda: len(self._queue), **self._labels
        )
        self._ended = counter("decant_executor_jobs", "Jobs that ended", (*labels, "outcome"))
        self._refused = counter("decant_executor_refused", "Jobs refused because the queue was full", labels)
        self._waited = histogram("decant_executor_wait_seconds", "How long jobs waited for a worker", labels)

    @property
    def running(self) -> int:
        """How many jobs run."""
        return self._running

    @property
    def pending(self) -> int:
        """How many jobs wait for their start."""
        return len(self._queue)

    def submit(self, job: Job, *, beyond: bool = False) -> None:
        """Start it, or put it into the queue.

        :param beyond: a follower of one that has left the queue: taken even if it is full, or closed.
        :raises Overloaded: if the queue is full.
        :raises RuntimeError: after :meth:`close`.
        """
        with self._lock:
            if self._cancelled if beyond else self.closed:
                raise RuntimeError(f"cannot submit to the executor {self.name!r} after its shutdown")
            if self._running < self.size:
                self._running += 1
            elif len(self._queue) < self.max_pending or beyond:
                self._queue[job] = None
                job.future._on_cancel = lambda: self._drop(job)
                return
            else:
                self._refused.inc(**self._labels)
                raise Overloaded(
                    f"{len(self._queue)} jobs already wait for one of {self.size} workers of the executor"
                    f" {self.name!r} (EXECUTOR_MAX_PENDING)"
                )
        self._run(job)

    def _drop(self, job: Job) -> None:
        with self._lock:
            self._queue.pop(job, None)
            self._settle()
        self._ended.inc(outcome="cancelled", **self._labels)

    def _run(self, job: Job | None) -> None:
        """Start it; if that cannot be done, the next one."""
        while job is not None:
            outcome = self._started(job)
            if outcome is None:
                return
            job = self._next(outcome)

    def _started(self, job: Job) -> str | None:
        job.future._on_cancel = None
        if not job.future.set_running_or_notify_cancel():
            return "cancelled"
        self._waited.observe(monotonic() - job.queued_at, **self._labels)
        future = job.future
        try:
            self.runner.start(job, lambda: self._run(self._next("failed" if future._failed() else "done")))
        except Exception as error:  # no thread or process to be had, or the loop is closed
            future.set_exception(error)
            return "failed"
        return None

    def _next(self, outcome: str) -> Job | None:
        self._ended.inc(outcome=outcome, **self._labels)
        with self._lock:
            job = next(iter(self._queue), None)
            if job is None:
                self._running -= 1
                self._settle()
            else:
                del self._queue[job]
        return job

    def hold(self) -> None:
        """A callback was started: not idle before its :meth:`release`."""
        with self._lock:
            self._callbacks += 1

    def release(self) -> None:
        """It ended."""
        with self._lock:
            self._callbacks -= 1
            self._settle()

    def _settle(self) -> None:
        if not self._running and not self._queue and not self._callbacks:
            while self._idle:
                waiter = self._idle.pop()
                if waiter.set_running_or_notify_cancel():
                    waiter.set_result(None)

    def idle(self) -> Future[None]:
        """Done as soon as nothing runs and nothing waits."""
        waiter: Future[None] = Future()
        with self._lock:
            self._idle.append(waiter)
            self._settle()
        return waiter

    def close(self) -> None:
        """Take no more jobs, except followers."""
        self.closed = True

    def open(self) -> None:
        """Take jobs again."""
        self.closed = self._cancelled = False

    def cancel_queued(self) -> int:
        """Cancel the jobs that wait, and take not even followers: how many."""
        with self._lock:
            queued, self._cancelled = list(self._queue), True
        for job in queued:
            job.future.cancel()
        return len(queued)

    def cancel(self) -> tuple[int, int]:
        """Cancel the jobs that wait, and stop those that run: how many of each."""
        queued, running = self.cancel_queued(), self._running
        if running:
            self.runner.stop()
        return queued, running
