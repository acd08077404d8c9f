"""Jobs in processes: each worker has a thread here that feeds it, and replaces it when it was killed."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any

from .. import processes
from ..errors import DecantError
from . import child
from .futures import logger
from .pool import Job

__all__ = ["ProcessRunner", "WorkerDied", "run_chunk"]

_REPLACED = "the idle worker process %s %s: it is replaced"
Message = tuple[Job, Callable[[], None]] | None


class WorkerDied(DecantError, BrokenProcessPool):
    """The worker process ended in the middle of this job: killed, out of memory, or a crash.

    Other jobs are not affected, and the worker is replaced.
    """


class _JobTraceback(Exception):
    """The cause of an error from another process: its traceback, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def run_chunk(function: Callable[..., Any], items: list[tuple[Any, ...]]) -> list[Any]:
    """Call it once per tuple of arguments: several calls in one message to a process."""
    return [child.called(partial(function, *arguments)) for arguments in items]


class _Worker:
    """One process at most, started for its first job, and the thread that waits for it."""

    def __init__(self, number: int, free: Callable[[_Worker], None]) -> None:
        self.number, self.free = number, free
        self.mailbox: SimpleQueue[Message] = SimpleQueue()
        self._process: Any = None
        self._pipe: Connection | None = None
        threading.Thread(target=self._serve, name=f"decant-executor-{number}", daemon=True).start()

    def _serve(self) -> None:
        while self._one(self.mailbox.get()):
            pass
        self._end()

    def _one(self, message: Message) -> bool:
        if message is None:
            return False
        job, ended = message
        try:
            value = self._call(job.work)
        except BaseException as error:  # belongs to who asks for the result
            self.free(self)
            job.future.set_exception(error)
        else:
            self.free(self)
            job.future.set_result(value)
        ended()
        del message, job, ended  # or an error, its traceback and the future would keep each other
        return True

    def _call(self, function: Callable[[], Any]) -> Any:
        work = bytes(ForkingPickler.dumps(function))
        if not self._taken(work):
            logger.warning(_REPLACED, self._process.pid, self._end())
            if not self._taken(work):
                raise WorkerDied(f"two worker processes died before they took a job, this one {self._end()}")
        answer = self._received()
        if answer is None:
            raise WorkerDied(f"the worker process {self._process.pid} {self._end()} in the middle of a job")
        value, error, text = pickle.loads(answer)  # from our own child  # noqa: S301
        if error is not None:
            raise error from _JobTraceback(text)
        return value

    def _taken(self, work: bytes) -> bool:
        """Send it to the process: whether that has it, and may have begun it. It may have died since its last job."""
        pipe = self._ready()
        try:
            pipe.send_bytes(work)
        except OSError:
            return False
        return self._received() is not None

    def _received(self) -> bytes | None:
        """The next message; ``None`` if the process has ended."""
        assert self._pipe is not None
        try:
            wait([self._pipe, self._process.sentinel])
            return self._pipe.recv_bytes() if self._pipe.poll() else None
        except (EOFError, OSError):
            return None

    def _ready(self) -> Connection:
        if self._pipe is not None and self._process.is_alive():
            return self._pipe
        if self._process is not None:
            logger.warning(_REPLACED, self._process.pid, self._end())
        context: Any = multiprocessing.get_context(processes.START_METHOD)
        pipe: Connection
        pipe, other = context.Pipe()
        self._process = context.Process(target=child.main, args=(other,), name=f"decant-executor-{self.number}")
        try:
            self._process.start()
        except BaseException:
            self._process = None
            pipe.close()
            raise
        finally:
            other.close()
        self._pipe = pipe
        return pipe

    def _end(self) -> str:
        """End the process; how it ended, in words."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        return processes.end(process, pipe)

    def kill(self) -> None:
        with suppress(AttributeError, ValueError):  # it has none, or has ended
            self._process.kill()


class ProcessRunner:
    """Runs functions in at most ``size`` processes, which are started by forkserver or spawn, never forked from here.

    ``job.work`` is the function, without arguments; it has no context.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []

    def start(self, job: Job, ended: Callable[[], None]) -> None:
        """As :meth:`Runner.start`."""
        with self._lock:
            if not self._idle:
                self._idle.append(_Worker(len(self._workers), self._free))
                self._workers.append(self._idle[-1])
            worker = self._idle.pop()
        worker.mailbox.put((job, ended))

    def _free(self, worker: _Worker) -> None:
        with self._lock:
            if worker in self._workers:
                self._idle.append(worker)

    def stop(self) -> None:
        """Kill the processes: their jobs fail."""
        for worker in tuple(self._workers):
            worker.kill()

    def close(self) -> None:
        """Let the processes end; others are started if jobs come again."""
        with self._lock:
            workers, self._workers, self._idle = self._workers, [], []
        for worker in workers:
            worker.mailbox.put(None)
