"""Flask-Executor's API for Quart and Flask: functions in bounded threads, with context, or in processes."""

from __future__ import annotations

from .contexts import push_app_context
from .executor import Executor, ExecutorJob, propagate_exceptions_callback
from .futures import FutureCollection, FutureProxy
from .processes import WorkerDied
from .results import Results

__all__ = [
    "Executor",
    "ExecutorJob",
    "FutureCollection",
    "FutureProxy",
    "Results",
    "WorkerDied",
    "propagate_exceptions_callback",
    "push_app_context",
]
