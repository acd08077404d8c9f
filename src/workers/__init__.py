"""The workers: ``decant worker``, or arq's own ``arq workers.WorkerSettings``. What they do is in ``workers.jobs``."""

from __future__ import annotations

from typing import Any

__all__ = ["WorkerSettings"]


def __getattr__(name: str) -> Any:
    # When it is asked for: the application's views import the jobs, and the settings make the application.
    if name == "WorkerSettings":
        from .settings import WorkerSettings

        return WorkerSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
