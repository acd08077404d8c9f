"""The worker's settings for tests that kill workers: ``tests.workers.soon:WorkerSettings``.

The jobs of one that is killed are another's after two seconds, not after ten, and no process begins with compressing
the static files, which takes a second each time.
"""

from __future__ import annotations

from typing import Any

from app import create_app
from app.extensions import tasks
from decant.tasks.worker import worker_settings

__all__ = ["WorkerSettings"]

WorkerSettings: Any = worker_settings(tasks, create_app({"TASKS_LEASE_S": 2.0, "CDN_COMPRESS": False}))
