"""What tasks raise, under Celery's names.

::

    DecantError
    └── TasksError                       CeleryError
        ├── TaskPredicate                how a task says what becomes of it
        │   ├── Ignore                   no result: the state is IGNORED
        │   ├── Reject                   REJECTED, or back in its queue
        │   └── Retry                    to be run again
        ├── TaskError
        │   ├── NotRegistered (KeyError)
        │   ├── AlreadyRegistered
        │   ├── QueueNotFound (KeyError)
        │   ├── TimeoutError             and Python's own
        │   ├── MaxRetriesExceededError
        │   ├── TaskRevokedError
        │   ├── InvalidTaskError
        │   │   └── PayloadTooLarge (ValueError)
        │   ├── ChordError
        │   ├── RemoteError              what a task raised, where its class is not to be had
        │   ├── SoftTimeLimitExceeded
        │   ├── TimeLimitExceeded
        │   ├── WorkerLostError
        │   └── Terminated
        ├── OperationalError (Unavailable)   a job could not be handed over
        └── BackendError
            ├── BackendGetMetaError
            └── BackendStoreError

Celery's ``ImproperlyConfigured`` is :exc:`decant.errors.ConfigError`.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DecantError, Unavailable

if TYPE_CHECKING:
    from .job import Group, Job

__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "CeleryError",
    "ChordError",
    "Ignore",
    "ImproperlyConfigured",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "OperationalError",
    "PayloadTooLarge",
    "QueueNotFound",
    "Reject",
    "RemoteError",
    "RemoteTraceback",
    "Retry",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "TasksError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]

ImproperlyConfigured = ConfigError


class TasksError(DecantError):
    """The root of what ``decant.tasks`` raises."""


CeleryError = TasksError


class TaskPredicate(TasksError):
    """Raised by a task to say what becomes of it."""


class Ignore(TaskPredicate):
    """The job ends as ``IGNORED``: no result, no callbacks.

    ``result``, ``jobs`` and ``groups`` are what :meth:`~decant.tasks.Task.replace` leaves: the worker hands them to the
    ledger with the end of the job.
    """

    result: bytes | None = None
    jobs: Sequence[Job] = ()
    groups: Sequence[Group] = ()


class Reject(TaskPredicate):
    """The job ends as ``REJECTED``, or with ``requeue=True`` waits to be begun again.

    :param reason: any text, or the exception that led here.
    """

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        self.reason, self.requeue = reason, requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Retry(TaskPredicate):
    """The job is to be run again; made by :meth:`~decant.tasks.Task.retry`.

    :param exc: what went wrong.
    :param when: seconds from now, or the time.
    :param is_eager: whether the task runs without a worker.
    :param sig: the arguments of the next try, as ``{"args": […], "kwargs": {…}}``; ``None``: the same again.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: dict[str, Any] | None = None,
    ) -> None:
        self.message, self.when, self.is_eager, self.sig = message, when, is_eager, sig
        self.exc = exc if isinstance(exc, BaseException) else None
        self.excs = exc if isinstance(exc, str) else repr(exc) if exc is not None else None
        super().__init__(message, self.excs, when)

    def humanize(self) -> str:
        """When, in words."""
        return f"at {self.when}" if isinstance(self.when, datetime) else f"in {self.when}s"

    def __str__(self) -> str:
        if self.message:
            return self.message
        return f"Retry {self.humanize()}" + (f": {self.excs}" if self.excs else "")


class TaskError(TasksError):
    """Something is wrong with a task or its call."""


class NotRegistered(KeyError, TaskError):
    """No task has that name here."""

    def __str__(self) -> str:
        return (
            f"no task is registered as {self.args[0]!r}: import the module that defines it, for example through"
            " `imports` or `autodiscover_tasks`"
        )


class AlreadyRegistered(TaskError):
    """Another function has that name already."""


class QueueNotFound(KeyError, TaskError):
    """``task_queues`` does not name the queue, and ``task_create_missing_queues`` is off."""


class TimeoutError(TaskError, builtins.TimeoutError):  # noqa: A001 - Celery's name
    """A result was not there in time. The job goes on."""


class MaxRetriesExceededError(TaskError):
    """A task was to be retried more often than it may."""

    def __init__(self, *args: Any, task_args: Any = (), task_kwargs: Any = None) -> None:
        self.task_args, self.task_kwargs = task_args, task_kwargs or {}
        super().__init__(*args)


class TaskRevokedError(TaskError):
    """The job was revoked, so there is no result."""


class InvalidTaskError(TaskError):
    """A stored call cannot be read, or makes no sense."""


class PayloadTooLarge(InvalidTaskError, ValueError):
    """The arguments of a call are larger than ``TASKS_MAX_ARGUMENTS_KB``."""


class ChordError(TaskError):
    """A task of a chord's header failed, so its body does not run."""


class RemoteError(TaskError):
    """What a task raised, by name: its class is not built in, nor in the task's ``throws`` or ``autoretry_for``.

    ``type`` is the dotted name of the class, ``message`` its text, ``traceback`` that of the worker.
    """

    def __init__(self, type: str, message: str = "", traceback: str = "") -> None:  # noqa: A002
        self.type, self.message, self.traceback = type, message, traceback
        super().__init__(type, message, traceback)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class RemoteTraceback(Exception):
    """The cause of an exception that came from a worker: shows its traceback there."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return f"\n{self.text}"


class SoftTimeLimitExceeded(TaskError):
    """Raised inside of a task whose soft time limit has passed, so that it can tidy up."""


class TimeLimitExceeded(TaskError):
    """The task was stopped: its time limit has passed."""


class WorkerLostError(TaskError):
    """The workers that ran the job died, as often as it may be begun."""


class Terminated(TaskError):
    """The job was stopped by ``revoke(terminate=True)``."""


class OperationalError(TasksError, Unavailable):
    """A job could not be handed over, since the database (or Redis, for one that is not durable) does not answer.

    It is an :exc:`~decant.errors.Unavailable`, so a view that lets it pass answers 503.
    """


class BackendError(TasksError):
    """Results cannot be read or written."""


class BackendGetMetaError(BackendError):
    """A result cannot be read. ``task_id`` says which."""

    def __init__(self, *args: Any, task_id: str = "") -> None:
        self.task_id = task_id
        super().__init__(*args)


class BackendStoreError(BackendError):
    """A result cannot be written. ``task_id`` and ``state`` say which."""

    def __init__(self, *args: Any, task_id: str = "", state: str = "") -> None:
        self.task_id, self.state = task_id, state
        super().__init__(*args)
