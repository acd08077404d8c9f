"""When a periodic task runs: Celery's ``schedule``, an interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any, Final

from ...errors import ConfigError

__all__ = ["BaseSchedule", "aware", "first_instant", "schedule"]

SHORTEST: Final = timedelta(milliseconds=100)
LONGEST: Final = timedelta(days=36525)
_DAY: Final = timedelta(days=1)


class BaseSchedule(ABC):
    """What knows the times of a periodic task. ``repr`` is its specification: another one is another schedule."""

    @abstractmethod
    def next_run(self, after: datetime, *, tz: tzinfo | None = None) -> datetime:
        """The first tick after ``after``, which is aware, as an aware time in UTC.

        ``tz`` is the application's time zone; UTC without one.
        """

    def resume(self, due: datetime, after: datetime, *, tz: tzinfo | None = None) -> datetime:
        """The first tick after ``after`` of the row of ticks to which ``due`` belongs, where ``due`` <= ``after``."""
        return self.next_run(after, tz=tz)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseSchedule) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class schedule(BaseSchedule):
    """Celery's ``schedule``: every ``run_every``, seconds or a ``timedelta``, of real time.

    ``relative=True`` rounds each tick down to the unit of the interval on the clock of the time zone: to midnight for
    intervals of a day and more, which are days of the calendar then, whatever the clocks do; to the hour; to the
    minute; to the second.

    :raises ConfigError: if the interval is shorter than 0.1 seconds, since each tick is a transaction.
    """

    def __init__(self, run_every: float | timedelta, relative: bool = False) -> None:
        self.run_every = _interval(run_every)
        self.relative = bool(relative)

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return self.run_every.total_seconds()

    def next_run(self, after: datetime, *, tz: tzinfo | None = None) -> datetime:
        after = aware(after)
        elapsed = after + self.run_every
        if not self.relative:
            return elapsed
        zone = tz or UTC
        rounded = self._midnight(after, zone) if self.run_every >= _DAY else self._rounded(elapsed, zone)
        return rounded if rounded > after else elapsed

    def resume(self, due: datetime, after: datetime, *, tz: tzinfo | None = None) -> datetime:
        due, after = aware(due), aware(after)
        last = due + (after - due) // self.run_every * self.run_every
        following = self.next_run(last, tz=tz)
        while following <= after:  # rounded down; each is at most one interval further
            following = self.next_run(following, tz=tz)
        return following

    def _midnight(self, after: datetime, zone: tzinfo) -> datetime:
        day = after.astimezone(zone).date() + timedelta(days=self.run_every.days)
        midnight = datetime.combine(day, time.min)
        first = first_instant(midnight, zone)
        return first if first > after else midnight.replace(tzinfo=zone, fold=1).astimezone(UTC)

    def _rounded(self, moment: datetime, zone: tzinfo) -> datetime:
        local = moment.astimezone(zone).replace(microsecond=0)
        if self.run_every >= timedelta(minutes=1):
            local = local.replace(second=0)
        if self.run_every >= timedelta(hours=1):
            local = local.replace(minute=0)
        return local.astimezone(UTC)

    def __repr__(self) -> str:
        return f"schedule({str(self.seconds).removesuffix('.0')}{', relative=True' if self.relative else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_every, self.relative)


def first_instant(wall: datetime, zone: tzinfo) -> datetime:
    """When a clock in ``zone`` first shows ``wall``, in UTC; where it jumps over it, the moment of the jump."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # fold=0 reads a time that does not exist by the clock before the jump, and fold=1 by the one after it.
    low, high = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _interval(value: object) -> timedelta:
    given: object = value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            given = timedelta(seconds=value)
        except (ValueError, OverflowError):
            given = None
    if not isinstance(given, timedelta) or not SHORTEST <= given <= LONGEST:
        allowed = "seconds from 0.1 to a hundred years, or such a timedelta, are allowed"
        raise ConfigError("schedule(run_every)", value, allowed)
    return given


def aware(moment: datetime) -> datetime:
    """The moment in UTC.

    :raises ValueError: if it has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: give an aware datetime, as datetime.now(UTC)")
    return moment.astimezone(UTC)
