"""``schedule``: intervals of real time, and rounded ones."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decant.errors import ConfigError
from decant.tasks.beat import crontab, schedule

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


def test_an_interval_is_real_time_whatever_the_clocks_do() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    before = datetime(2026, 3, 28, 12, tzinfo=berlin)
    assert schedule(timedelta(days=1)).next_run(before, tz=berlin) == datetime(2026, 3, 29, 13, tzinfo=berlin)
    assert schedule(30).next_run(before) - before.astimezone(UTC) == timedelta(seconds=30)


# The expectations of Celery's own tests of schedule(relative=True).
@pytest.mark.parametrize(
    ("zone", "interval", "after", "expected"),
    [
        ("America/New_York", timedelta(hours=1), datetime(2026, 11, 1, 1, 15), datetime(2026, 11, 1, 1, fold=1)),
        ("America/Havana", timedelta(days=1), datetime(2026, 3, 7, 23, 30), datetime(2026, 3, 8, 1)),
        ("America/Havana", timedelta(days=2), datetime(2026, 3, 6, 23, 30), datetime(2026, 3, 8, 1)),
        ("America/Havana", timedelta(days=1), datetime(2025, 11, 1, 23, 30), datetime(2025, 11, 2)),
        ("Asia/Kathmandu", timedelta(days=1), datetime(1985, 12, 31, 23, 50), datetime(1986, 1, 1, 0, 15)),
        ("Pacific/Apia", timedelta(days=1), datetime(2011, 12, 29, 23, 30), datetime(2011, 12, 31)),
        (
            "America/Goose_Bay",
            timedelta(days=1),
            datetime(2000, 10, 28, 23, 30, fold=1),
            datetime(2000, 10, 29, fold=1),
        ),
        ("Africa/Cairo", timedelta(days=1), datetime(2026, 4, 23, 23, 30), datetime(2026, 4, 24, 1)),
        ("UTC", timedelta(seconds=30), datetime(2026, 1, 1, 0, 0, 1, 500_000), datetime(2026, 1, 1, 0, 0, 31)),
        ("UTC", timedelta(minutes=5), datetime(2026, 1, 1, 0, 0, 59), datetime(2026, 1, 1, 0, 5)),
    ],
)
@pytest.mark.parity("celery", "schedule(run_every")
def test_a_relative_one_is_rounded_down_as_celery_does(
    zone: str, interval: timedelta, after: datetime, expected: datetime
) -> None:
    tz = ZoneInfo(zone)
    found = schedule(interval, relative=True).next_run(after.replace(tzinfo=tz), tz=tz)
    assert found == expected.replace(tzinfo=tz).astimezone(UTC)


@pytest.mark.parametrize("value", [0, -1, 0.05, "30", None, True, float("nan"), float("inf"), timedelta(0), 1e12, [1]])
def test_an_interval_that_cannot_be_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"schedule\(run_every\) = "):
        schedule(value)


def test_the_text_of_a_schedule_is_stable_and_complete() -> None:
    assert repr(schedule(timedelta(minutes=2))) == repr(schedule(120.0)) == "schedule(120)"
    assert repr(schedule(86400.25, relative=True)) == "schedule(86400.25, relative=True)"
    assert pickle.loads(pickle.dumps(schedule(5, relative=True))) == schedule(5, True) != schedule(5)
    assert schedule(60) != crontab()


@settings(max_examples=200, deadline=None)
@given(
    after=MOMENTS,
    seconds=st.floats(0.1, 200_000),
    relative=st.booleans(),
    late=st.floats(0, 500_000),
    zone=st.sampled_from(("UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe")),
)
def test_the_next_run_is_later_and_no_more_than_an_interval(
    after: datetime, seconds: float, relative: bool, late: float, zone: str
) -> None:
    every = schedule(seconds, relative)
    tz = ZoneInfo(zone)
    due = every.next_run(after, tz=tz)
    assert after < due <= after + every.run_every + timedelta(hours=2 if relative else 0)
    now = due + timedelta(seconds=late)
    following = every.resume(due, now, tz=tz)
    assert following > now
    if not relative:
        assert (following - due) % every.run_every == timedelta(0)
        assert following - now <= every.run_every
