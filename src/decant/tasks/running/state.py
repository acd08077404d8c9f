"""What the jobs of one worker share: its name, its threads and processes, its limits."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from ...bridge import Threads
from ...context import on_quart
from .limits import TimeLimits
from .processes import ProcessPool
from .rate import Rates

__all__ = ["Running", "running_of", "worker_id"]

logger = logging.getLogger("decant.tasks")
_SPARE_THREADS: Final = 32  # for those that a hard time limit has abandoned, which may never end
_CONCURRENCY: Final = 10  # arq's default


def worker_id() -> str:
    """A name for a worker: ``host:pid:`` and something that no other process with that number had."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


class Running:
    """One per worker, application and event loop. ``runtime`` is the application's ledger, index and channels.

    :attr:`rates` and :attr:`limits` may be set while jobs run.
    """

    def __init__(self, tasks: Any, app: Any, ctx: Mapping[Any, Any]) -> None:
        self.tasks, self.app, self.runtime = tasks, app, tasks.runtime(app)
        self.conf = self.runtime.conf
        self.is_quart = on_quart(app)
        self.worker: str = ctx.get("worker") or worker_id()
        self.lease_s: float = ctx.get("lease_s") or self.conf.lease_s
        self.rates, self.limits = Rates(), TimeLimits()
        self.threads = Threads(self._thread_count() + _SPARE_THREADS)
        self.left_behind: set[asyncio.Task[Any]] = set()
        """Jobs that go on after their worker was told to stop twice."""
        self.active: dict[UUID, Any] = {}
        """The jobs that run: each has ``id task attempt started`` (seconds since 1970) ``durable``."""
        self._processes: ProcessPool | None = None

    async def stop(self, id: UUID, reason: str) -> bool:  # noqa: A002
        """Stop a running job: ``"revoked"``, it ends so; ``"lost"``, it is another worker's and nothing is written.

        Returns whether it runs here.
        """
        found = self.active.get(id)
        if found is not None:
            found.stop(reason)
        return found is not None

    def _thread_count(self) -> int:
        return int(self.conf.worker_threads or self.conf.worker_concurrency or _CONCURRENCY)

    @property
    def processes(self) -> ProcessPool:
        """The processes, none of which is started before a job needs it."""
        if self._processes is None:
            self._processes = ProcessPool(
                self.conf.worker_processes or os.cpu_count() or 1,
                max_tasks=self.conf.worker_max_tasks_per_child or 0,
                max_memory_kib=self.conf.worker_max_memory_per_child or 0,
                modules=sorted(
                    {task.function.__module__ for task in self.tasks.tasks.values() if task.kind == "process"}
                ),
            )
        return self._processes

    def close(self) -> None:
        """Let idle threads and processes end; those that work end after it. The worker is forgotten."""
        for workers in _running.get(self.app, {}).values():
            if workers.get(self.worker) is self:
                del workers[self.worker]
        self.threads.close()
        if self._processes is not None:
            self._processes.close()
            self._processes = None


_Workers = dict[str, Running]
_running: Final[WeakKeyDictionary[Any, WeakKeyDictionary[asyncio.AbstractEventLoop, _Workers]]] = WeakKeyDictionary()


def running_of(tasks: Any, app: Any, ctx: Mapping[Any, Any] = {}) -> Running:
    """That of an application's worker on this event loop, made when it is first asked for.

    :param ctx: arq's, whose ``worker`` says which; without it the first one is meant.
    """
    loops = _running.get(app)
    if loops is None:
        loops = _running[app] = WeakKeyDictionary()
    loop = asyncio.get_running_loop()
    workers = loops.get(loop)
    if workers is None:
        workers = loops[loop] = {}
    name = ctx.get("worker")
    found = next(iter(workers.values()), None) if name is None else workers.get(name)
    if found is None:
        found = Running(tasks, app, ctx)
        workers[found.worker] = found
    return found
