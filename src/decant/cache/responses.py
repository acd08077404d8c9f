"""Responses, Quart's and Flask's: what of them is stored, and made again from what is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import quart
from quart.wrappers.response import DataBody
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.sansio.response import Response as AnyResponse
from werkzeug.wrappers import Response as WerkzeugResponse

from ..context import current_app, on_quart
from ..faces import called
from .entries import StoredError, StoredResponse, can_store_error
from .utils import Timeout, normalize_timeout

__all__ = [
    "CachedResponse",
    "Uncacheable",
    "add_vary",
    "conditional",
    "freeze",
    "is_response",
    "made_response",
    "sets_cookie",
    "thaw",
    "ttl_of",
    "with_headers",
]


class Uncacheable(Exception):
    """What a view returned cannot or must not be stored; it is answered all the same."""


_kinds: dict[type, type] = {}


class CachedResponse:
    """A view's response with a time to live of its own: ``return CachedResponse(await make_response(…), 60)``.

    It is a response of the same class as the one that is given. Follows ``flask_caching.CachedResponse``.

    :param timeout: seconds, or a ``timedelta``; ``None``: the decorator's.
    """

    timeout: Any

    def __new__(cls, response: Any, timeout: Timeout | None) -> Any:
        if cls is not CachedResponse:
            return object.__new__(cls)
        kind = type(response)
        if kind not in _kinds:
            _kinds[kind] = type(f"Cached{kind.__name__}", (CachedResponse, kind), {"__module__": kind.__module__})
        made: Any = object.__new__(_kinds[kind])
        made.__init__(response, timeout)
        return made

    def __init__(self, response: Any, timeout: Timeout | None) -> None:
        self.__dict__ = dict(vars(response))
        # Quart's responses have a timeout of their own, for sending: it is put back before they are sent.
        self._send_timeout = vars(response).get("timeout", ...)
        self.timeout = normalize_timeout(timeout)


CachedResponse.__init__.__annotations__["return"] = None  # the value, as inspect.signature shows it of Flask-Caching's


def ttl_of(value: Any) -> float | None:
    """The time to live that a response asks for; afterwards its ``timeout`` is the framework's again."""
    if not isinstance(value, CachedResponse) or "_send_timeout" not in vars(value):
        return None
    ttl: float | None = value.timeout
    value.timeout = vars(value).pop("_send_timeout")
    return ttl


def is_response(value: Any) -> bool:
    return isinstance(value, AnyResponse)


async def made_response(value: Any) -> Any:
    """What a view returned, as the application's response."""
    if isinstance(value, HTTPException):
        value = value.get_response()
    app = current_app()
    return await app.make_response(value) if on_quart(app) else app.make_response(value)


def sets_cookie(value: Any) -> bool:
    """Whether what a view returned sets a cookie."""
    if isinstance(value, HTTPException) and value.response is not None:
        value = value.response
    if is_response(value):
        return "Set-Cookie" in value.headers
    if isinstance(value, tuple):
        return sets_cookie(value[0]) or (len(value) > 1 and "Set-Cookie" in _headers(value[-1]))
    return False


def _headers(value: Any) -> Headers:
    return Headers(value) if isinstance(value, dict | list | tuple | Headers) else Headers()


async def freeze(value: Any) -> Any:
    """What is stored for what a view returned.

    :raises Uncacheable: for streams and files, and for HTTP errors of one's own.
    """
    if isinstance(value, HTTPException):
        if not can_store_error(value):
            raise Uncacheable(f"{type(value).__qualname__} is not one of Werkzeug's own HTTP errors")
        return StoredError.of(value)
    if is_response(value):
        return StoredResponse(await _body(value), value.status_code, list(value.headers.items()))
    if type(value) is tuple and value and (is_response(value[0]) or any(type(item) is Headers for item in value)):
        return tuple([await freeze(item) if is_response(item) else _as_pairs(item) for item in value])
    return value


def _as_pairs(item: Any) -> Any:
    return list(item.items()) if type(item) is Headers else item


async def _body(response: Any) -> bytes:
    if isinstance(response, WerkzeugResponse):
        if not response.is_sequence or response.direct_passthrough:
            raise Uncacheable("a streamed response is not cached")
    elif not isinstance(response.response, DataBody):
        raise Uncacheable("a streamed response is not cached")
    body: bytes = await called(response.get_data, as_text=False)
    return body


def thaw(value: Any) -> Any:
    """What a view would have returned, from what is stored; an HTTP error to be raised."""
    if isinstance(value, StoredResponse):
        return _response_class()(value.body, value.status, Headers(value.headers))
    if isinstance(value, WerkzeugResponse) and on_quart(current_app()):  # Flask-Caching's
        return _response_class()(value.get_data(), value.status_code, Headers(list(value.headers.items())))
    if isinstance(value, StoredError):
        return value.error()
    if type(value) is tuple and value and isinstance(value[0], StoredResponse):
        return (thaw(value[0]), *value[1:])
    return value


def _response_class() -> Any:
    return current_app().response_class


def etag_of(body: bytes) -> str:
    """A strong validator of a body."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def with_headers(stored: StoredResponse, *, etag: bool, vary: Iterable[str]) -> StoredResponse:
    """The same with an ``ETag``, unless it has one, and with what it varies by."""
    headers = Headers(stored.headers)
    if etag and stored.status == 200:
        headers.setdefault("ETag", etag_of(stored.body))
    add_vary(headers, vary)
    return StoredResponse(stored.body, stored.status, list(headers.items()))


def add_vary(headers: Headers, names: Iterable[str]) -> None:
    """Add to ``Vary`` what it lacks."""
    there = [name.strip() for value in headers.getlist("Vary") for name in value.split(",") if name.strip()]
    known = {name.lower() for name in there}
    missing = [name for name in names if name.lower() not in known]
    if missing and "*" not in known:
        headers["Vary"] = ", ".join([*there, *missing])


async def conditional(response: Any, request: Any) -> Any:
    """The response, or 304 if the client has it."""
    if isinstance(response, quart.Response):
        return await response.make_conditional(request)
    return response.make_conditional(request)
