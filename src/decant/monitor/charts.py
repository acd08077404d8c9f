"""Charts as SVG, drawn by the server: no script, no style of their own, colours by the classes of the style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from markupsafe import Markup

from .history import Period

__all__ = ["Series", "bars", "lines", "nice_ceiling"]

WIDTH: Final = 480
HEIGHT: Final = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 10, 26
_INNER: Final = WIDTH - _LEFT - _RIGHT
_TALL: Final = HEIGHT - _TOP - _BOTTOM
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart: its label, the class that gives the colour, a value per slot."""

    label: str
    css: str
    values: Sequence[float]


def nice_ceiling(value: float) -> float:
    """The next number of which the axis has good ticks: 1, 2, 4, 5 or 8 times a power of ten; at least 0.001.

    >>> [nice_ceiling(value) for value in (0, 0.7, 3, 4.1, 9, 1300)]
    [1.0, 0.8, 4.0, 5.0, 10.0, 2000.0]
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(max(value, 0.001)))
    return next(round(step * power, 6) for step in (1, 2, 4, 5, 8, 10) if value <= step * power * 1.000001)


def bars(
    title: str,
    summary: str,
    period: Period,
    starts: Sequence[datetime],
    series: Sequence[Series],
    *,
    whole: bool = True,
) -> Markup:
    """Stacked bars, one per slot; ``whole``: the numbers are counts."""
    sums = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
    top = nice_ceiling(max(sums, default=0))
    top = max(top, _TICKS) if whole else top
    step = _INNER / len(starts)
    width = max(step - 1.5, 1.0)
    drawn = []
    for index, start in enumerate(starts):
        base = 0.0
        pieces = []
        for one in series:
            value = one.values[index]
            if value:
                high = max(value / top * _TALL, 1.0)
                y = _TOP + _TALL - base - high
                pieces.append(
                    f'<rect class="{one.css}" x="{_LEFT + index * step:.1f}" y="{y:.1f}" width="{width:.1f}"'
                    f' height="{high:.1f}"/>'
                )
                base += high
        if pieces:
            said = ", ".join(f"{one.label.lower()} {one.values[index]:,}" for one in series if one.values[index])
            drawn.append(f"<g><title>{_clock(start, period)}: {Markup.escape(said)}</title>{''.join(pieces)}</g>")
    return _svg(title, summary, top, period, starts, "".join(drawn), lambda value: f"{value:,.0f}")


def lines(
    title: str,
    summary: str,
    period: Period,
    starts: Sequence[datetime],
    series: Sequence[Series],
    label: Callable[[float], str],
) -> Markup:
    """Lines through the slots; where a value is not a number there is a gap."""
    known = [value for one in series for value in one.values if not math.isnan(value)]
    top = nice_ceiling(max(known, default=0))
    step = _INNER / len(starts)
    drawn = []
    for one in series:
        points = [
            None if math.isnan(value) else (_LEFT + (index + 0.5) * step, _TOP + _TALL - value / top * _TALL)
            for index, value in enumerate(one.values)
        ]
        drawn.append(f'<path class="line {one.css}" d="{_path(points)}"/>')
    return _svg(title, summary, top, period, starts, "".join(drawn), label)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    pieces, gap = [], True
    for index, point in enumerate(points):
        if point is None:
            gap = True
            continue
        alone = gap and (index + 1 == len(points) or points[index + 1] is None)
        pieces.append(f"{'M' if gap else 'L'}{point[0]:.1f} {point[1]:.1f}{'h.01' if alone else ''}")
        gap = False
    return "".join(pieces)


def _clock(when: datetime, period: Period) -> str:
    return f"{when:%a %H:%M}" if period.length.days > 1 else f"{when:%H:%M}"


def _svg(
    title: str,
    summary: str,
    top: float,
    period: Period,
    starts: Sequence[datetime],
    drawn: str,
    label: Callable[[float], str],
) -> Markup:
    grid = []
    for tick in range(_TICKS + 1):
        y = _TOP + _TALL - tick * _TALL / _TICKS
        grid.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        grid.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label(top * tick / _TICKS)}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        index = min(round(share * len(starts)), len(starts) - 1)
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        x = _LEFT + share * _INNER
        grid.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{_clock(starts[index], period)}</text>')
    described = Markup.escape(summary)
    return Markup(  # noqa: S704  (numbers, classes of ours and what was escaped)
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{Markup.escape(title)}: {described}">'
        f"{''.join(grid)}{drawn}</svg>"
    )
