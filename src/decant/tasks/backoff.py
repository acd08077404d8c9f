"""How long to wait before the next try, and which exceptions have one."""

from __future__ import annotations

import random
from typing import Any

from .errors import Ignore, Reject, Retry

__all__ = ["automatic", "countdown"]


def countdown(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """Seconds, as Celery's ``get_exponential_backoff_interval``: ``min(maximum, factor · 2^retries)``; with
    ``full_jitter`` a whole number of seconds between 0 and that.
    """
    seconds = min(maximum, factor * 2 ** min(retries, 64))
    return max(0, random.randrange(seconds + 1) if full_jitter else seconds)


def automatic(task: Any, error: BaseException) -> BaseException:
    """What an exception of a task becomes by ``autoretry_for``: a :exc:`Retry`, itself if there were enough of them,
    or itself.
    """
    options = task.options
    if isinstance(error, (Ignore, Retry, Reject, *options.dont_autoretry_for)):
        return error
    if not isinstance(error, options.autoretry_for):
        return error
    wanted: dict[str, Any] = dict(options.retry_kwargs)
    if options.retry_backoff:
        factor, retries = int(max(1.0, options.retry_backoff)), task.request.retries
        wanted["countdown"] = countdown(factor, retries, int(options.retry_backoff_max), options.retry_jitter)
    try:
        return task.retry(exc=error, throw=False, **wanted)  # type: ignore[no-any-return]
    except Exception as last:
        return last
