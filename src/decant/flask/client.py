"""Flask's test client, through ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from io import SEEK_CUR
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_from_bytes

from flask.testing import FlaskClient
from werkzeug.http import HTTP_STATUS_CODES

from ..bridge import wait
from .environ import EXTRA
from .exchange import ERRORS

if TYPE_CHECKING:
    from .shim import Asgi

__all__ = ["client_of"]

_HANDED_ON: Final = frozenset({"wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"})
_TARGET: Final = {"REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI"}
_ADDRESSES: Final = {"SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "REMOTE_PORT"}
_BODY: Final = {"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}
_MADE_ANEW: Final = _TARGET | _ADDRESSES | _BODY


def client_of(asgi: Asgi, **options: Any) -> FlaskClient:
    """``asgi.app.test_client()``, whose requests go through ``asgi``.

    What differs: a response is received whole before it is given, and ``client.application`` stands for the
    application.
    """
    app = asgi.app
    kind: Any = app.test_client_class or FlaskClient
    client: FlaskClient = kind(_Application(asgi), app.response_class, **{"use_cookies": True, **options})
    return client


class _Application:
    """The Flask application, but that it is called through ASGI."""

    def __init__(self, asgi: Asgi) -> None:
        self._asgi = asgi

    def __getattr__(self, name: str) -> Any:
        return getattr(self._asgi.app, name)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
        body = stream.read() if length is None else stream.read(int(length or 0))
        with suppress(AttributeError, OSError):  # it cannot go back
            stream.seek(-len(body), SEEK_CUR)  # where Werkzeug follows a redirect with status 307, it is sent again
        errors: list[BaseException] = []
        status, headers, data = wait(_ask(self._asgi, {**_scope(environ), ERRORS: errors}, body))
        if errors:
            raise errors[0]
        start_response(f"{status} {HTTP_STATUS_CODES.get(status, 'unknown').upper()}", headers)
        return [data]


def _scope(environ: dict[str, Any]) -> MutableMapping[str, Any]:
    root = environ.get("SCRIPT_NAME", "").encode("latin-1")
    path = root + environ.get("PATH_INFO", "").encode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/"),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path.decode("utf-8", "replace"),
        "raw_path": quote_from_bytes(path, safe="/").encode(),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": root.decode("utf-8", "replace"),
        "headers": list(_headers(environ)),
        "client": (environ["REMOTE_ADDR"], int(environ.get("REMOTE_PORT", 0))) if "REMOTE_ADDR" in environ else None,
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
        "extensions": {},
        EXTRA: {name: value for name, value in environ.items() if _is_extra(name)},
    }


def _is_extra(name: str) -> bool:
    if name.startswith("wsgi."):
        return name in _HANDED_ON
    return not name.startswith("HTTP_") and name not in _MADE_ANEW


def _headers(environ: dict[str, Any]) -> Iterable[tuple[bytes, bytes]]:
    for name, value in environ.items():
        if name in ("CONTENT_TYPE", "CONTENT_LENGTH") or (name.startswith("HTTP_") and name not in _MADE_ANEW):
            header = name.removeprefix("HTTP_").replace("_", "-").lower()
            yield header.encode("latin-1"), str(value).encode("latin-1")


async def _ask(asgi: Asgi, scope: MutableMapping[str, Any], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    messages: list[MutableMapping[str, Any]] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await asyncio.get_running_loop().create_future()

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    await asgi(scope, receive, send)
    start: Any = messages[0] if messages else {"status": 500, "headers": []}
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return start["status"], headers, b"".join(message["body"] for message in messages[1:])
