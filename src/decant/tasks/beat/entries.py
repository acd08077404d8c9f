"""The entries of ``beat_schedule``: which task runs when, with which arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import blake2b
from typing import Any, Final

from ...errors import ConfigError
from .schedules import BaseSchedule, schedule

__all__ = ["Advance", "ScheduleEntry", "entry_from", "read"]

GRACE: Final = timedelta(minutes=5)
"""A tick that is later than this was missed; one that is less is only late."""
MOST: Final = 1_000
"""How many missed ticks are caught up with at once, and how many are counted as skipped."""
_POLICIES: Final = ("skip", "one", "all")
_KEYS: Final = frozenset({"task", "schedule", "args", "kwargs", "options", "relative", "catch_up"})


@dataclass(frozen=True, slots=True)
class Advance:
    """What a look at an entry that is due has found: the ticks to run now, and when the next one is."""

    ticks: list[datetime]
    next_run: datetime
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """One periodic task: an entry of ``beat_schedule``, checked.

    ``catch_up`` says what becomes of the ticks that nobody was there for. ``"skip"`` runs the last of them if it is
    not older than five minutes (a restart, a deployment); ``"one"`` runs one for all of them, as Celery does;
    ``"all"`` runs each, at most the first 1,000.
    """

    name: str
    task: str
    schedule: BaseSchedule
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    catch_up: str = "skip"
    tz: tzinfo = UTC

    @property
    def spec(self) -> str:
        """The schedule and its time zone as text: when it changes, the next run is computed anew."""
        return f"{self.schedule!r} in {getattr(self.tz, 'key', None) or self.tz}"

    def next_run(self, after: datetime) -> datetime:
        """The first tick after ``after``, in UTC."""
        return self.schedule.next_run(after, tz=self.tz)

    def advance(self, due: datetime, now: datetime) -> Advance:
        """What to do at ``now`` about an entry whose next run was ``due``, which is not after ``now``."""
        following = self.schedule.resume(due, now, tz=self.tz)
        missed = self._from(due, now)
        if self.catch_up == "all":
            return Advance(missed, following, 0)
        if self.catch_up == "one":
            return Advance(missed[-1:], following, len(missed) - 1)
        begin = due if due >= now - GRACE else self.schedule.resume(due, now - GRACE, tz=self.tz)
        fresh = self._from(begin, now)[-1:]
        return Advance(fresh, following, len(missed) - len(fresh))

    def _from(self, tick: datetime, now: datetime) -> list[datetime]:
        ticks: list[datetime] = []
        while tick <= now and len(ticks) < MOST:
            ticks.append(tick)
            tick = self.next_run(tick)
        return ticks


def entry_from(
    schedule: float | timedelta | BaseSchedule,
    sig: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    **opts: Any,
) -> tuple[str, dict[str, Any]]:
    """The name and the entry that ``add_periodic_task`` puts into ``beat_schedule``; parameters as Celery's.

    ``sig`` is a signature, or a task. ``relative`` and ``catch_up`` among ``opts`` are the entry's, all others are
    options of ``apply_async``. Without a name it is the call as text, so that the same call twice is one entry.

    :raises ConfigError: if the schedule or another part is wrong.
    """
    own: dict[str, Any] = {key: opts.pop(key) for key in ("relative", "catch_up") if key in opts}
    signature: Mapping[str, Any] = sig if isinstance(sig, Mapping) else {"task": getattr(sig, "name", sig)}
    if signature.get("immutable"):
        args, kwargs = (), None
    entry: dict[str, Any] = {
        "task": signature.get("task"),
        "schedule": schedule,
        "args": (*args, *(signature.get("args") or ())),
        "kwargs": dict(signature.get("kwargs") or {}) | dict(kwargs or {}),
        "options": dict(signature.get("options") or {}) | opts,
        **own,
    }
    key = name or _call(entry)
    _entry(key, entry, UTC)
    return key, entry


def read(beat_schedule: object, tz: tzinfo = UTC, catch_up: str = "skip") -> dict[str, ScheduleEntry]:
    """The checked entries of ``tasks.conf.beat_schedule``; ``tz`` is the application's time zone, and ``catch_up`` the
    policy of those that name none.

    :raises ConfigError: names the entry and its key that is wrong.
    """
    if not isinstance(beat_schedule, Mapping):
        raise ConfigError("beat_schedule", beat_schedule, 'a dict is allowed, as {"name": {"task": …, "schedule": …}}')
    return {name: _entry(name, given, tz, catch_up) for name, given in beat_schedule.items()}


def _entry(name: object, given: object, tz: tzinfo, catch_up: str = "skip") -> ScheduleEntry:
    key = f"beat_schedule[{name!r}]"
    if not isinstance(name, str) or not 0 < len(name) <= 500 or "\0" in name:
        raise ConfigError(key, name, "a name of 1 to 500 characters is allowed")
    if not isinstance(given, Mapping):
        raise ConfigError(key, given, 'a dict is allowed, as {"task": "name", "schedule": 30.0}')
    if unknown := set(given) - _KEYS:
        raise ConfigError(key, sorted(map(str, unknown)), f"the keys {', '.join(sorted(_KEYS))} are allowed")
    task = given.get("task")
    if not isinstance(task, str) or not task:
        raise ConfigError(f"{key}['task']", task, "the name of a task is needed")
    policy = given.get("catch_up", catch_up)
    if policy not in _POLICIES:
        raise ConfigError(f"{key}['catch_up']", policy, "'skip', 'one' and 'all' are allowed")
    args = given.get("args") or ()
    if isinstance(args, str | bytes | Mapping) or not isinstance(args, Sequence):
        raise ConfigError(f"{key}['args']", args, "a list or a tuple is allowed")
    when = _schedule(f"{key}['schedule']", given.get("schedule"), bool(given.get("relative", False)))
    return ScheduleEntry(
        name=name,
        task=task,
        schedule=when,
        args=tuple(args),
        kwargs=_words(f"{key}['kwargs']", given.get("kwargs")),
        options=_words(f"{key}['options']", given.get("options")),
        catch_up=policy,
        tz=getattr(when, "tz", None) or tz,
    )


def _words(key: str, value: object) -> dict[str, Any]:
    if value is None or value == ():
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(word, str) for word in value):
        raise ConfigError(key, value, "a dict whose keys are texts is allowed")
    return dict(value)


def _schedule(key: str, value: object, relative: bool) -> BaseSchedule:
    if isinstance(value, BaseSchedule):
        return value
    allowed = "seconds (at least 0.1), a timedelta, schedule() and crontab() are allowed"
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise ConfigError(key, value, allowed)
    try:
        return schedule(value, relative)
    except ConfigError:
        raise ConfigError(key, value, allowed) from None


def _call(entry: Mapping[str, Any]) -> str:
    words = [*map(repr, entry["args"]), *(f"{key}={value!r}" for key, value in sorted(entry["kwargs"].items()))]
    text = f"{entry['task']}({', '.join(words)})"
    return text if len(text) <= 500 else f"{text[:450]}…{blake2b(text.encode(), digest_size=12).hexdigest()}"
