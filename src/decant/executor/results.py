"""What ``map`` returns: results in order, for ``for`` and ``async for``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from threading import Lock
from time import monotonic
from typing import Any

from .futures import FutureProxy
from .pool import Job, Pool

__all__ = ["Feeder", "Results"]


class Feeder:
    """Submits jobs a few at a time, so that one ``map`` does not fill the queue: each that ends brings the next."""

    def __init__(self, jobs: list[Job], pool: Pool) -> None:
        self._jobs, self._pool, self._lock = deque(jobs), pool, Lock()

    def start(self) -> None:
        """Submit the first ones.

        :raises Overloaded: if not even one can be submitted.
        """
        for number in range(self._pool.size):
            self._submit(beyond=number > 0)

    def _submit(self, *, beyond: bool) -> None:
        with self._lock:
            job = self._jobs.popleft() if self._jobs else None
        if job is not None:
            try:
                self._pool.submit(job, beyond=beyond)
            except RuntimeError:
                with self._lock:
                    self._jobs.appendleft(job)  # cancelled with the others: somebody may await it
                raise
            job.future._when_done(self._follow)

    def _follow(self, _: Future[Any]) -> None:
        try:
            self._submit(beyond=True)
        except RuntimeError:  # the executor was stopped
            self.cancel()

    def cancel(self) -> None:
        """Cancel those that were not submitted."""
        with self._lock:
            jobs, self._jobs = self._jobs, deque()
        for job in jobs:
            job.future.cancel()


class Results(Iterator[Any], AsyncIterator[Any]):
    """The results of a ``map``, in order: ``for`` in threads and bridges, ``async for`` on an event loop.

    A call that raised ends the iteration with its error and cancels those that have not started, as does
    :meth:`close`. Whoever never iterates has all of them run.

    :param timeout: seconds from now until the last result must be there, else ``TimeoutError``.
    :param chunked: whether each future has a list of results.
    """

    def __init__(self, futures: list[FutureProxy], timeout: float | None, chunked: bool, cancel: Callable[[], None]):
        self._futures, self._ready = deque(futures), deque[Any]()
        self._deadline = None if timeout is None else monotonic() + timeout
        self._chunked, self._cancel = chunked, cancel

    def _left_s(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - monotonic())

    def _keep(self, value: Any) -> None:
        self._ready.extend(value if self._chunked else (value,))

    def __next__(self) -> Any:
        while not self._ready:
            if not self._futures:
                raise StopIteration
            future = self._futures.popleft()
            try:
                self._keep(future.result(self._left_s()))
            except BaseException:
                future.cancel()
                self.close()
                raise
            finally:
                del future  # or an error and its traceback would keep each other
        return self._ready.popleft()

    async def __anext__(self) -> Any:
        while not self._ready:
            if not self._futures:
                raise StopAsyncIteration
            future = self._futures.popleft()
            try:
                async with asyncio.timeout(self._left_s()):
                    self._keep(await future)
            except BaseException:
                self.close()
                raise
            finally:
                del future
        return self._ready.popleft()

    def close(self) -> None:
        """Cancel what has not started."""
        self._cancel()
        while self._futures:
            self._futures.pop().cancel()

    async def aclose(self) -> None:
        """As :meth:`close`."""
        self.close()
