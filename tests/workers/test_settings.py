"""What workers are told, and what is on the schedule."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from decant import Quart
from workers.schedule import SCHEDULE


def test_the_workers_settings_are_made_when_asked_for() -> None:
    """Importing the package for its jobs makes no application; other names do not exist."""
    import workers

    with pytest.raises(AttributeError, match="Nonsense"):
        workers.Nonsense  # noqa: B018


async def test_every_task_of_the_schedule_exists(app: Quart) -> None:
    """By its name, with arguments that it takes; times are in UTC."""
    tasks: Any = app.extensions["tasks"]
    conf = tasks.runtime(app).conf
    assert conf.beat_schedule == SCHEDULE
    assert str(conf.tz) == "UTC"
    for entry in SCHEDULE.values():
        tasks.tasks[entry["task"]].check_arguments(entry.get("args", ()), {})


def test_the_log_leaves_out_runs_that_did_nothing(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the drain, every two seconds; not its failures, nor any other job."""
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
        monkeypatch.setenv(name, environment[name])
    import workers.settings  # noqa: F401

    logger = logging.getLogger("decant.tasks")

    def shown(level: int, task: str) -> bool:
        record = logger.makeRecord("decant.tasks", level, "", 0, "it was run", (), None, extra={"task": task})
        return bool(logger.filter(record))

    assert not shown(logging.INFO, "clicks.drain")
    due = logger.makeRecord("decant.tasks", logging.INFO, "", 0, "%s: %s", ("due", "clicks.drain"), None)
    assert not logger.filter(due)
    assert shown(logging.ERROR, "clicks.drain")
    assert shown(logging.INFO, "previews.fetch")
