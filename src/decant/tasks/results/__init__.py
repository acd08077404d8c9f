"""What became of jobs: Celery's ``AsyncResult`` and ``GroupResult``, awaited and told instead of polled."""

from __future__ import annotations

from typing import Any

from .asyncresult import AsyncResult
from .base import ResultBase
from .eager import EagerGroupResult, EagerResult
from .groupresult import GroupResult, ResultSet
from .saved import from_tuple

__all__ = [
    "AsyncResult",
    "EagerGroupResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "result_from_tuple",
]


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """The result for what ``as_tuple`` returned."""
    if app is None:
        from ..shared import current_tasks

        app = current_tasks()
    return from_tuple(r, app)
