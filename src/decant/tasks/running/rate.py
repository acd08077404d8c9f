"""Rate limits of tasks, Celery's: so many starts in a second, a minute or an hour, per worker."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import Final

from ..options import per_second

__all__ = ["Bucket", "Rates"]

_OVERDUE_S: Final = 5.0
_MOST_WAITING: Final = 10_000
RateLimit = str | int | float | None


class Bucket:
    """A token bucket that holds one token, as Celery's: starts are spread evenly, not in bursts.

    Who must wait is told for how long, each a different time, and comes before others when that has passed. Those
    who come late, several at once, start at once, so that a slow poll does not lower the rate.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free_at = 0.0
        self._waiting: OrderedDict[str, float] = OrderedDict()  # who shall come when, in that order

    def take(self, who: str, now: float | None = None) -> float:
        """0 if ``who`` may start now, else the seconds after which to ask again."""
        now = monotonic() if now is None else now
        self._forget(now)
        turn = self._waiting.get(who)
        if self._free_at <= now and (turn is not None or not self._someone_due(now)):
            self._waiting.pop(who, None)
            came = now if turn is None else min(turn, now)  # who was told to wait loses nothing by coming late
            self._free_at = max(self._free_at, came) + 1 / self.rate
            return 0.0
        if turn is None or turn <= now:
            self._waiting.pop(who, None)
            turn = self._next_turn(now)
            if len(self._waiting) < _MOST_WAITING:
                self._waiting[who] = turn
        return turn - now

    def _next_turn(self, now: float) -> float:
        last = next(reversed(self._waiting.values()), None)
        return max(self._free_at, now) if last is None else max(last + 1 / self.rate, self._free_at, now)

    def _someone_due(self, now: float) -> bool:
        return next(iter(self._waiting.values()), now + 1) <= now

    def _forget(self, now: float) -> None:
        """Those that did not come: another worker runs them, or they were revoked."""
        while self._waiting and next(iter(self._waiting.values())) < now - _OVERDUE_S:
            self._waiting.popitem(last=False)


class Rates:
    """The limits of one worker: what the tasks say, unless it was set otherwise at run time."""

    def __init__(self) -> None:
        self._set: dict[str, float] = {}
        self._buckets: dict[str, Bucket] = {}

    def set(self, task: str, limit: RateLimit) -> None:
        """Limit a task from now on, whatever it says itself; ``None`` or 0 lifts the limit.

        :raises ConfigError: if the limit cannot be understood.
        """
        self._set[task] = per_second(limit)

    def delay(self, task: str, limit: RateLimit, job: str) -> float:
        """0 if this job of a task with this limit may start now, else the seconds until it may ask again."""
        rate = self._set[task] if task in self._set else per_second(limit)
        if not rate:
            self._buckets.pop(task, None)
            return 0.0
        bucket = self._buckets.get(task)
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[task] = Bucket(rate)
        return bucket.take(job)
