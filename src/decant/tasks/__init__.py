"""Background jobs: Celery's API, awaited, on arq, with a ledger in PostgreSQL that loses nothing.

::

    from decant.tasks import Tasks

    tasks = Tasks()

    @tasks.task
    async def add(x, y):
        return x + y

    # in a view
    result = await add.delay(1, 2)
"""

from __future__ import annotations

from . import states
from .beat.crontab import crontab
from .beat.schedules import schedule
from .canvas import Signature, chain, chord, chunks, group, maybe_signature, signature, xmap, xstarmap
from .errors import (
    AlreadyRegistered,
    CeleryError,
    ChordError,
    Ignore,
    ImproperlyConfigured,
    InvalidTaskError,
    MaxRetriesExceededError,
    NotRegistered,
    OperationalError,
    PayloadTooLarge,
    QueueNotFound,
    Reject,
    RemoteError,
    Retry,
    SoftTimeLimitExceeded,
    TaskError,
    TaskRevokedError,
    Terminated,
    TimeLimitExceeded,
    TimeoutError,  # noqa: A004 - Celery's name
    WorkerLostError,
)
from .extension import Tasks
from .ids import uuid
from .request import Context, current_task
from .results import AsyncResult, EagerResult, GroupResult, ResultSet, result_from_tuple
from .shared import current_app, shared_task
from .task import Task

subtask = signature

__all__ = [
    "AlreadyRegistered",
    "AsyncResult",
    "CeleryError",
    "ChordError",
    "Context",
    "EagerResult",
    "GroupResult",
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
    "ResultSet",
    "Retry",
    "Signature",
    "SoftTimeLimitExceeded",
    "Task",
    "TaskError",
    "TaskRevokedError",
    "Tasks",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
    "chain",
    "chord",
    "chunks",
    "crontab",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "result_from_tuple",
    "schedule",
    "shared_task",
    "signature",
    "states",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]
