"""``tasks.conf``: Celery's keys and ours, checked where they are set."""

from __future__ import annotations

import sys
from datetime import timedelta
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import quart

from decant.errors import ConfigError
from decant.tasks import Tasks
from decant.tasks.settings import Conf, from_app, from_object


@pytest.mark.parity("celery", "conf (+.update)")
def test_settings_are_attributes_and_items() -> None:
    conf = Conf()
    conf.timezone = "Europe/Berlin"
    conf["result_expires"] = 3600
    conf.update({"task_default_queue": "slow"}, task_always_eager="yes")
    assert conf["timezone"] == conf.timezone == "Europe/Berlin"
    assert conf.tz == ZoneInfo("Europe/Berlin")
    assert conf.result_expires == timedelta(hours=1)
    assert conf.result_expires_s == 3600
    assert conf.task_default_queue == "slow"
    assert conf.task_always_eager is True
    assert set(conf.changes()) == {"timezone", "result_expires", "task_default_queue", "task_always_eager"}
    del conf.timezone
    assert conf.timezone == "UTC"
    assert "timezone" in conf
    assert conf.get("nothing") is None


def test_defaults_are_not_shared() -> None:
    Conf().beat_schedule["x"] = 1
    assert Conf().beat_schedule == {}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("timezone", "Mars/Phobos", "the name of a time zone is allowed"),
        ("worker_concurrency", 0, "an integer, at least 1"),
        ("worker_concurrency", 1.5, "an integer"),
        ("lease_s", "soon", "a number, at least 0.5"),
        ("task_default_priority", 10, "at most 9"),
        ("durable", "perhaps", "True or False"),
        ("result_expires", -1, "seconds or a timedelta"),
        ("task_default_rate_limit", "10/d", "'10/s'"),
        ("task_queues", {"a": 0}, "weights, at least 1"),
        ("task_routes", 5, "a dictionary of tasks"),
        ("beat_schedule", [1], "a dictionary"),
        ("task_default_queue", "", "a text"),
        ("imports", 5, "a list of names"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(key: str, value: Any, told: str) -> None:
    conf = Conf()
    with pytest.raises(ConfigError, match=f"^{key} = .*{told}"):
        conf[key] = value
    with pytest.raises(ConfigError, match=f"^TASKS_{key.upper()} = "):
        from_app({f"TASKS_{key.upper()}": value})
    assert conf.changes() == {}


def test_urls_are_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        from_app({"TASKS_DATABASE_URL": b"secret"})
    assert "secret" not in str(caught.value)
    conf = Conf({"redis_url": "redis://:secret@host"})
    assert "secret" not in repr(conf)


def test_one_wrong_value_of_several_sets_none() -> None:
    conf = Conf()
    with pytest.raises(ConfigError):
        conf.update(timezone="UTC", lease_s=-1)
    assert conf.changes() == {}


def test_celerys_settings_without_a_meaning_say_what_stands_in() -> None:
    with pytest.warns(UserWarning, match="task_serializer has no effect: arguments and results are msgpack"):
        Conf().update(task_serializer="json")
    with pytest.warns(UserWarning, match="CELERY_RESULT_BACKEND has no effect: results are in the ledger"):
        assert from_app({"CELERY_RESULT_BACKEND": "redis://"}) == {}


def test_an_unknown_setting_is_warned_of_and_kept() -> None:
    conf = Conf()
    with pytest.warns(UserWarning, match="timezon is no setting of tasks: did you mean timezone"):
        conf.timezon = "UTC"
    assert conf.timezon == "UTC"
    with pytest.raises(AttributeError, match="did you mean worker_concurrency"):
        _ = conf.worker_concurrenc


def test_the_application_says_it_in_four_ways() -> None:
    config = {
        "TASKS_LEASE_S": 3,
        "CELERY_TIMEZONE": "Europe/Berlin",
        "TASKS": {"task_ignore_result": True},
        "CELERY": {"broker_url": "redis://x", "lease_s": 5},
    }
    found = from_app(config)
    assert found == {
        "lease_s": 3,
        "timezone": "Europe/Berlin",
        "task_ignore_result": True,
        "redis_url": "redis://x",
    }
    with pytest.raises(ConfigError, match="a dictionary of settings"):
        from_app({"CELERY": 5})


def test_what_is_set_here_comes_before_the_application() -> None:
    tasks = Tasks(durable=False, set_as_current=False)
    app = quart.Quart(__name__)
    app.config |= {"TASKS_LEASE_S": 3, "TASKS_TIMEZONE": "Europe/Berlin", "REDIS_URL": "redis://localhost:1"}
    tasks.conf.lease_s = 4
    tasks.init_app(app)
    assert tasks.conf.timezone == "Europe/Berlin"
    assert tasks.conf.lease_s == 4
    tasks.conf.task_always_eager = True
    assert tasks.runtime().conf.task_always_eager is True


class Settings:
    CELERY_TIMEZONE = "Europe/Berlin"
    CELERY_TASK_DEFAULT_QUEUE = "classy"
    OTHER = 5


@pytest.mark.parity("celery", "config_from_object(obj")
def test_settings_come_from_modules_classes_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("celeryconfig")
    module.timezone = "Europe/Rome"  # type: ignore[attr-defined]
    module.something_else = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "celeryconfig", module)
    assert from_object(module) == from_object("celeryconfig") == {"timezone": "Europe/Rome"}
    assert from_object(Settings, "CELERY")["task_default_queue"] == "classy"
    assert from_object({"timezone": "UTC"}) == {"timezone": "UTC"}
    tasks = Tasks(set_as_current=False)
    tasks.config_from_object(Settings, namespace="CELERY")
    assert tasks.conf.timezone == "Europe/Berlin"
    with pytest.raises(ImportError):
        tasks.config_from_object("no_such_module_at_all")
    tasks.config_from_object("no_such_module_at_all", silent=True)
    monkeypatch.setenv("TASKS_CONFIG", "celeryconfig")
    tasks.config_from_envvar("TASKS_CONFIG")
    assert tasks.conf.timezone == "Europe/Rome"
    with pytest.raises(ConfigError, match="must name a module"):
        tasks.config_from_envvar("TASKS_CONFIG_NOT_THERE")
    tasks.add_defaults({"timezone": "UTC", "lease_s": 7})
    assert (tasks.conf.timezone, tasks.conf.lease_s) == ("Europe/Rome", 7)


def test_queues_are_names_with_weights() -> None:
    class Queue:
        name = "objects"

    conf = Conf()
    for given, expected in (
        ("a, b", {"a": 1, "b": 1}),
        (["a"], {"a": 1}),
        ({"a": 3}, {"a": 3}),
        ([Queue()], {"objects": 1}),
    ):
        conf.task_queues = given
        assert conf.task_queues == expected


def test_a_dictionary_may_be_filled_in_place() -> None:
    conf = Conf()
    assert conf.changes() == {}
    conf.beat_schedule["nightly"] = {"task": "tidy", "schedule": 60}
    assert conf.beat_schedule == {"nightly": {"task": "tidy", "schedule": 60}}
    app = quart.Quart(__name__)
    assert conf.for_app(app).beat_schedule == conf.beat_schedule
    app.config["TASKS_BEAT_SCHEDULE"] = {"hourly": {"task": "tidy", "schedule": 3600}}
    assert list(Conf().for_app(app).beat_schedule) == ["hourly"]
    assert Conf().beat_schedule == {}
