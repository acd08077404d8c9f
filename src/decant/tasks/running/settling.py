"""The end of an attempt: written first, then told to hooks, signals, the log, and those who wait for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ...errors import DatabaseUnavailable
from .. import states
from ..canvas import following
from ..codec import encode, encode_envelope, encode_error
from ..errors import InvalidTaskError, Retry
from ..job import Outcome
from ..ledger import Finished
from .books import GaveUp, insist
from .ended import DIED, GIVEN_BACK, LOST, Ended, by_error, when
from .telling import line_of, tell

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["Settling"]

logger = logging.getLogger("decant.tasks")
_EVENTS: Final = {
    states.SUCCESS: "task-succeeded",
    states.FAILURE: "task-failed",
    states.RETRY: "task-retried",
    states.REVOKED: "task-revoked",
    states.REJECTED: "task-rejected",
    states.IGNORED: "task-succeeded",
}


class Settling:
    """Ends one attempt. ``ended`` is what became of it, as soon as that is known."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.ended: Ended | None = None

    @property
    def again_s(self) -> float | None:
        """The seconds after which arq shall bring the job again, or ``None``."""
        return None if self.ended is None else self.ended.again_s

    @cached_property
    def ignores_result(self) -> bool:
        """Whether the result is kept; a chord needs it."""
        attempt = self.attempt
        said = attempt.envelope.options.get("ignore_result")
        if said is None and attempt.task is not None:
            said = attempt.task.options.ignore_result
        return bool(attempt.running.conf.task_ignore_result if said is None else said) and attempt.job.group is None

    async def end(self, ended: Ended) -> None:
        """Write it, and tell; neither is cancelled, and nothing that a hook raises changes what was written."""
        try:
            ended = await self._written(ended)
        except GaveUp as error:
            self.attempt.log.say(logging.ERROR, "has ended (%s), which is left to the sweeper: %s", ended.state, error)
            ended = replace(ended, state=LOST, again_s=None)
        self.ended = ended
        self._record(ended)
        await tell(self.attempt, ended)

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _written(self, ended: Ended) -> Ended:
        """The end as it was written: another one where that could not be."""
        if ended.state != states.SUCCESS:
            await self._roll_back()
        if ended.state == LOST:
            return ended
        if ended.state == GIVEN_BACK:
            await self._insist(lambda: self.attempt.books.give_back(self.attempt.job))
            return ended
        if ended.state == DIED:
            await self._insist(lambda: self.attempt.books.lapse(self.attempt.job))
            return ended
        if ended.state == states.RETRY:
            return await self._retried(ended)
        return await self._finished(ended)

    async def _roll_back(self) -> None:
        if self.attempt.transaction is not None:
            try:
                await self.attempt.transaction.rollback()
            except Exception as error:  # its connection is gone, and so is what it wrote
                logger.debug("the transaction of job %s is rolled back by its end: %s", self.attempt.id, error)

    async def _insist(self, step: Callable[[], Awaitable[Any]]) -> Any:
        return await insist(step, f"the end of job {self.attempt.id}", lambda: self.attempt.lost)

    async def _finished(self, ended: Ended) -> Ended:
        try:
            outcome = self._outcome(ended)
        except Exception as error:
            if ended.state != states.SUCCESS:
                logger.exception("what follows the end of job %s cannot be made", self.attempt.id)
                outcome = self._bare(ended)
            else:
                return await self._written(Ended(states.FAILURE, error=error))
        if ended.state == states.SUCCESS and self.attempt.transaction is not None:
            return await self._committed(ended, outcome)
        finished = await self._insist(lambda: self.attempt.books.finish(self.attempt.job, outcome))
        return self._published(ended, finished)

    def _outcome(self, ended: Ended) -> Outcome:
        attempt, outcome = self.attempt, self._bare(ended)
        tasks, envelope, error = attempt.running.tasks, attempt.envelope, ended.error
        if ended.state == states.SUCCESS:
            outcome.children, outcome.groups = following.children(tasks, envelope, attempt.job, ended.value)
            if not self.ignores_result:
                outcome.result = self._result(ended.value)
        elif ended.state == states.FAILURE:
            outcome.children = following.errbacks(tasks, envelope, attempt.job, error)
        elif ended.state == states.IGNORED:  # replaced, perhaps
            outcome.children, outcome.groups = getattr(error, "jobs", []), getattr(error, "groups", [])
            outcome.result = getattr(error, "result", None)
        return outcome

    def _bare(self, ended: Ended) -> Outcome:
        attempt, good = self.attempt, ended.state in (states.SUCCESS, states.IGNORED)
        return Outcome(
            id=attempt.id,
            attempt=attempt.attempt,
            worker=attempt.running.worker,
            state=ended.state,
            error=None if good or ended.error is None else encode_error(ended.error),
            group=attempt.job.group if good else attempt.job.group or following.group_of(attempt.envelope),
        )

    def _result(self, value: Any) -> bytes:
        try:
            data = encode(value)
        except TypeError as error:
            raise InvalidTaskError(
                f"what {self.attempt.job.task} returned cannot be kept: {error}. Return plain values, or set"
                " ignore_result"
            ) from error
        limit = self.attempt.running.conf.limit_bytes
        if len(data) > limit:
            raise InvalidTaskError(
                f"what {self.attempt.job.task} returned takes {len(data):,} bytes, more than the {limit:,} that"
                " TASKS_MAX_ARGUMENTS_KB allows: store it and return where it is"
            )
        return data

    async def _committed(self, ended: Ended, outcome: Outcome) -> Ended:
        """The end by the job's own transaction."""
        attempt, transaction = self.attempt, self.attempt.transaction
        assert transaction is not None
        try:
            finished = await transaction.finish(outcome)
        except DatabaseUnavailable as error:
            if not await self._was_committed():
                attempt.log.say(logging.WARNING, "is rolled back and given back: %s", error)
                return await self._written(Ended(GIVEN_BACK, error=error, again_s=1.0))
            finished = Finished(ok=True, to_push=outcome.children)
        except Exception as error:
            return await self._written(by_error(attempt.task.retried(error)))
        attempt.running.runtime.dispatcher.push_soon(finished.to_push)
        return self._published(ended, finished)

    async def _was_committed(self) -> bool:
        """Whether a commit whose answer was lost has been made."""
        attempt = self.attempt
        records = await self._insist(lambda: attempt.running.runtime.ledger.read([attempt.id]))
        record = records.get(attempt.id)
        return record is not None and record.attempt == attempt.attempt and record.state == states.SUCCESS

    def _published(self, ended: Ended, finished: Finished) -> Ended:
        attempt = self.attempt
        if not finished:
            attempt.log.say(logging.WARNING, "has ended (%s), but is no longer this worker's", ended.state)
            return replace(ended, state=LOST)
        tell_soon = attempt.running.runtime.dispatcher.tell_soon
        tell_soon(attempt.id, {"state": ended.state})
        for other in finished.ended:
            tell_soon(other, {"state": states.FAILURE})
        return ended

    async def _retried(self, ended: Ended) -> Ended:
        attempt, retry = self.attempt, ended.error
        assert isinstance(retry, Retry)
        try:
            eta, payload = when(retry, attempt.running.conf.tz), self._changed(retry)
        except Exception as error:
            return await self._written(Ended(states.FAILURE, error=error))
        told = encode_error(retry.exc or retry)
        if not await self._insist(lambda: attempt.books.retry(attempt.job, eta, told, payload)):
            attempt.log.say(logging.WARNING, "is not retried: it was revoked, or is no longer this worker's")
            return replace(ended, state=LOST)
        attempt.running.runtime.dispatcher.tell_soon(attempt.id, {"state": states.RETRY})
        ended.again_s = max(0.0, (eta - datetime.now(UTC)).total_seconds())
        return ended

    def _changed(self, retry: Retry) -> bytes | None:
        """The payload of the next try, if it has other arguments."""
        if retry.sig is None:
            return None
        attempt = self.attempt
        args, kwargs = attempt.task.to_plain(retry.sig["args"], retry.sig["kwargs"])
        changed = replace(attempt.envelope, args=args, kwargs=kwargs)
        return encode_envelope(changed, limit_bytes=attempt.running.conf.limit_bytes)

    def _record(self, ended: Ended) -> None:
        attempt, kind = self.attempt, _EVENTS.get(ended.state)
        if attempt.recorder is None or kind is None:
            return
        fields = {"id": str(attempt.id), "task": attempt.job.task, "attempt": attempt.attempt}
        if ended.error is not None:
            fields["exception"] = line_of(ended.error)
        attempt.recorder.record(kind, runtime=round(attempt.runtime_s, 6), **fields)
