"""What workers run: the application's tasks and its schedule, with its own settings.

Without ``REDIS_URL`` or ``DATABASE_URL`` the worker shares the embedded servers of ``DATA_DIR`` with the web process.
"""

from __future__ import annotations

import logging
from typing import Any

from app import create_app
from app.extensions import tasks
from decant.tasks.worker import worker_settings

from .jobs.drain import drain_clicks

__all__ = ["WorkerSettings"]


class _Routine(logging.Filter):
    """Leaves out what is said at INFO of each run of the drain: one that has done something says so itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or drain_clicks.name not in (getattr(record, "task", None), *_args(record))


def _args(record: logging.LogRecord) -> tuple[object, ...]:
    """What a line names: the schedule's ``beat: … is due: job … of <task>``."""
    return record.args if isinstance(record.args, tuple) else ()


logging.getLogger("decant.tasks").addFilter(_Routine())

WorkerSettings: Any = worker_settings(tasks, create_app())
