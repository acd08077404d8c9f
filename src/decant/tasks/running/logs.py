"""What the log says of jobs: ``task app.mail[<id>] succeeded in 0.012 s``, and the same as ``extra`` fields."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from ..codec import summarize
from ..job import Claimed

__all__ = ["JobLog", "LogContext", "bound"]

logger = logging.getLogger("decant.tasks")
_NOTHING: Final[AbstractContextManager[Any]] = nullcontext()
LogContext = Callable[[Mapping[str, Any]], AbstractContextManager[Any] | None]
"""``tasks.log_context``: is given ``job_id task attempt request_id``, and binds them for as long as the job runs."""


class JobLog:
    """The lines of one attempt. Each record has ``job_id task attempt request_id``, at its end ``runtime_s`` too.

    :param arguments: whether the line of its start shows them; those named like secrets never are.
    """

    def __init__(self, job: Claimed, name: str, *, arguments: bool) -> None:
        self.job, self.name, self._arguments = job, name, arguments

    @property
    def fields(self) -> dict[str, Any]:
        """What every record has."""
        job = self.job
        return {"job_id": str(job.id), "task": job.task, "attempt": job.attempt, "request_id": job.request_id}

    def say(self, level: int, text: str, *args: Any, exc: BaseException | None = None, **fields: Any) -> None:
        """Log a line about the job; with ``exc`` and its traceback."""
        if not logger.isEnabledFor(level):
            return
        more = f", request {self.job.request_id}" if self.job.request_id else ""
        record = logger.makeRecord(  # as logger.log does, without its look for the caller, which is always this
            logger.name,
            level,
            __file__,
            _LINE,
            f"task %s[%s] {text} (attempt %d{more.replace('%', '%%')})",
            (self.name, self.job.id, *args, self.job.attempt),
            None if exc is None else (type(exc), exc, exc.__traceback__),
            "say",
            self.fields | fields,
        )
        logger.handle(record)

    def started(self, args: Any, kwargs: dict[str, Any], *, rerun: bool) -> None:
        """The line of its start."""
        if not logger.isEnabledFor(logging.INFO):
            return
        again = " again, since its worker died" if rerun else ""
        if self._arguments:
            self.say(logging.INFO, f"started{again} with (%s)", summarize(args, kwargs))
        else:
            self.say(logging.INFO, f"started{again}")


def bound(hook: LogContext | None, log: JobLog) -> AbstractContextManager[Any]:
    """What an application binds to its log while the job runs; a hook that fails is logged, and binds nothing."""
    if hook is None:
        return _NOTHING
    try:
        return hook(log.fields) or _NOTHING
    except Exception:
        logger.exception("log_context of the tasks failed")
        return _NOTHING


_LINE: Final = JobLog.say.__code__.co_firstlineno
