"""What a response says of the limits."""

from __future__ import annotations

import time
from typing import Any

from werkzeug.http import http_date, parse_date

from .constants import HeaderNames
from .request_limit import RequestLimit

__all__ = ["add_headers"]


def add_headers(response: Any, shown: RequestLimit, names: dict[HeaderNames, str], retry_after: str | None) -> None:
    """Add the three headers of a limit, and ``Retry-After``, which an earlier one keeps if it is later.

    :param retry_after: ``"http-date"``, or else in seconds.
    """
    headers, now, reset_at = response.headers, time.time(), shown.reset_at
    headers.add(names[HeaderNames.LIMIT], str(shown.limit.amount))
    headers.add(names[HeaderNames.REMAINING], str(shown.remaining))
    headers.add(names[HeaderNames.RESET], str(reset_at))
    reset_at = max(_moment(headers.get(names[HeaderNames.RETRY_AFTER]), now), reset_at)
    headers.set(
        names[HeaderNames.RETRY_AFTER],
        http_date(reset_at) if retry_after == "http-date" else str(int(reset_at - now)),
    )


def _moment(value: str | None, now: float) -> int:
    """A ``Retry-After``, in seconds since the epoch."""
    if value is None:
        return 0
    date = parse_date(value)
    if date is not None:
        return int(date.timestamp())
    return int(now + int(value)) if value.isdigit() else 0
