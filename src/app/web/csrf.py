"""Forms are taken only from our own pages: by a token, and by where the browser says the form came from.

Views of a blueprint given to :func:`exempt` are not checked: those of the JSON API, which wants a bearer token,
that no other site's page can make a browser send; where it takes the session instead, it checks by itself.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from quart import Blueprint, Quart, abort, current_app, request, session

__all__ = ["csrf_token", "exempt", "init_csrf", "is_token", "own_origins", "refuse_foreign", "renew_token"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_KEY = "csrf"


def csrf_token() -> str:
    """The session's token, made at first use; forms send it as ``csrf_token``, scripts as ``X-CSRF-Token``."""
    token = session.get(_KEY)
    if not isinstance(token, str):
        token = renew_token()
    return token


def renew_token() -> str:
    """A new token: at log-in, so that what was known of the session before is worth nothing."""
    token = secrets.token_urlsafe(32)
    session[_KEY] = token
    return token


def own_origins() -> set[str]:
    """The origins that our pages have: the request's own, and PUBLIC_URL."""
    origins = {f"{request.scheme}://{request.host}".lower()}
    if public := current_app.config["PUBLIC_URL"]:
        origins.add(public)
    return origins


def exempt(app: Quart, blueprint: Blueprint) -> None:
    """Do not check the views of a blueprint."""
    app.extensions["csrf_exempt"].add(blueprint.name)


def refuse_foreign() -> None:
    """Answer 403 if the browser says that a page of another site has sent this request."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() not in own_origins():
        abort(403, f"This form was sent by a page of {origin[:100]!r}, and only our own pages may send it.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(403, "This form was sent by a page of another site, and only our own pages may send it.")


def is_token(given: str) -> bool:
    """Whether it is the session's token."""
    expected = session.get(_KEY)
    return isinstance(expected, str) and hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


async def _check() -> None:
    blueprints: list[str] = request.blueprints if request.url_rule is not None else []
    if request.method in _SAFE or request.url_rule is None:
        return
    if not current_app.extensions["csrf_exempt"].isdisjoint(blueprints):
        return
    refuse_foreign()
    given: Any = request.headers.get("X-CSRF-Token")
    if given is None:
        if request.mimetype not in _FORMS:
            abort(415, "This page takes forms: application/x-www-form-urlencoded or multipart/form-data.")
        given = (await request.form).get("csrf_token", "")
    if not isinstance(session.get(_KEY), str):
        abort(
            400,
            "Your browser sent no session cookie, or an expired one. Go back, reload the page and send the form"
            " again. Cookies must be allowed, and over plain HTTP they are kept only on this machine.",
        )
    if not is_token(given):
        abort(400, "This form is out of date. Go back, reload the page and send it again.")


def init_csrf(app: Quart) -> None:
    """Check every form, and give templates ``csrf_token()``."""
    app.extensions["csrf_exempt"] = set()
    app.before_request(_check)
    app.jinja_env.globals["csrf_token"] = csrf_token
