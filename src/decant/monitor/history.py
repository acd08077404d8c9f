"""What was done, minute by minute, as the workers wrote it down: the figures of the charts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

__all__ = ["PERIODS", "History", "Period", "Slot", "TaskFigures", "busiest_tasks", "history"]


@dataclass(frozen=True, slots=True)
class Period:
    """How far a chart looks back, and how much each of its slots adds up."""

    name: str
    label: str
    length: timedelta
    step: timedelta

    @property
    def slots(self) -> int:
        return self.length // self.step

    @property
    def past(self) -> str:
        """To be read after "the last"."""
        return self.label.removeprefix("1 ")


PERIODS: Final = {
    period.name: period
    for period in (
        Period("1h", "1 hour", timedelta(hours=1), timedelta(minutes=1)),
        Period("6h", "6 hours", timedelta(hours=6), timedelta(minutes=5)),
        Period("24h", "24 hours", timedelta(hours=24), timedelta(minutes=20)),
        Period("7d", "7 days", timedelta(days=7), timedelta(hours=3)),
    )
}


@dataclass(frozen=True, slots=True)
class Slot:
    """What ended from ``start`` on. Seconds: ``run_s`` and ``wait_s`` are averages, ``run_max_s`` is the longest."""

    start: datetime
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    run_s: float = 0.0
    run_max_s: float = 0.0
    wait_s: float = 0.0

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class History:
    """The slots of a period, the oldest first, also those in which nothing ended."""

    period: Period
    slots: list[Slot]

    @property
    def total(self) -> Slot:
        """All of it."""
        attempts = sum(slot.ended + slot.retried for slot in self.slots)
        return Slot(
            self.slots[0].start,
            sum(slot.succeeded for slot in self.slots),
            sum(slot.failed for slot in self.slots),
            sum(slot.retried for slot in self.slots),
            _mean(sum(slot.run_s * (slot.ended + slot.retried) for slot in self.slots), attempts),
            max(slot.run_max_s for slot in self.slots),
            _mean(sum(slot.wait_s * (slot.ended + slot.retried) for slot in self.slots), attempts),
        )


def _mean(total: float, number: int) -> float:
    return total / number if number else 0.0


_SUMS: Final = """
    sum(succeeded)::bigint AS succeeded, sum(failed)::bigint AS failed, sum(retried)::bigint AS retried,
    sum(run_s) AS run_s, max(run_max_s) AS run_max_s, sum(wait_s) AS wait_s"""
_OF_WORKER: Final = " AND worker = $3"
HISTORY: Final = f"""
SELECT date_bin($1::interval, minute, 'epoch'::timestamptz) AS start, {_SUMS}
FROM decant_stats WHERE minute >= $2{{}} GROUP BY 1 ORDER BY 1
"""  # noqa: S608
BUSIEST: Final = f"""
SELECT task, {_SUMS} FROM decant_stats WHERE minute >= $1{{}}
GROUP BY task ORDER BY sum(succeeded + failed + retried) DESC, task LIMIT 20
"""  # noqa: S608


def _since(period: Period, now: datetime) -> datetime:
    """The start of the first slot."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + ((now - epoch) // period.step - period.slots + 1) * period.step


def _slot(start: datetime, row: Any) -> Slot:
    attempts = row["succeeded"] + row["failed"] + row["retried"]
    return Slot(
        start,
        row["succeeded"],
        row["failed"],
        row["retried"],
        _mean(row["run_s"], attempts),
        row["run_max_s"],
        _mean(row["wait_s"], attempts),
    )


async def history(connection: Any, period: Period, now: datetime, worker: str | None = None) -> History:
    """The figures of all tasks, by all workers or by one, until ``now``."""
    since = _since(period, now)
    given = [period.step, since] + ([worker] if worker else [])
    rows = await connection.fetch(HISTORY.format(_OF_WORKER if worker else ""), *given)
    found = {row["start"]: _slot(row["start"], row) for row in rows}
    starts = [since + index * period.step for index in range(period.slots)]
    return History(period, [found.get(start, Slot(start)) for start in starts])


@dataclass(frozen=True, slots=True)
class TaskFigures:
    task: str
    figures: Slot


async def busiest_tasks(connection: Any, period: Period, now: datetime) -> list[TaskFigures]:
    """The 20 tasks of which the most ended."""
    since = _since(period, now)
    rows = await connection.fetch(BUSIEST.format(""), since)
    return [TaskFigures(row["task"], _slot(since, row)) for row in rows]
