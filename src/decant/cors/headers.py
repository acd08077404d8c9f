"""What a response says to whom: the decision, and its headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from werkzeug.datastructures import Headers

from .options import Options, matches

__all__ = [
    "ALLOW_ORIGIN",
    "EVALUATED",
    "REQUEST_METHOD",
    "add_to",
    "allowed_headers",
    "allowed_origin",
    "headers_for",
    "is_preflight",
]

ALLOW_ORIGIN: Final = "Access-Control-Allow-Origin"
REQUEST_METHOD: Final = "Access-Control-Request-Method"
EVALUATED: Final = "_FLASK_CORS_EVALUATED"
"""Flask-CORS's own mark of a response that needs nothing more, so that both may be used in one application."""


def is_preflight(method: str, headers: Any) -> bool:
    """Whether a browser asks beforehand. ``headers`` may be any mapping that knows header names in any case."""
    return method == "OPTIONS" and bool(headers.get("Origin")) and bool(headers.get(REQUEST_METHOD))


def headers_for(options: Options, asked: Any, method: str) -> Headers:
    """The headers of the response to a request with the headers ``asked``; none where the origin is not allowed."""
    origin = asked.get("Origin")
    allowed = allowed_origin(options, origin)
    headers = Headers()
    if allowed is None:
        return headers
    headers.set(ALLOW_ORIGIN, allowed)
    if options.expose_headers:
        headers.set("Access-Control-Expose-Headers", options.expose_headers)
    if options.supports_credentials:
        headers.set("Access-Control-Allow-Credentials", "true")
    if asked.get("Access-Control-Request-Private-Network") == "true":
        headers.set("Access-Control-Allow-Private-Network", str(options.allow_private_network).lower())
    if method == "OPTIONS":
        _preflight(options, asked, headers)
    varies = len(options.origins) > 1 or isinstance(options.origins[0], re.Pattern)
    if options.vary_header and allowed != "*" and varies:
        headers.set("Vary", "Origin")
    return headers


def allowed_origin(options: Options, origin: str | None) -> str | None:
    """``Access-Control-Allow-Origin`` for a request's ``Origin``, or ``None``."""
    if origin:
        if options.any_origin and options.send_wildcard:
            return "*"
        return origin if any(matches(origin, pattern, fold=True) for pattern in options.origins) else None
    if not options.always_send:
        return None
    if options.any_origin:
        return None if options.supports_credentials else "*"
    return min((pattern for pattern in options.origins if isinstance(pattern, str)), default=None)


def _preflight(options: Options, asked: Any, headers: Headers) -> None:
    if not options.methods or asked.get(REQUEST_METHOD, "").upper() not in options.method_names:
        return
    allowed = allowed_headers(options, asked.get("Access-Control-Request-Headers"))
    if allowed:
        headers.set("Access-Control-Allow-Headers", allowed)
    if options.max_age is not None:
        headers.set("Access-Control-Max-Age", options.max_age)
    headers.set("Access-Control-Allow-Methods", options.methods)


def allowed_headers(options: Options, asked: str | None) -> str | None:
    """Those of the headers that are asked for, separated by commas, that are allowed; ``None`` if none is asked for."""
    if not asked:
        return None
    names = [name.strip() for name in asked.split(",")]
    return ", ".join(
        sorted(name for name in names if name and any(matches(name, one, fold=True) for one in options.allow_headers))
    )


def add_to(response: Any, options: Options, asked: Mapping[str, str], method: str) -> None:
    """Add the headers to a Quart, Flask or Werkzeug response that has none of them yet."""
    if hasattr(response, EVALUATED) or response.headers.get(ALLOW_ORIGIN):
        return
    headers = headers_for(options, asked, method)
    vary = headers.pop("Vary", None)
    response.headers.extend(headers)
    if vary is not None and not response.vary & {vary, "*"}:
        response.headers.add("Vary", vary)
