"""``crontab``: its fields as Celery reads them, and its ticks where clocks are changed."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decant.errors import ConfigError
from decant.tasks.beat import crontab

BERLIN = ZoneInfo("Europe/Berlin")
FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("minute", 30, {30}),
        ("minute", "30", {30}),
        ("minute", (30, 40, 50, 51), {30, 40, 50, 51}),
        ("minute", {30, 0}, {0, 30}),
        ("minute", range(3), {0, 1, 2}),
        ("minute", "*/15", {0, 15, 30, 45}),
        ("minute", "1,13,30-33,50-59/3", {1, 13, 30, 31, 32, 33, 50, 53, 56, 59}),
        ("minute", "*", set(range(60))),
        ("minute", "*/3,*/5", {*range(0, 60, 3), *range(0, 60, 5)}),
        ("minute", "55-5/2", {55, 57, 59, 1, 3, 5}),
        ("hour", "22-2", {22, 23, 0, 1, 2}),
        ("hour", "0,8-17/2", {0, 8, 10, 12, 14, 16}),
        ("day_of_week", 5, {5}),
        ("day_of_week", "fri", {5}),
        ("day_of_week", "tuesday,sunday,fri", {0, 2, 5}),
        ("day_of_week", "mon-fri", {1, 2, 3, 4, 5}),
        ("day_of_week", "Sat-Mon", {6, 0, 1}),
        ("day_of_week", "*/2", {0, 2, 4, 6}),
        ("day_of_month", "*/5", {1, 6, 11, 16, 21, 26, 31}),
        ("day_of_month", "2,4,6", {2, 4, 6}),
        ("month_of_year", "feb", {2}),
        ("month_of_year", "april", {4}),
        ("month_of_year", "aug-oct", {8, 9, 10}),
        ("month_of_year", "*/2", {1, 3, 5, 7, 9, 11}),
        ("month_of_year", "2-12/2", {2, 4, 6, 8, 10, 12}),
    ],
)
def test_fields_are_read_as_celery_reads_them(field: str, value: Any, expected: set[int]) -> None:
    assert getattr(crontab(**{field: value}), field) == expected


def test_positions_are_celerys() -> None:
    given = crontab(1, 2, 3, 4, 5)
    assert [getattr(given, name) for name in FIELDS] == [{1}, {2}, {3}, {4}, {5}]
    assert crontab.from_string("1 2 4 5 3") == given


def test_a_field_of_none_is_every_one_as_in_celery() -> None:
    assert crontab(minute=None) == crontab()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("minute", wrong) for wrong in (60, -1, "60", "0-100", "", "1,,2", "*/0", "*/", "5/2", "a", 1.5, True, [])],
        *[("minute", wrong) for wrong in (["1"], [1, 60], object(), b"1", "1-2-3", "-1", "٣", "0" * 5000)],
        *[("hour", wrong) for wrong in (24, "0-30")],
        *[("day_of_week", wrong) for wrong in ("fooday-barday", "1,4,foo", "7", 12, "mo", "jan")],
        *[("day_of_month", wrong) for wrong in (0, "0-10", 32, "31,32")],
        *[("month_of_year", wrong) for wrong in (0, 13, "jaan", "sebtember", "mon")],
    ],
)
def test_a_wrong_field_names_itself_and_the_value(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"crontab\({field}\)") as caught:
        crontab(**{field: value})
    assert repr(caught.value.value) in str(caught.value)


@pytest.mark.parametrize(("day", "month"), [(30, 2), ("30,31", "feb"), (31, 4), (31, "4,6,9,11")])
def test_a_date_that_never_comes_is_refused(day: Any, month: Any) -> None:
    with pytest.raises(ValueError, match="never occurs"):
        crontab(day_of_month=day, month_of_year=month)


@pytest.mark.parametrize("text", ["* * * *", "", "* * * * * *"])
def test_a_line_has_five_fields(text: str) -> None:
    with pytest.raises(ConfigError, match="five fields"):
        crontab.from_string(text)


def test_a_zone_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"crontab\(tz\) = 'Europe/Atlantis'"):
        crontab(tz="Europe/Atlantis")


# The expectations of Celery's own tests, its now moved on to the second after which the next one is asked for.
@pytest.mark.parametrize(
    ("fields", "after", "expected"),
    [
        ({}, (2010, 9, 11, 14, 30, 15), (2010, 9, 11, 14, 31)),
        ({}, (2010, 9, 11, 14, 59, 15), (2010, 9, 11, 15, 0)),
        ({"minute": [5, 42]}, (2010, 9, 11, 14, 30, 15), (2010, 9, 11, 14, 42)),
        ({"minute": [5, 10, 15]}, (2010, 9, 11, 14, 30, 15), (2010, 9, 11, 15, 5)),
        ({"minute": [5, 42], "hour": [12, 17]}, (2010, 9, 11, 14, 30, 15), (2010, 9, 11, 17, 5)),
        ({"minute": [5, 42], "hour": [12]}, (2010, 9, 11, 14, 30, 15), (2010, 9, 12, 12, 5)),
        ({"minute": 30, "hour": 14, "day_of_week": "sat"}, (2010, 9, 11, 14, 30, 15), (2010, 9, 18, 14, 30)),
        ({"minute": [5, 42], "day_of_week": "mon-fri"}, (2010, 9, 11, 14, 30, 15), (2010, 9, 13, 0, 5)),
        (
            {"minute": 30, "hour": 14, "day_of_week": "thu", "day_of_month": "8-14"},
            (2010, 9, 11, 14, 30, 15),
            (2010, 10, 14, 14, 30),
        ),
        (
            {"minute": 30, "hour": 14, "day_of_month": 29, "month_of_year": 2},
            (2012, 2, 29, 14, 30),
            (2016, 2, 29, 14, 30),
        ),
        ({"minute": 0, "hour": 0, "day_of_month": 31}, (2026, 4, 1), (2026, 5, 31)),
        ({"minute": 0, "hour": 0, "day_of_month": 1, "day_of_week": 1}, (2026, 1, 1), (2026, 6, 1)),
    ],
)
@pytest.mark.parity("celery", "crontab(minute")
def test_the_next_run_is_celerys(fields: dict[str, Any], after: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert crontab(**fields).next_run(datetime(*after, tzinfo=UTC)) == datetime(*expected, tzinfo=UTC)


def test_29_february_on_a_monday_is_found_over_forty_years() -> None:
    given = crontab(0, 0, day_of_week="mon", day_of_month=29, month_of_year=2)
    assert given.next_run(datetime(2072, 3, 1, tzinfo=UTC)) == datetime(2112, 2, 29, tzinfo=UTC)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        crontab().next_run(datetime(2026, 1, 1))


def runs(given: crontab, begin: str, end: str) -> list[str]:
    after, until = (datetime.fromisoformat(text).astimezone(UTC) for text in (begin, end))
    found = []
    while (after := given.next_run(after)) <= until:
        found.append(after.astimezone(BERLIN).isoformat()[11:22])
    return found


GAP = ("2026-03-29T00:59:00+01:00", "2026-03-29T04:00:00+02:00")  # 02:00 becomes 03:00
FOLD = ("2026-10-25T00:59:00+02:00", "2026-10-25T03:30:00+01:00")  # 03:00 becomes 02:00


def test_a_tick_that_the_clock_jumps_over_runs_once_right_after_the_jump() -> None:
    assert runs(crontab(30, 2, tz="Europe/Berlin"), *GAP) == ["03:00:00+02"]
    assert runs(crontab("*/15", 2, tz="Europe/Berlin"), *GAP) == ["03:00:00+02"]
    assert runs(crontab(30, "1-3", tz="Europe/Berlin"), *GAP) == ["01:30:00+01", "03:00:00+02", "03:30:00+02"]


def test_a_tick_of_an_hour_that_comes_twice_runs_once() -> None:
    assert runs(crontab(30, 2, tz="Europe/Berlin"), *FOLD) == ["02:30:00+02"]
    assert runs(crontab(30, "1-3", tz="Europe/Berlin"), *FOLD) == ["01:30:00+02", "02:30:00+02", "03:30:00+01"]
    after_the_second = datetime(2026, 10, 25, 2, 31, tzinfo=BERLIN, fold=1)
    assert crontab(30, 2, tz="Europe/Berlin").next_run(after_the_second) == datetime(2026, 10, 26, 2, 30, tzinfo=BERLIN)


def test_a_schedule_of_every_hour_goes_by_real_time() -> None:
    assert runs(crontab(30, tz="Europe/Berlin"), *GAP) == ["01:30:00+01", "03:30:00+02"]
    assert runs(crontab(30, tz="Europe/Berlin"), *FOLD) == ["01:30:00+02", "02:30:00+02", "02:30:00+01", "03:30:00+01"]
    assert len(runs(crontab(tz="Europe/Berlin"), *FOLD)) == 211


def test_a_day_that_a_zone_leaves_out_has_its_tick_when_the_next_begins() -> None:
    apia = crontab(0, 12, day_of_month=30, month_of_year=12, tz="Pacific/Apia")
    assert apia.next_run(datetime(2011, 12, 1, tzinfo=UTC)) == datetime(2011, 12, 30, 10, tzinfo=UTC)


def test_the_applications_zone_counts_where_a_crontab_has_none() -> None:
    noon = crontab(0, 12)
    after = datetime(2026, 7, 1, tzinfo=UTC)
    assert noon.next_run(after) == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert noon.next_run(after, tz=BERLIN) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert crontab(0, 12, tz="Asia/Tokyo").next_run(after, tz=BERLIN) == datetime(2026, 7, 1, 3, tzinfo=UTC)


def test_the_text_of_a_crontab_is_stable_and_complete() -> None:
    assert repr(crontab(minute={30, 0}, day_of_week="mon-fri")) == "crontab(minute=[0, 30], day_of_week='mon-fri')"
    assert repr(crontab(hour=2, tz=BERLIN)) == "crontab(hour=2, tz='Europe/Berlin')"
    assert repr(crontab()) == "crontab()"
    copy = pickle.loads(pickle.dumps(crontab(1, "2-4", tz=BERLIN)))
    assert copy == crontab(1, "2-4", tz="Europe/Berlin") != crontab(1, "2-4")


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    minutes = st.one_of(st.just("*"), st.sampled_from(("*/15", "*/7")), st.lists(st.integers(0, 59), min_size=1))
    hours = st.one_of(st.just("*"), st.lists(st.integers(0, 23), min_size=1), st.sampled_from(("1-3", "22-2")))
    days = st.one_of(st.just("*"), st.lists(st.integers(1, 28), min_size=1), st.just("*/2"))
    weekdays = st.one_of(st.just("*"), st.lists(st.integers(0, 6), min_size=1))
    return {
        "minute": draw(minutes),
        "hour": draw(hours),
        "day_of_month": draw(days),
        "day_of_week": draw(weekdays),
    }


ZONES = ("UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns")
JUMPS = (
    datetime(2026, 3, 29),
    datetime(2026, 10, 25),
    datetime(2026, 3, 8),
    datetime(2026, 11, 1),
    datetime(2026, 4, 5),
)


def expected(given: crontab, after: datetime, zone: ZoneInfo, minutes: int) -> datetime | None:
    """The first tick in the next ``minutes``, by looking at every minute of the clock in turn."""
    named = len(given.hour) < 24
    shown_before = (after + timedelta(minutes=1)).replace(second=0, microsecond=0)
    shown_before -= timedelta(days=1, minutes=1)
    moment, last = shown_before, shown_before.astimezone(zone).replace(tzinfo=None)
    seen: set[datetime] = set()

    def matches(wall: datetime) -> bool:
        return (
            wall.minute in given.minute
            and wall.hour in given.hour
            and wall.day in given.day_of_month
            and wall.isoweekday() % 7 in given.day_of_week
            and wall.month in given.month_of_year
        )

    while moment < after + timedelta(minutes=minutes):
        moment += timedelta(minutes=1)
        wall = moment.astimezone(zone).replace(tzinfo=None)
        jumped = []
        while named and last + timedelta(minutes=1) < wall:
            last += timedelta(minutes=1)
            jumped.append(last)
        last = wall
        hit = any(map(matches, jumped)) or (matches(wall) and not (named and wall in seen))
        seen.add(wall)
        if hit and moment > after:
            return moment
    return None


@settings(max_examples=60, deadline=None)
@given(
    fields=fields(),
    zone=st.sampled_from(ZONES),
    around=st.sampled_from(JUMPS),
    seconds=st.integers(-6 * 3600, 24 * 3600),
)
@example(fields={"minute": 30, "hour": 2}, zone="Europe/Berlin", around=JUMPS[1], seconds=3600 + 1800)
@example(fields={"minute": 15, "hour": 2}, zone="Australia/Lord_Howe", around=JUMPS[4], seconds=-9 * 3600)
def test_no_tick_is_left_out_and_none_is_too_many(
    fields: dict[str, Any], zone: str, around: datetime, seconds: int
) -> None:
    given = crontab(**fields, tz=zone)
    after = around.replace(tzinfo=UTC) + timedelta(seconds=seconds)
    found = given.next_run(after)
    assert found > after
    looked = expected(given, after, ZoneInfo(zone), 36 * 60)
    assert found == looked or (looked is None and found > after + timedelta(minutes=36 * 60))
