"""The WSGI environ of a request that came over ASGI, as Gunicorn and Werkzeug would make it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from .files import FileWrapper

__all__ = ["EXTRA", "SOFTWARE", "environ_of"]

Scope = MutableMapping[str, Any]
EXTRA: Final = "decant.environ"
"""The key in an ASGI scope of what is added to the environ: from a test client, or middleware that knows a user."""
SOFTWARE: Final = f"decant/{version('quart-decant')}"
_SCHEMES: Final = {"ws": "http", "wss": "https"}
_OWN: Final = {"CONTENT_TYPE", "CONTENT_LENGTH"}
_USUAL: Final = 40  # bytes of a header's name that is remembered
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def environ_of(scope: Scope, stream: Any, *, multiprocess: bool = False) -> dict[str, Any]:
    """The environ of PEP 3333 for an ASGI scope, ``http`` or ``websocket``.

    As Gunicorn's: ``PATH_INFO`` is what the percent-encoding stands for, one character a byte; headers that are
    repeated are joined by a comma, and those with an underscore in their name dropped, since they could pose as
    another. What differs: several ``Cookie`` headers, as HTTP/2 sends them, are joined by a semicolon. The scope
    itself is ``asgi.scope``.

    :param stream: the ``wsgi.input``.
    """
    scheme = scope.get("scheme", "http")
    target = _target(scope)
    query = scope.get("query_string", b"").decode("latin-1")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "QUERY_STRING": query,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_PROTOCOL": _protocol(scope.get("http_version", "1.1")),
        "SERVER_SOFTWARE": SOFTWARE,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": _SCHEMES.get(scheme, scheme),
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "asgi.scope": scope,
    }
    _add_headers(environ, scope.get("headers", ()))
    _add_path(environ, scope)
    _add_addresses(environ, scope)
    environ.update(scope.get(EXTRA, ()))
    return environ


def _protocol(http_version: str) -> str:
    return f"HTTP/{http_version}" if "." in http_version else f"HTTP/{http_version}.0"


def _target(scope: Scope) -> str:
    """The request target as it was sent."""
    raw, query = scope.get("raw_path") or b"", scope.get("query_string") or b""
    target: bytes = raw.partition(b"?")[0] + (b"?" + query if query else b"")
    return target.decode("latin-1")


def _add_headers(environ: dict[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        key = _key(name) if len(name) <= _USUAL else _key.__wrapped__(name)
        if not key:
            continue
        text = value.decode("latin-1")
        if key in environ and key not in _OWN:
            joint = "; " if key == "HTTP_COOKIE" else ","
            text = f"{environ[key]}{joint}{text}"
        environ[key] = text


@lru_cache(maxsize=256)
def _key(name: bytes) -> str:
    """The key for a header; none if it could pose as another."""
    if b"_" in name:
        return ""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in _OWN else f"HTTP_{key}"


def _add_path(environ: dict[str, Any], scope: Scope) -> None:
    """``SCRIPT_NAME`` and ``PATH_INFO``: latin-1 text of the bytes that the client meant."""
    path = _path(scope).decode("latin-1")
    root = scope.get("root_path", "")
    if root:
        root = root.rstrip("/").encode("utf-8", "surrogateescape").decode("latin-1")
        if path == root or path.startswith(f"{root}/"):
            path = path[len(root) :]
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = root, path


def _path(scope: Scope) -> bytes:
    """From ``raw_path``, whose bytes need not be UTF-8; from ``path``, where middleware has changed that."""
    path: str = scope["path"]
    raw: bytes = (scope.get("raw_path") or b"").partition(b"?")[0]
    if not raw or _unquoted(raw).decode("utf-8", "replace") != path:
        return path.encode("utf-8", "surrogateescape")
    raw = raw.partition(b"#")[0]
    if raw[:1] not in (b"/", b"*"):  # the absolute form: http://host/path
        _, slash, rest = raw.partition(b"://")[2].partition(b"/")
        raw = slash + rest or b"/"
    return _unquoted(raw)


def _unquoted(raw: bytes) -> bytes:
    return unquote_to_bytes(raw) if b"%" in raw else raw


def _add_addresses(environ: dict[str, Any], scope: Scope) -> None:
    client, server = scope.get("client"), scope.get("server")
    environ["REMOTE_ADDR"] = client[0] if client else ""
    if client:
        environ["REMOTE_PORT"] = str(client[1])
    name, port = (server[0], server[1]) if server else ("", None)
    if port is None:  # a Unix socket
        host, _, number = environ.get("HTTP_HOST", "").rpartition(":")
        if not number.isdecimal():
            host, number = environ.get("HTTP_HOST", ""), _DEFAULT_PORTS.get(environ["wsgi.url_scheme"], "")
        name, port = host, number
    environ["SERVER_NAME"], environ["SERVER_PORT"] = name, str(port)
