"""The test client's cookies: Flask's rules and views of them, in the cookie jar that Quart's client has.

As in Flask's client, a cookie is sent where its domain and path match; its other attributes, ``Secure`` among
them, can be asked for but do not decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import cookiejar
from typing import Any

from werkzeug.http import dump_cookie, parse_cookie, parse_date

__all__ = ["Cookie", "delete", "find", "header_for", "store", "store_value"]


@dataclass(frozen=True)
class Cookie:
    """What :meth:`~decant.testing.Client.get_cookie` returns: the attributes of Werkzeug's test cookie.

    ``key`` and ``value`` are as sent, ``decoded_key`` and ``decoded_value`` as the application sees them;
    ``max_age`` is in seconds; ``origin_only`` is whether subdomains do not get it.
    """

    key: str
    value: str
    decoded_key: str
    decoded_value: str
    expires: datetime | None
    max_age: int | None
    domain: str
    origin_only: bool
    path: str
    secure: bool | None
    http_only: bool | None
    same_site: str | None


def _decoded(name: str, value: str) -> tuple[str, str]:
    return next(iter(parse_cookie(f"{name}={value}").items()), (name, value))


def _view(stored: cookiejar.Cookie) -> Cookie:
    value = stored.value or ""
    max_age = stored.get_nonstandard_attr("Max-Age")
    return Cookie(
        stored.name,
        value,
        *_decoded(stored.name, value),
        expires=None if stored.expires is None else datetime.fromtimestamp(stored.expires, UTC),
        max_age=None if max_age is None else int(max_age),
        domain=stored.domain,
        origin_only=not stored.domain_specified,
        path=stored.path,
        secure=stored.secure,
        http_only=stored.has_nonstandard_attr("HttpOnly"),
        same_site=stored.get_nonstandard_attr("SameSite"),
    )


def _matches(stored: cookiejar.Cookie, host: str, path: str) -> bool:
    if host != stored.domain and not (stored.domain_specified and host.endswith(f".{stored.domain}")):
        return False
    return path == stored.path or path.startswith(stored.path.rstrip("/") + "/")


def header_for(jar: cookiejar.CookieJar, host: str, path: str) -> str:
    """The value of the ``Cookie`` header for a request, or an empty string."""
    return "; ".join(f"{cookie.name}={cookie.value or ''}" for cookie in jar if _matches(cookie, host, path))


def find(jar: cookiejar.CookieJar, key: str, domain: str, path: str) -> Cookie | None:
    """The cookie of this (decoded) name that was set for exactly this domain and path."""
    for stored in jar:
        if stored.domain == domain and stored.path == path and key in {stored.name, _view(stored).decoded_key}:
            return _view(stored)
    return None


def delete(jar: cookiejar.CookieJar, key: str, domain: str, path: str) -> None:
    """Remove that cookie, if it is there."""
    found = find(jar, key, domain, path)
    if found is not None:
        jar.clear(domain, path, found.key)


def store_value(jar: cookiejar.CookieJar, key: str, value: str, domain: str, origin_only: bool, **kwargs: Any) -> None:
    """Store a cookie that no response has set; ``kwargs`` are those of Werkzeug's ``dump_cookie``."""
    header = dump_cookie(key, value, domain=None if origin_only else domain, **kwargs)
    store(jar, domain, "/", header)


def store(jar: cookiejar.CookieJar, host: str, path: str, header: str) -> None:
    """Store what a ``Set-Cookie`` header of a response from ``host`` and ``path`` says; or delete it."""
    pair, _, rest = header.partition(";")
    name, _, value = (part.strip(" \t") for part in pair.partition("="))
    parameters: dict[str, str | None] = {}
    for item in rest.split(";"):
        key, separator, argument = (part.strip(" \t") for part in item.partition("="))
        parameters[key.lower()] = argument if separator else None
    expires = parse_date(parameters.get("expires"))
    domain = (parameters.get("domain") or host).lstrip(".")
    at = parameters.get("path") or path.rpartition("/")[0] or "/"
    if parameters.get("max-age") == "0" or (expires is not None and expires.timestamp() == 0):
        delete(jar, _decoded(name, value)[0], domain, at)
        return
    names = {"max-age": "Max-Age", "httponly": "HttpOnly", "samesite": "SameSite"}
    jar.set_cookie(
        cookiejar.Cookie(
            version=0,
            name=name,
            value=value,
            port=None,
            port_specified=False,
            domain=domain,
            domain_specified="domain" in parameters,
            domain_initial_dot=False,
            path=at,
            path_specified="path" in parameters,
            secure="secure" in parameters,
            expires=None if expires is None else int(expires.timestamp()),
            discard=expires is None,
            comment=None,
            comment_url=None,
            rest={label: parameters[key] or "" for key, label in names.items() if key in parameters},
        )
    )
