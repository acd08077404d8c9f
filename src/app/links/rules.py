"""What the other fields of a link may be."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache

from quart import Quart

from ..web.converters import SLUG
from ..web.forms import Refused, plain_text

__all__ = ["MOST_TAGS", "MOST_VISITS", "expiry", "max_visits", "reserved_slugs", "slug", "tag_names", "title", "zones"]

MOST_TAGS, LONGEST_TAG, MOST_VISITS, LONGEST_TITLE = 10, 32, 1_000_000_000, 200
_SHORTEST_SLUG = 3
_SLUG = re.compile(SLUG)
_DIGITS = re.compile(r"[0-9]{1,12}")
# Words that pages of later versions, or what people look for on any site, may need.
_KEPT = frozenset(
    """
    about admin api assets contact docs help imprint legal metrics monitor openapi privacy socketio terms
    """.split()  # noqa: SIM905
)


def reserved_slugs(app: Quart) -> frozenset[str]:
    """The first segments of every path that the application routes, and some kept for later, in lower case."""
    routed = {rule.rule.split("/")[1].lower() for rule in app.url_map.iter_rules()}
    return frozenset(segment for segment in routed if segment and "<" not in segment) | _KEPT


def slug(value: str, *, reserved: Collection[str]) -> str | None:
    """The short name, 3–64 letters a–z, digits, ``-`` and ``_``, as written; None if it is left to us."""
    text = value.strip()
    if not text:
        return None
    if not _SHORTEST_SLUG <= len(text) <= 64:
        raise Refused(f"A short name has 3 to 64 characters; this one has {len(text)}.")
    if not _SLUG.fullmatch(text):
        raise Refused("A short name has only letters a–z, digits, - and _.")
    if text.lower() in reserved:
        raise Refused(f"The short name {text} is needed by this site itself. Choose another.")
    return text


def title(value: str) -> str | None:
    """One line of at most 200 characters, or None."""
    return plain_text(value, most=LONGEST_TITLE, what="A title") or None


@cache
def zones() -> dict[str, tzinfo]:
    """The time zones by name; read from disk once, before serving."""
    names = sorted(zoneinfo.available_timezones() - {"localtime"})
    return {"UTC": UTC, **{name: zoneinfo.ZoneInfo(name) for name in names if name != "UTC"}}


def expiry(value: str, zone: str = "UTC", *, now: datetime, unchanged: datetime | None = None) -> datetime | None:
    """A moment in UTC, or None: ISO 8601, in ``zone`` if it names no offset of its own.

    It must be after ``now``, unless it is the ``unchanged`` one of a link that is edited.
    """
    text = value.strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text[:40]!r} is not a date and time: 2030-12-31T23:59") from None
    if moment.tzinfo is None:
        found = zones().get(zone.strip() or "UTC")
        if found is None:
            raise Refused(f"{zone[:40]!r} is not a time zone: Europe/Berlin, America/New_York, UTC, …")
        moment = moment.replace(tzinfo=found)
    try:
        moment = moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise Refused("The year is out of range.") from None
    if moment != unchanged and moment <= now:
        raise Refused("The link would have expired already. Choose a moment in the future.")
    if moment > now + timedelta(days=100 * 366):
        raise Refused("Choose a moment in the next hundred years, or none.")
    return moment


def max_visits(value: str) -> int | None:
    """How many visits the link is good for, 1 to a milliard, or None."""
    text = value.strip()
    if not text:
        return None
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= MOST_VISITS:
        raise Refused(f"Give a whole number from 1 to {MOST_VISITS:,}, or nothing for no limit.")
    return int(text)


def tag_names(values: Iterable[str]) -> list[str]:
    """At most ten tags of at most 32 characters, in lower case, sorted, each once."""
    names = {plain_text(value, most=LONGEST_TAG, what="A tag").lower() for value in values} - {""}
    if len(names) > MOST_TAGS:
        raise Refused(f"A link may have at most {MOST_TAGS} tags; these are {len(names)}.")
    if any("," in name for name in names):
        raise Refused("A tag has no comma in it.")
    if any(len(name) > LONGEST_TAG for name in names):  # a few letters grow in lower case
        raise Refused(f"A tag may have at most {LONGEST_TAG} characters.")
    return sorted(names)
