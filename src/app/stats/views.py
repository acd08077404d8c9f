"""The chart of a link's clicks by day, and the table that says the same without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from quart import abort

from ..models import Link
from .days import clicks_by_day

__all__ = ["PERIODS", "Chart", "chart"]

PERIODS = (7, 30, 90, 365)


@dataclass(frozen=True)
class Chart:
    """Clicks on each of the last days in UTC, the oldest first, days without any included."""

    period: int
    days: list[date]
    clicks: list[int]

    @property
    def total(self) -> int:
        return sum(self.clicks)

    @property
    def data(self) -> dict[str, list[int]]:
        """What the page's script draws: days as seconds since 1970."""
        epoch = date(1970, 1, 1)
        return {"days": [(day - epoch).days * 86_400 for day in self.days], "clicks": self.clicks}

    @property
    def rows(self) -> list[tuple[date, int]]:
        """Days that have clicks, the newest first."""
        return [(day, clicks) for day, clicks in zip(self.days, self.clicks, strict=True) if clicks][::-1]


async def chart(link: Link, period: str | None) -> Chart:
    """The last ``period`` days, one of :data:`PERIODS`, 30 if None; any other is answered with 400."""
    chosen = next((days for days in PERIODS if str(days) == (period or "30")), None)
    if chosen is None:
        abort(400, f"days={(period or '')[:40]!r} is not one of {', '.join(map(str, PERIODS))}.")
    today = datetime.now(UTC).date()
    by_day = await clicks_by_day(link, today - timedelta(days=chosen - 1), today)
    return Chart(chosen, list(by_day), list(by_day.values()))
