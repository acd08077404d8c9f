"""Who may see, who may act, and that a form comes from our own page."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Any, Final

from quart import Response, current_app, request, session

from .problems import Problem

__all__ = ["FIELD", "Guard", "ask", "check_form", "form_token", "harden", "refuse_foreign"]

Guard = Callable[[], Any]
"""Answers ``True``, ``False`` or ``None`` (403), or a response, such as a redirect to the page where one logs in. Async
or not."""
FIELD: Final = "monitor_token"
_KEY: Final = "decant.monitor"


async def ask(guard: Guard) -> Any:
    """``None`` if it lets the request pass, else what to answer.

    :raises Problem: 403, where it says no. What the guard raises (``abort(401)``) is the application's.
    """
    said = await current_app.ensure_async(guard)()
    if said is True:
        return None
    if said is False or said is None:
        raise Problem(403, "You are not allowed to see this.")
    return said


def form_token() -> str | None:
    """The session's token, made at first use; ``None`` if the application has no sessions (no ``SECRET_KEY``)."""
    if not current_app.secret_key:
        return None
    token = session.get(_KEY)
    if not isinstance(token, str):
        token = session[_KEY] = secrets.token_urlsafe(32)
    return token


def refuse_foreign() -> None:
    """Refuse what the browser says a page of another site has sent.

    ``Sec-Fetch-Site`` decides where there is one, as over HTTPS: a proxy in front may leave us with another scheme or
    host than that of ``Origin``, and pages cannot set it.

    :raises Problem: 403.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    ours = origin is None or origin.lower() == f"{request.scheme}://{request.host}".lower()
    if not (ours if site is None else site in ("same-origin", "none")):
        raise Problem(403, "This was sent by a page of another site, and only pages of this one may send it.")


async def check_form() -> None:
    """Take a form only with the session's token.

    :raises Problem: 400 without it or with another one, 403 from another site.
    """
    refuse_foreign()
    expected, given = session.get(_KEY), (await request.form).get(FIELD, "")
    if not isinstance(expected, str) or not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        raise Problem(400, "This form is out of date, or your browser sent no session cookie. Reload the page and send"
                           " it again.")  # fmt: skip


def harden(response: Response) -> Response:
    """Headers of every answer, where the application has not set them."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
