"""The job of a tick."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..job import Job
from ..publishing import Origin, build
from .entries import ScheduleEntry

__all__ = ["make_job"]


def make_job(tasks: Any, entry: ScheduleEntry, tick: datetime) -> Job:
    """A job of ``entry``; its ``request.headers`` have ``periodic_task_name``, and ``scheduled_for``, when it was due.

    Needs the application's context.

    :raises TypeError: for an unknown option, or arguments that cannot be handed over.
    :raises ValueError: for an option whose value is wrong.
    """
    options = dict(entry.options)
    options.pop("task_id", None)  # one id for all ticks would be one job
    options["headers"] = {
        "periodic_task_name": entry.name,
        "scheduled_for": tick,
        **(options.get("headers") or {}),
    }
    for name in ("link", "link_error"):
        options[name] = _listed(options.get(name))
    return build(tasks, entry.task, entry.args, entry.kwargs, options, Origin())


def _listed(signatures: Any) -> list[dict[str, Any]]:
    if signatures is None:
        return []
    given = [signatures] if isinstance(signatures, Mapping) else signatures
    return [dict(signature) for signature in given]
