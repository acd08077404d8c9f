"""The pages' templates: an environment of their own, compiled once, that the application's settings do not change."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from .facts import Count

__all__ = ["ago", "duration", "environment", "moment", "size"]

_FOLDER: Final = Path(__file__).parent / "templates"
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float | None) -> str:
    """A length of time for people.

    >>> [duration(value) for value in (None, 0.0004, 0.25, 3.21, 75, 7260, 200_000)]
    ['–', '0.4 ms', '250 ms', '3.2 s', '1 min 15 s', '2 h 1 min', '2 d 7 h']
    """
    if seconds is None or seconds != seconds:  # not a number
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    left, parts = round(seconds), []
    for length, unit in (*_UNITS, (1, "s")):
        if left >= length:
            parts.append(f"{left // length} {unit}")
            left %= length
    return " ".join(parts[:2])


def size(count: float | None) -> str:
    """Bytes for people.

    >>> [size(value) for value in (None, 900, 73_400_320)]
    ['–', '900 B', '70 MiB']
    """
    if count is None:
        return "–"
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def moment(when: datetime | None) -> Markup:
    """``<time>`` in UTC, to the second; the date only where it is not today's."""
    if when is None:
        return Markup("–")
    utc = when.astimezone(UTC)
    pattern = "%H:%M:%S" if utc.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M:%S"
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), f"{utc:{pattern}}")


def ago(when: datetime | None) -> str:
    """How long ago, or in how long."""
    if when is None:
        return "never"
    seconds = (datetime.now(UTC) - when).total_seconds()
    if abs(seconds) < 1:
        return "now"
    words = duration(float(int(abs(seconds)))).replace(".0 s", " s")
    return f"{words} ago" if seconds > 0 else f"in {words}"


def number(value: Any) -> str:
    return str(value) if isinstance(value, Count) else f"{value:,}"


@cache
def environment() -> Environment:
    """Jinja's, with all templates read and compiled: rendering does no I/O."""
    sources = {path.name: path.read_text("utf-8") for path in sorted(_FOLDER.glob("*.html"))}
    made = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(ago=ago, duration=duration, moment=moment, number=number, size=size)
    for name in sources:
        made.get_template(name)
    return made
