"""``Attempt``: one beginning of one job, from its claim to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from ...bridge import bridged, wait
from .. import signals, states
from ..codec import Envelope, decode_envelope, encode
from ..errors import InvalidTaskError, NotRegistered, TaskRevokedError, WorkerLostError
from ..job import Claimed
from ..request import Context, pushed
from .books import Books
from .calling import call
from .ended import Ended, by_error, by_stop
from .hooks import heard
from .limits import Limits, Stopped, Stopper
from .logs import JobLog, bound
from .progress import Progress
from .settling import Settling
from .state import Running
from .transaction import Transaction

__all__ = ["Attempt"]

logger = logging.getLogger("decant.tasks")


class Attempt:
    """Runs the function of a job that was claimed, and has its end written and told.

    ``id task attempt started durable`` are for those who look at what runs (:attr:`.Running.active`).
    """

    def __init__(self, running: Running, books: Books, job: Claimed, recorder: Any = None) -> None:
        self.running, self.books, self.job, self.recorder = running, books, job, recorder
        self.id: UUID = job.id
        self.attempt, self.durable, self.started = job.attempt, job.durable, time.time()
        self._began = time.perf_counter()
        self.task: Any = running.tasks.tasks.get(job.task)
        self.envelope, self.unreadable = _read(job)
        self.limits = self._limits()
        self.stopper, self.lost = Stopper(self.limits), False
        self.progress = Progress(self._progressed)
        self.transaction: Transaction | None = None
        self.settling = Settling(self)
        self.log = JobLog(job, self.name, arguments=self._logs_arguments())

    @property
    def name(self) -> str:
        """As it is shown."""
        return str(self.envelope.options.get("shadow") or self.job.task)

    @property
    def runtime_s(self) -> float:
        """For how long it has run."""
        return time.perf_counter() - self._began

    def stop(self, reason: str) -> None:
        """See :meth:`.Running.stop`."""
        self.lost = self.lost or reason == "lost"
        self.stopper.stop(reason)

    def _limits(self) -> Limits:
        options, conf = self.envelope.options, self.running.conf
        declared = (
            (None, None) if self.task is None else (self.task.options.soft_time_limit, self.task.options.time_limit)
        )
        return self.running.limits.of(
            self.job.task,
            (options.get("soft_time_limit"), options.get("time_limit")),
            declared,
            (conf.task_soft_time_limit, conf.task_time_limit),
        )

    def _logs_arguments(self) -> bool:
        return bool(self.running.conf.log_arguments)

    @cached_property
    def request(self) -> Context:
        """``self.request`` of the task."""
        job, envelope = self.job, self.envelope
        info = {"routing_key": job.queue, "priority": job.priority, "redelivered": job.rerun, "is_eager": False}
        return Context(
            id=str(job.id),
            task=job.task,
            root_id=str(job.root or job.id),
            parent_id=None if job.parent is None else str(job.parent),
            args=envelope.args,
            kwargs=envelope.kwargs,
            retries=job.retries,
            attempt=job.attempt,
            rerun=job.rerun,
            eta=job.eta,
            expires=job.expires,
            hostname=self.running.worker,
            delivery_info=info,
            headers=envelope.headers,
            group=None if job.group is None else str(job.group),
            group_index=job.group_index,
            chain=envelope.chain,
            callbacks=envelope.link,
            errbacks=envelope.link_error,
            called_directly=False,
            ignore_result=self.settling.ignores_result,
            time_limit=self.limits.hard_s,
            soft_time_limit=self.limits.soft_s,
            request_id=job.request_id,
            shadow=envelope.options.get("shadow"),
            progress=self.progress,
        )

    # -- running ---------------------------------------------------------------------------------------------------

    async def run(self) -> float | None:
        """Run it to its end: the seconds after which it is to be run again, or ``None``."""
        self.running.active[self.id] = self
        try:
            self._record_start()
            early = await self._refused()
            if early is not None:
                await self.settling.end(early)
            else:
                await self._in_app()
            return self.settling.again_s
        finally:
            if self.running.active.get(self.id) is self:  # else it was taken for dead here, and has begun again
                del self.running.active[self.id]

    def _record_start(self) -> None:
        if self.recorder is not None:
            due = self.job.eta or self.job.created
            waited_s = 0.0 if due is None else max(0.0, self.started - due.timestamp())
            fields = {"id": str(self.id), "task": self.job.task, "attempt": self.attempt}
            self.recorder.record("task-started", wait=round(waited_s, 6), **fields)

    async def _refused(self) -> Ended | None:
        """The end of what cannot or shall not be begun."""
        if signals.task_received:
            await heard(signals.task_received, self.task, request=self.request)
        if self.task is None:
            error = NotRegistered(self.job.task)
            await heard(
                signals.task_unknown, None, message=str(self.id), exc=error, name=self.job.task, id=str(self.id)
            )
            return Ended(states.FAILURE, error=error)
        if self.unreadable is not None:
            return Ended(states.FAILURE, error=self.unreadable)
        if self.job.expires is not None and self.job.expires <= datetime.now(UTC):
            late = TaskRevokedError(f"expired: not begun by {self.job.expires.isoformat()}")
            return Ended(states.REVOKED, error=late, expired=True)
        deaths = self.attempt - 1 - self.job.retries
        if not self.durable and deaths >= self.job.max_attempts:  # of the others the ledger takes care
            return Ended(states.FAILURE, error=WorkerLostError(f"workers died with it {deaths} times"))
        return None

    async def _in_app(self) -> None:
        if self.running.is_quart:
            await self.stopper.run(bridged(self._in_context()))
        else:
            await self.running.threads.run(self._in_flask)

    async def _in_context(self) -> None:
        try:
            async with self.running.app.app_context():
                await self._begin_to_end()
        except Exception as error:
            await self._outside(error)

    def _in_flask(self) -> None:
        """In a thread, where the application's teardown may block; a plain function runs on the same one."""
        try:
            with self.running.app.app_context():
                wait(self._own_task())
        except Exception as error:
            wait(self._outside(error))

    async def _own_task(self) -> None:
        # The limits' place is outside of the bridge, and what a thread waits for is in one already.
        await asyncio.create_task(self.stopper.run(bridged(self._begin_to_end())))

    async def _outside(self, error: Exception) -> None:
        """The application's own functions have failed, around the job."""
        if self.settling.ended is None:
            await self.settling.end(Ended(states.FAILURE, error=error))
        else:
            logger.error("the context of job %s could not be left", self.id, exc_info=error)

    async def _begin_to_end(self) -> None:
        task, request = self.task, self.request
        with pushed(task, request), bound(getattr(self.running.tasks, "log_context", None), self.log):
            self.log.started(request.args, request.kwargs, rerun=self.job.rerun)
            if signals.task_prerun:
                named = {"task_id": request.id, "task": task, "args": request.args, "kwargs": request.kwargs}
                await heard(signals.task_prerun, task, **named)
            ended = await self._called()
            await self.progress.aclose()
            await self.settling.end(ended)

    async def _called(self) -> Ended:
        try:
            if self.task.options.transaction:
                with Transaction(self.running.app, self._ledger, self.job.task) as self.transaction:
                    return Ended(states.SUCCESS, await call(self))
            return Ended(states.SUCCESS, await call(self))
        except Stopped as stopped:
            return by_stop(stopped.reason, self.limits)
        except asyncio.CancelledError as error:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
            return Ended(states.FAILURE, error=error)  # of a future that the function waited for
        except (Exception, SystemExit) as error:
            return by_error(self.task.retried(error))

    @property
    def _ledger(self) -> Any:
        return self.running.runtime.ledger if self.durable else None

    # -- progress --------------------------------------------------------------------------------------------------

    async def _progressed(self, state: str, meta: Any) -> bool:
        kept = await self.books.progress(self.job, state, encode(meta))
        if kept:
            await self.running.runtime.dispatcher.publish(self.id, {"state": state, "meta": meta})
        return kept


def _read(job: Claimed) -> tuple[Envelope, Exception | None]:
    try:
        return decode_envelope(job.payload), None
    except Exception as error:
        told = InvalidTaskError(f"the call of {job.task} cannot be read: {type(error).__name__}: {error}")
        told.__cause__ = error
        return Envelope(), told
