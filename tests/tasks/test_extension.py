"""``Tasks`` itself: its applications, its modules, its periodic tasks."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import quart

from decant.errors import ConfigError
from decant.tasks import GroupResult, ResultSet, Tasks, crontab, schedule, uuid


def app_of(**config: Any) -> quart.Quart:
    app = quart.Quart(__name__)
    app.config |= {"REDIS_URL": "redis://127.0.0.1:1", "TASKS_DURABLE": False, **config}
    return app


@pytest.fixture
def apps() -> list[quart.Quart]:
    return [app_of(TASKS_LEASE_S=3), app_of(TASKS_LEASE_S=4)]


@pytest.mark.parity("celery", "Celery(main, loader")
async def test_several_applications_may_share_a_tasks(apps: list[quart.Quart]) -> None:
    tasks = Tasks("main", set_as_current=False)
    with pytest.raises(RuntimeError, match="has no application yet"):
        tasks.runtime()
    for app in apps:
        tasks.init_app(app)
    assert tasks.runtime(apps[0]) is not tasks.runtime(apps[1])
    with pytest.raises(RuntimeError, match="an app context must say which is meant"):
        tasks.runtime()
    async with apps[1].app_context():
        assert tasks.runtime().app is apps[1]
        assert tasks.conf.lease_s == 4
    assert tasks.main == "main"
    assert tasks.gen_task_name("f", "package.module") == "package.module.f"
    assert tasks.gen_task_name("f", "__main__") == "main.f"


@pytest.mark.parity("celery", "add_periodic_task")
async def test_periodic_tasks_are_added_once_everything_is_set_up() -> None:
    tasks = Tasks(set_as_current=False)
    seen: list[str] = []

    @tasks.task(name="report")
    async def report(kind: str) -> None: ...

    @tasks.on_after_configure.connect
    def plan(sender: Tasks, **kwargs: Any) -> None:
        seen.append("configured")
        sender.add_periodic_task(crontab(hour=7), report.s("daily"), name="daily", expires=60)
        sender.add_periodic_task(timedelta(minutes=5), report, args=("often",))

    @tasks.on_after_finalize.connect
    async def done(sender: Tasks, **kwargs: Any) -> None:
        seen.append("finalized")

    await tasks.finalize()
    await tasks.finalize()
    assert seen == ["configured", "finalized"]
    entry = tasks.conf.beat_schedule["daily"]
    assert (entry["task"], entry["args"], entry["options"]) == ("report", ("daily",), {"expires": 60})
    assert tasks.conf.beat_schedule["report('often')"]["schedule"] == timedelta(minutes=5)
    assert schedule(5) is not None


@pytest.mark.parity("celery", "autodiscover_tasks")
def test_modules_are_imported_when_a_worker_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("discovered_one", "discovered_two"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "discovered_one" / "tasks.py").write_text("")
    (tmp_path / "included_module.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    tasks = Tasks(include=["included_module"], set_as_current=False)
    tasks.autodiscover_tasks(lambda: ["discovered_one", "discovered_two"])
    assert "discovered_one.tasks" not in sys.modules
    tasks.import_modules()
    assert "discovered_one.tasks" in sys.modules
    assert "included_module" in sys.modules
    (tmp_path / "discovered_two" / "jobs.py").write_text("")
    importlib.invalidate_caches()  # the folder's time, by which Python sees what is new, may be as it was
    tasks.autodiscover_tasks(["discovered_two"], related_name="jobs", force=True)
    assert "discovered_two.jobs" in sys.modules
    tasks.conf.imports = ["no_such_module_here"]
    with pytest.raises(ImportError):
        tasks.import_modules()


def test_the_time_is_in_the_zone_of_the_settings() -> None:
    tasks = Tasks(timezone="Europe/Berlin", set_as_current=False)
    assert tasks.timezone == ZoneInfo("Europe/Berlin")
    assert tasks.now().tzinfo == ZoneInfo("Europe/Berlin")
    assert Tasks(set_as_current=False).now().utcoffset() == UTC.utcoffset(None)


def test_results_and_signatures_are_made_of_it() -> None:
    tasks = Tasks(set_as_current=False)
    tasks.init_app(app_of())
    one = tasks.AsyncResult(uuid())
    assert isinstance(tasks.GroupResult(uuid(), [one]), GroupResult)
    assert isinstance(tasks.ResultSet([one]), ResultSet)
    sig = tasks.signature("away", (1,), {"a": 2}, countdown=3)
    assert (sig.args, sig.kwargs, sig.options) == ((1,), {"a": 2}, {"countdown": 3})
    assert repr(tasks.chain(sig, sig)) == "away(1, a=2) | away(1, a=2)"
    assert len(tasks.group(sig, sig)) == 2
    assert tasks.chord([sig], sig).body == sig
    with pytest.raises(TypeError, match="cannot be pickled"):
        tasks.__reduce__()


def test_annotations_change_tasks_by_name() -> None:
    tasks = Tasks(task_annotations={"limited": {"rate_limit": "10/s"}, "*": {"max_retries": 1}}, set_as_current=False)
    made = tasks.task(name="limited")(len)
    assert (made.rate_limit, made.max_retries) == ("10/s", 1)


def test_annotations_of_the_application_change_tasks_that_were_declared_before() -> None:
    tasks = Tasks(set_as_current=False)

    @tasks.task(name="one")
    def one() -> None: ...

    tasks.init_app(app_of(TASKS_TASK_ANNOTATIONS={"one": {"rate_limit": "7/s"}}))
    assert one.rate_limit == "7/s"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="rate_limit"):
        Tasks(set_as_current=False, task_annotations={"*": {"rate_limit": "often"}}).task(name="two")(lambda: None)
