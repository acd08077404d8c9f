"""Which other sites' pages may use the API: with a token, never with our cookies."""

from __future__ import annotations

import re

from quart import Quart

from decant.cors import CORS

__all__ = ["init_cors"]

_PATHS = r"^/api/v1/"  # also what is not found below it
_RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_READABLE = ("Link", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID", *_RATE)
_DAY_S = 86_400


def init_cors(app: Quart) -> None:
    """Allow the origins of CORS_ORIGINS; without any, nothing is said, and browsers refuse."""
    allowed: str | None = app.config["CORS_ORIGINS"]
    if allowed is None:
        return
    CORS(
        app,
        resources=_PATHS,
        # Compiled, since the brackets of an IPv6 address would make a text an expression.
        origins="*" if allowed == "*" else [re.compile(rf"{re.escape(one)}\Z") for one in allowed.split(",")],
        methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=_READABLE,
        send_wildcard=True,
        supports_credentials=False,
        always_send=False,
        max_age=_DAY_S,
    )
