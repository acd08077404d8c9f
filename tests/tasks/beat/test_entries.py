"""The entries of ``beat_schedule``: checked by key, and what they do about missed ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from decant.errors import ConfigError
from decant.tasks.beat import ScheduleEntry, crontab, schedule
from decant.tasks.beat.entries import entry_from, read

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_entries_are_read_with_celerys_keys() -> None:
    found = read(
        {
            "every": {"task": "app.add", "schedule": 30, "args": [1, 2], "kwargs": {"z": 3}, "options": {"queue": "q"}},
            "rounded": {"task": "app.add", "schedule": timedelta(hours=1), "relative": True, "catch_up": "all"},
            "cron": {"task": "app.add", "schedule": crontab(0, 4, tz="Asia/Tokyo")},
        },
        ZoneInfo("Europe/Berlin"),
    )
    assert found["every"] == ScheduleEntry(
        name="every",
        task="app.add",
        schedule=schedule(30),
        args=(1, 2),
        kwargs={"z": 3},
        options={"queue": "q"},
        tz=ZoneInfo("Europe/Berlin"),
    )
    assert found["rounded"].spec == "schedule(3600, relative=True) in Europe/Berlin"
    assert found["rounded"].catch_up == "all"
    assert found["cron"].next_run(NOON) == datetime(2026, 7, 1, 19, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (None, "beat_schedule"),
        ([], "beat_schedule"),
        ({"a": None}, "beat_schedule['a']"),
        ({1: {"task": "t", "schedule": 1}}, "beat_schedule[1]"),
        ({"": {"task": "t", "schedule": 1}}, "beat_schedule['']"),
        ({"a": {"schedule": 1}}, "beat_schedule['a']['task']"),
        ({"a": {"task": "t"}}, "beat_schedule['a']['schedule']"),
        ({"a": {"task": "t", "schedule": "1"}}, "beat_schedule['a']['schedule']"),
        ({"a": {"task": "t", "schedule": 0}}, "beat_schedule['a']['schedule']"),
        ({"a": {"task": "t", "schedule": True}}, "beat_schedule['a']['schedule']"),
        ({"a": {"task": "t", "schedule": 1, "args": "xy"}}, "beat_schedule['a']['args']"),
        ({"a": {"task": "t", "schedule": 1, "args": 5}}, "beat_schedule['a']['args']"),
        ({"a": {"task": "t", "schedule": 1, "kwargs": {1: 2}}}, "beat_schedule['a']['kwargs']"),
        ({"a": {"task": "t", "schedule": 1, "options": "q"}}, "beat_schedule['a']['options']"),
        ({"a": {"task": "t", "schedule": 1, "catch_up": "some"}}, "beat_schedule['a']['catch_up']"),
        ({"a": {"task": "t", "schedule": 1, "shedule": 2}}, "beat_schedule['a']"),
    ],
)
def test_a_wrong_entry_names_its_key(given: Any, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(given)
    assert caught.value.key == key


def test_a_periodic_task_is_an_entry_of_beat_schedule() -> None:
    signature = {"task": "app.add", "args": (3,), "kwargs": {"z": 1}, "options": {"queue": "slow"}, "immutable": False}
    name, entry = entry_from(crontab(5), signature, (1, 2), {"y": 2}, expires=60, catch_up="one")
    assert name == "app.add(1, 2, 3, y=2, z=1)"
    assert read({name: entry})[name] == ScheduleEntry(
        name=name,
        task="app.add",
        schedule=crontab(5),
        args=(1, 2, 3),
        kwargs={"y": 2, "z": 1},
        options={"queue": "slow", "expires": 60},
        catch_up="one",
    )


def test_a_periodic_task_is_named_by_its_task_or_its_caller() -> None:
    class Task:
        name = "app.tidy"

    assert entry_from(10, Task())[0] == "app.tidy()"
    assert entry_from(10, Task(), name="tidy")[0] == "tidy"
    assert entry_from(10, {"task": "app.tidy", "immutable": True}, (1,))[1]["args"] == ()
    long, other = (entry_from(10, Task(), ["x" * 600 + end])[0] for end in "ab")
    assert len(long) <= 500
    assert long != other


@pytest.mark.parametrize(
    ("when", "sig", "key"), [(0, {"task": "t"}, "'schedule'"), (5, {}, "'task'"), (5, 5, "'task'")]
)
def test_a_wrong_periodic_task_is_refused_at_once(when: Any, sig: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        entry_from(when, sig)


def entry(when: Any, catch_up: str = "skip") -> ScheduleEntry:
    return read({"e": {"task": "t", "schedule": when, "catch_up": catch_up}})["e"]


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
def test_a_tick_that_is_a_little_late_runs(catch_up: str) -> None:
    due = NOON - timedelta(minutes=4)
    found = entry(crontab(56, 11), catch_up).advance(due, NOON)
    assert (found.ticks, found.skipped) == ([due], 0)
    assert found.next_run == due + timedelta(days=1)


def test_skip_runs_only_the_last_of_missed_ticks_if_it_is_recent() -> None:
    found = entry(60).advance(NOON - timedelta(hours=1, seconds=10), NOON)
    assert found.ticks == [NOON - timedelta(seconds=10)]
    assert found.skipped == 60
    assert found.next_run == NOON + timedelta(seconds=50)
    found = entry(3600).advance(NOON - timedelta(hours=2, minutes=10), NOON)
    assert (found.ticks, found.skipped) == ([], 3)
    assert found.next_run == NOON + timedelta(minutes=50)


def test_one_runs_once_for_all_missed_ticks_however_old() -> None:
    found = entry(3600, "one").advance(NOON - timedelta(hours=2, minutes=10), NOON)
    assert (found.ticks, found.skipped) == ([NOON - timedelta(minutes=10)], 2)


def test_all_runs_every_missed_tick_in_order() -> None:
    found = entry(crontab(0), "all").advance(NOON - timedelta(hours=3), NOON)
    assert found.ticks == [NOON - timedelta(hours=hours) for hours in (3, 2, 1, 0)]
    assert found.next_run == NOON + timedelta(hours=1)


@pytest.mark.parametrize(("when", "ticks"), [(1, 1), (crontab(), 1), (schedule(60, relative=True), 1)])
def test_years_of_missed_ticks_cost_no_more_than_a_thousand(when: Any, ticks: int) -> None:
    due = NOON - timedelta(days=3650)
    skipped = entry(when).advance(due, NOON)
    assert (len(skipped.ticks), skipped.skipped) == (ticks, 999)
    assert skipped.ticks[0] > NOON - timedelta(minutes=5)
    everything = entry(when, "all").advance(due, NOON)
    assert len(everything.ticks) == 1000
    assert NOON < everything.next_run <= NOON + timedelta(minutes=1)
