"""How often may be tried to log in, to change a password and to register."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec

from quart import request
from quart.typing import ResponseReturnValue

from ..extensions import limiter
from ..web.limits import rate
from .current import require_user

__all__ = ["count_mail", "limit_log_in", "limit_password", "limit_registering"]

P = ParamSpec("P")
_LONGEST = 64  # longer than any user name: what is longer is nobody's
_TRIED = "Too many attempts. Wait a few minutes, then try again."


async def _named_account() -> str:
    name = (await request.form).get("username", "")
    return f"account:{name.strip().lower()[:_LONGEST]}"


async def _own_account() -> str:
    return f"account:{(await require_user()).username}"


_by_account = limiter.shared_limit(
    rate("RATE_LOGIN_ACCOUNT"), "password", key_func=_named_account, error_message=_TRIED
)
_by_address = limiter.shared_limit(rate("RATE_LOGIN_ADDRESS"), "log-in", error_message=_TRIED)
limit_password = limiter.shared_limit(
    rate("RATE_LOGIN_ACCOUNT"), "password", key_func=_own_account, error_message=_TRIED
)
"""On what asks for the password of who is logged in: counts with the log-ins to that account."""
limit_registering = limiter.limit(
    rate("RATE_REGISTER"), error_message="Too many accounts were made from your address. Try again later."
)


@limiter.shared_limit(
    rate("RATE_MAIL"),
    "mail",
    key_func=_own_account,
    error_message="Several mails were sent to confirm an address. Look among the spam, or wait an hour.",
)
async def count_mail() -> None:
    """To be awaited before a mail is sent to an address that may be a stranger's: 429 if it is one too many."""


def limit_log_in(
    view: Callable[P, Awaitable[ResponseReturnValue]],
) -> Callable[P, Awaitable[ResponseReturnValue]]:
    """On the log-in: by the account that is tried, from wherever, and by the address, whichever accounts it tries."""
    limited: Callable[P, Awaitable[ResponseReturnValue]] = _by_address(_by_account(view))
    return limited
