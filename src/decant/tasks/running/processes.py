"""Jobs in processes: each process has a thread here that feeds it, watches its memory, and replaces it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any, Final

import psutil

from ... import processes
from ..errors import RemoteTraceback, WorkerLostError
from . import child
from .child import Call

__all__ = ["Call", "ProcessDied", "ProcessJob", "ProcessPool", "TooMuchMemory"]

_WATCH_S: Final = 1.0
logger = logging.getLogger("decant.tasks")


def _context() -> Any:
    """How processes are started: forked from a server that has imported what all of them need, which takes a second."""
    context: Any = multiprocessing.get_context(processes.START_METHOD)
    server: Any = forkserver._forkserver
    if processes.START_METHOD == "forkserver" and server._preload_modules == ["__main__"]:  # else somebody has chosen
        context.set_forkserver_preload(["__main__", child.__name__])
    return context


class ProcessDied(WorkerLostError):
    """The process ended in the middle of the job: killed, out of memory, or a crash."""


class TooMuchMemory(WorkerLostError):
    """The process was killed, since it took more memory than ``worker_max_memory_per_child``."""


class ProcessJob:
    """One call on its way through a process. Its methods are called on the event loop."""

    def __init__(self, call: Call, on_progress: Callable[[str, Any], None] | None) -> None:
        self.call, self._on_progress = call, on_progress
        self.work = bytes(ForkingPickler.dumps(call))
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.value: Any = None
        self.error: BaseException | None = None
        self.worker: _Worker | None = None
        self.began: Callable[[], None] | None = None
        self.has_begun = False  # whether its process has taken it

    def soften(self) -> None:
        """Raise ``SoftTimeLimitExceeded`` in the process, if that has taken the job: before, it may not be ready."""
        if self.worker is not None and self.has_begun:
            self.worker.signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Kill the process."""
        if self.worker is not None:
            self.worker.signal(signal.SIGKILL)

    def progressed(self, state: str, meta: Any) -> None:  # in the worker's thread
        if self._on_progress is not None:
            self._call_soon(self._on_progress, state, meta)

    def taken(self) -> None:  # in the worker's thread
        self._call_soon(self._begun)

    def _begun(self) -> None:
        self.has_begun = True
        if self.began is not None:
            self.began()

    def settle(self, value: Any, error: BaseException | None) -> None:  # in the worker's thread
        self.value, self.error = value, error
        self._call_soon(self._settled)

    def _settled(self) -> None:
        self.worker = None
        if not self.ended.done():
            self.ended.set_result(None)

    def _call_soon(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            logger.warning("%s ended in a process after its event loop was closed", self.call.qualname)


class _Worker:
    """One process at most, started for its first job, and the thread that waits for it."""

    def __init__(self, pool: ProcessPool, number: int) -> None:
        self.pool, self.name = pool, f"decant-job-{number}"
        self.mailbox: SimpleQueue[ProcessJob | None] = SimpleQueue()
        self._process: Any = None
        self._pipe: Connection | None = None
        self._done = 0
        threading.Thread(target=self._serve, name=self.name, daemon=True).start()

    def signal(self, number: int) -> None:
        with suppress(AttributeError, ProcessLookupError):  # it has none, or has ended
            os.kill(self._process.pid, number)

    def _serve(self) -> None:
        while (job := self.mailbox.get()) is not None:
            try:
                value, error = self._call(job)
            except BaseException as raised:  # belongs to who waits for the job
                value, error = None, raised
            job.settle(value, error)
            del job, value, error
            self._retire()
        self._end()

    def _call(self, job: ProcessJob) -> tuple[Any, BaseException | None]:
        if not self._taken(job.work):
            logger.warning("the idle process %s %s: it is replaced", self._process.pid, self._end())
            if not self._taken(job.work):
                raise ProcessDied(f"two processes died before they took a job, this one {self._end()}")
        job.taken()
        while True:
            message = self._received()
            if message is None:
                pid = self._process.pid
                raise ProcessDied(f"the process {pid} of the job {self._end()} in the middle of it")
            if message[0] == "end":
                _, value, error, text = message
                if error is not None:
                    error.__cause__ = error.__cause__ or RemoteTraceback(text)
                return value, error
            job.progressed(*message[1:])

    def _taken(self, work: bytes) -> bool:
        """Send it to the process: whether that has it, and may have begun it. It may have died since its last job."""
        pipe = self._ready()
        try:
            pipe.send_bytes(work)
        except OSError:
            return False
        return self._received() is not None

    def _received(self) -> tuple[Any, ...] | None:
        """The next message; ``None`` if the process has ended.

        :raises TooMuchMemory: if it was killed for that.
        """
        assert self._pipe is not None
        try:
            while not wait([self._pipe, self._process.sentinel], _WATCH_S):
                self._watch()
            if not self._pipe.poll():
                return None
            return pickle.loads(self._pipe.recv_bytes())  # type: ignore[no-any-return]  # from our own child  # noqa: S301
        except (EOFError, OSError):
            return None

    def _watch(self) -> None:
        ceiling, rss = self.pool.max_memory_kib, self._rss_kib()
        if ceiling and rss > ceiling:
            self._process.kill()
            self._end()
            raise TooMuchMemory(
                f"the process of the job had {rss} KiB, more than worker_max_memory_per_child = {ceiling} allows, and"
                " was killed"
            )

    def _rss_kib(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss // 1024)
        except psutil.Error:
            return 0

    def _retire(self) -> None:
        """End the process if it has done its share; the next job starts another."""
        self._done += 1
        if self._process is None:
            return
        full, ceiling = self.pool.max_tasks and self._done >= self.pool.max_tasks, self.pool.max_memory_kib
        if full or (ceiling and self._rss_kib() > ceiling):
            self._end()

    def _ready(self) -> Connection:
        if self._pipe is not None and self._process.is_alive():
            return self._pipe
        if self._process is not None:
            logger.warning("the idle process %s %s: it is replaced", self._process.pid, self._end())
        context = _context()
        pipe: Connection
        pipe, other = context.Pipe()
        process = context.Process(target=child.main, args=(other, self.pool.modules), name=self.name)
        try:
            process.start()
        except BaseException:
            pipe.close()
            raise
        finally:
            other.close()
        self._process, self._pipe, self._done = process, pipe, 0
        return pipe

    def _end(self) -> str:
        """End the process; how it ended, in words."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        return processes.end(process, pipe)


class ProcessPool:
    """Runs jobs in at most ``size`` processes, started by forkserver or spawn, one job at a time in each.

    :param max_tasks: after how many jobs a process is replaced; 0 is never.
    :param max_memory_kib: a process with more, in KiB, is replaced after its job, and killed during it; 0 is no limit.
    :param modules: imported in each process when it starts.
    """

    def __init__(self, size: int, *, max_tasks: int = 0, max_memory_kib: int = 0, modules: Iterable[str] = ()) -> None:
        self.size, self.max_tasks, self.max_memory_kib = size, max_tasks, max_memory_kib
        self.modules = tuple(modules)
        self._slots = asyncio.Semaphore(size)
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []

    async def run(self, job: ProcessJob, began: Callable[[], None] | None = None) -> Any:
        """Run it; ``began`` is called when its turn has come, and again when its process, which may have had to be
        started, has taken it. If the caller is cancelled the process is killed.

        :raises ProcessDied: if its process ended in the middle of it.
        :raises TooMuchMemory: if its process was killed for its memory.
        """
        async with self._slots:
            if began is not None:
                began()
            job.began = began
            job.worker = worker = self._idle.pop() if self._idle else self._start()
            worker.mailbox.put(job)
            try:
                await self._end(job)
            finally:
                if worker in self._workers:
                    self._idle.append(worker)
        if job.error is not None:
            raise job.error
        return job.value

    async def _end(self, job: ProcessJob) -> None:
        try:
            await asyncio.wait([job.ended])
        except asyncio.CancelledError:
            job.kill()
            while not job.ended.done():
                with suppress(asyncio.CancelledError):  # again: it is being killed already
                    await asyncio.wait([job.ended], timeout=_WATCH_S)
                job.kill()  # it may not have been started yet
            raise

    def _start(self) -> _Worker:
        worker = _Worker(self, len(self._workers))
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        """Let the processes end, each after its job; others are started if jobs come again."""
        workers, self._workers, self._idle = self._workers, [], []
        for worker in workers:
            worker.mailbox.put(None)
