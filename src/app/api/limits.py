"""How often the API may be asked."""

from __future__ import annotations

from quart import g

from ..extensions import limiter
from ..web.limits import rate

__all__ = ["count_refusal", "count_request"]


async def count_request(caller: str) -> None:
    """A request of somebody who is known: 429 if it is one too many. ``caller``: a token, or the user of a session."""
    g.api_caller = caller
    await _count_request()


@limiter.shared_limit(
    rate("RATE_API"),
    "api",
    key_func=lambda: g.api_caller,
    error_message="More requests than the API takes from you in this time. Retry-After says when to go on.",
)
async def _count_request() -> None: ...


@limiter.shared_limit(
    rate("RATE_API_REFUSED"),
    "api-refused",
    error_message="Too many requests from your address had tokens that are not valid.",
)
async def count_refusal() -> None:
    """A request with a token that is nobody's, counted by address: 429 instead of 401 if it is one too many."""
