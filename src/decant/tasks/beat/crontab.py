"""Celery's ``crontab``: ticks by the fields of the clock and the calendar."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from ...errors import ConfigError
from .schedules import BaseSchedule, aware, first_instant

__all__ = ["Cronspec", "crontab"]

Cronspec = int | str | Iterable[int]

_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_PART: Final = re.compile(r"(?:(?P<star>\*)|(?P<low>[A-Za-z0-9]+)(?:-(?P<high>[A-Za-z0-9]+))?)(?:/(?P<step>[0-9]+))?")
_YEARS: Final = 41  # 29 February on a given day of the week: 40 years at most, around 2100
_DAY: Final = timedelta(days=1)


class crontab(BaseSchedule):
    """Celery's ``crontab``: every minute whose fields match, all of them, so ``day_of_week`` *and* ``day_of_month``.

    Each field is a number, a list of numbers, or a text: ``"*"``, ``"*/15"``, ``"8-17"``, ``"8-17/2"``, ``"22-2"``
    (round the end), ``"mon-fri"``, ``"jan,jul"``, and these with commas between. ``day_of_week`` is 0 (Sunday) to 6.
    ``tz`` is the name of a time zone, or a ``tzinfo``; without it the application's ``timezone`` counts.

    Where clocks are changed: a schedule that names its hours has one tick right after the jump for all those that the
    clock jumps over, and the ticks of an hour that comes twice the first time only. A schedule of every hour
    (``hour="*"``) goes by the minutes that there are, and so neither pauses for an hour nor has a tick too many.

    :raises ConfigError: (a ``ValueError``, as in Celery) if a field is wrong, or the date never comes, as 30 February.
    """

    def __init__(
        self,
        minute: Cronspec = "*",
        hour: Cronspec = "*",
        day_of_week: Cronspec = "*",
        day_of_month: Cronspec = "*",
        month_of_year: Cronspec = "*",
        tz: str | tzinfo | None = None,
    ) -> None:
        given = (minute, hour, day_of_month, month_of_year, day_of_week)
        kept = [value if isinstance(value, int | str) else _listed(value) for value in given]
        self._given = tuple("*" if value is None else value for value in kept)
        read = [_numbers(name, value) for name, value in zip(_FIELDS, self._given, strict=True)]
        self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week = read
        if not any(day <= monthrange(2024, month)[1] for month in self.month_of_year for day in self.day_of_month):
            raise ConfigError(
                "crontab(day_of_month)",
                self._given[2],
                f"it never occurs in month_of_year={self._given[3]!r}: give a day that is in one of these months",
            )
        self.tz = _zone(tz)

    @classmethod
    def from_string(cls, crontab: str, tz: str | tzinfo | None = None) -> crontab:
        """One of a line of crontab(5): minute, hour, day of the month, month, day of the week."""
        fields = crontab.split()
        if len(fields) != 5:
            raise ConfigError("crontab.from_string", crontab, "five fields with spaces between are allowed")
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(minute, hour, day_of_week, day_of_month, month_of_year, tz)

    def next_run(self, after: datetime, *, tz: tzinfo | None = None) -> datetime:
        after, zone = aware(after), self.tz or tz or UTC
        local = after.astimezone(zone).replace(tzinfo=None)
        if len(self.hour) < 24:
            ticks = (first_instant(wall, zone) for wall in self._walls(local))
            return next(tick for tick in ticks if tick > after)
        # A clock that will be put back within a day shows again what it has shown: begin that much earlier.
        local = min(local, (after + _DAY).astimezone(zone).replace(tzinfo=None) - _DAY)
        return min(self._real(local, after, zone, fold) for fold in (0, 1))

    def _real(self, local: datetime, after: datetime, zone: tzinfo, fold: int) -> datetime:
        for wall in self._walls(local):
            moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if moment > after and moment.astimezone(zone).replace(tzinfo=None) == wall:
                return moment
        raise AssertionError("the walls end with an error")

    def _walls(self, begin: datetime) -> Iterator[datetime]:
        """What the clock shows at each tick, from the minute of ``begin`` on, in order."""
        begin = begin.replace(second=0, microsecond=0)
        hours, minutes = sorted(self.hour), sorted(self.minute)
        for day in self._days(begin):
            for hour in hours:
                if day.replace(hour=hour, minute=59) < begin:
                    continue
                for minute in minutes:
                    wall = day.replace(hour=hour, minute=minute)
                    if wall >= begin:
                        yield wall

    def _days(self, begin: datetime) -> Iterator[datetime]:
        midnight = begin.replace(hour=0, minute=0)
        months, days = sorted(self.month_of_year), sorted(self.day_of_month)
        for year in range(begin.year, begin.year + _YEARS):
            for month in months:
                last = monthrange(year, month)[1]
                if (year, month) < (begin.year, begin.month):
                    continue
                for number in days:
                    if number > last:
                        break
                    day = datetime(year, month, number)  # noqa: DTZ001  what a clock shows, of no time zone yet
                    if day >= midnight and day.isoweekday() % 7 in self.day_of_week:
                        yield day
        raise OverflowError(f"{self!r} has no tick within {_YEARS - 1} years of {begin}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, crontab) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week, self.tz

    def __repr__(self) -> str:
        named = zip(_FIELDS, self._given, strict=True)
        words = [f"{name}={value!r}" for name, value in named if value != "*"]
        if self.tz is not None:
            words.append(f"tz={getattr(self.tz, 'key', None) or str(self.tz)!r}")
        return f"crontab({', '.join(words)})"

    def __reduce__(self) -> tuple[Any, ...]:
        minute, hour, day_of_month, month_of_year, day_of_week = self._given
        return type(self), (minute, hour, day_of_week, day_of_month, month_of_year, self.tz)


_FIELDS: Final = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_RANGES: Final = {
    "minute": (0, 59, ()),
    "hour": (0, 23, ()),
    "day_of_month": (1, 31, ()),
    "month_of_year": (1, 12, _MONTHS),
    "day_of_week": (0, 6, _DAYS),
}


def _listed(value: object) -> Any:
    if isinstance(value, bytes | bytearray) or not isinstance(value, Iterable):
        return value
    numbers = list(value)
    return sorted(numbers) if all(type(number) is int for number in numbers) else numbers


def _numbers(name: str, value: object) -> frozenset[int]:
    low, high, names = _RANGES[name]
    key = f"crontab({name})"
    if isinstance(value, str):
        found: set[int] = set()
        for part in value.split(","):
            found |= _part(key, value, part.strip(), low, high, names)
        return frozenset(found)
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(type(number) is int and low <= number <= high for number in numbers):
        raise ConfigError(key, value, f"numbers from {low} to {high}, a list of them, or a text as '*/2' are allowed")
    return frozenset(numbers)


def _part(key: str, value: str, part: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    match = _PART.fullmatch(part)
    if match is None or (match["step"] and not match["star"] and not match["high"]):
        raise ConfigError(key, value, f"{part!r} is none of '*', '*/n', 'a', 'a-b' and 'a-b/n'")
    step = int(match["step"] or 1)
    if not step:
        raise ConfigError(key, value, "a step is at least 1")
    if match["star"]:
        return set(range(low, high + 1)[::step])
    first = _number(key, value, match["low"], low, high, names)
    last = _number(key, value, match["high"], low, high, names) if match["high"] else first
    if last < first:
        return set([*range(first, high + 1), *range(low, last + 1)][::step])
    return set(range(first, last + 1)[::step])


def _number(key: str, value: str, text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text.isdecimal() and len(text) < 9 and low <= int(text) <= high:
        return int(text)
    word = text.lower()
    if len(word) >= 3:
        for number, name in enumerate(names, low):
            if name.startswith(word):
                return number
    also = f", or names as {names[1][:3]!r}" if names else ""
    raise ConfigError(key, value, f"{text!r} is not a number from {low} to {high}{also}")


def _zone(tz: str | tzinfo | None) -> tzinfo | None:
    if tz is None or isinstance(tz, tzinfo):
        return tz
    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, TypeError, OSError):
        raise ConfigError("crontab(tz)", tz, "a name as 'Europe/Vienna', or a tzinfo, is allowed") from None
