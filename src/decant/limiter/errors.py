"""What a limited request is answered with."""

from __future__ import annotations

from typing import Any

from limits.errors import ConfigurationError
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from ..errors import ConfigError
from .definitions import RuntimeLimit

__all__ = ["ConcurrencyExceeded", "LimiterConfigError", "RateLimitExceeded"]


class RateLimitExceeded(TooManyRequests):
    """A limit is breached: 429.

    :ivar limit: which one; its ``limit`` says how many, and in what time.
    :ivar response: what ``on_breach`` returned, if it was a response.
    """

    def __init__(self, limit: RuntimeLimit, response: Any = None, description: str | None = None) -> None:
        self.limit = limit
        super().__init__(description=description or str(limit.limit), response=response)


class ConcurrencyExceeded(ServiceUnavailable):
    """Too many requests at once, and no place in the queue, or none in time: 503 with ``Retry-After``."""


class LimiterConfigError(ConfigError, ConfigurationError):
    """A wrong strategy or storage: also the ``ConfigurationError`` of ``limits``, as Flask-Limiter raises it."""
