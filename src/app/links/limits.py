"""How many links a user may make, on the pages and with the API together."""

from __future__ import annotations

from ..accounts.current import require_user
from ..extensions import limiter
from ..web.limits import rate

__all__ = ["count_new_link"]


async def _user() -> str:
    return f"user:{(await require_user()).id}"


@limiter.shared_limit(
    rate("RATE_LINKS"),
    "links",
    key_func=_user,
    error_message="You have made many links in a short time. Wait a while.",
)
async def count_new_link() -> None:
    """To be awaited before a link is made, when its fields have been found right: 429 if it is one too many."""
