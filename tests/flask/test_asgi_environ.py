"""The WSGI environ of ASGI scopes that Gunicorn has no counterpart of, and what is in none of its answers."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any
from wsgiref.validate import check_environ

import pytest
from werkzeug.wrappers import Request

from decant.flask.environ import EXTRA, environ_of


def environ(**scope: Any) -> dict[str, Any]:
    path = scope.get("path", "/")
    base = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"example.test")],
        "client": ("10.0.0.9", 4711),
        "server": ("192.0.2.1", 8000),
    }
    return environ_of({**base, **scope}, BytesIO())


def test_it_is_a_valid_environ() -> None:
    found = environ(path="/x", headers=[(b"content-type", b"a/b"), (b"content-length", b"5"), (b"x-a", b"1")])
    found["wsgi.errors"] = sys.__stderr__
    check_environ(found)  # type: ignore[attr-defined]


def test_addresses() -> None:
    found = environ()
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == ("10.0.0.9", "4711")
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("192.0.2.1", "8000")
    assert found["SERVER_SOFTWARE"].startswith("decant/")
    assert "werkzeug.server.shutdown" not in found


@pytest.mark.parametrize(
    ("host", "scheme", "expected"),
    [
        (b"example.test:8443", "https", ("example.test", "8443")),
        (b"example.test", "https", ("example.test", "443")),
        (b"[::1]", "http", ("[::1]", "80")),
        (b"", "http", ("", "80")),
    ],
)
def test_a_unix_socket_has_the_hosts_name(host: bytes, scheme: str, expected: tuple[str, str]) -> None:
    found = environ(server=("/run/app.sock", None), client=None, scheme=scheme, headers=[(b"host", host)])
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == expected
    assert found["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in found


@pytest.mark.parametrize(("given", "scheme"), [("http", "http"), ("https", "https"), ("ws", "http"), ("wss", "https")])
def test_the_scheme(given: str, scheme: str) -> None:
    assert environ(scheme=given)["wsgi.url_scheme"] == scheme


@pytest.mark.parametrize(("given", "protocol"), [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/2.0")])
def test_the_protocol(given: str, protocol: str) -> None:
    assert environ(http_version=given)["SERVER_PROTOCOL"] == protocol


@pytest.mark.parametrize(
    ("root", "path", "script_name", "path_info"),
    [
        ("", "/a/b", "", "/a/b"),
        ("/a", "/a/b", "/a", "/b"),
        ("/a", "/a", "/a", ""),
        ("/a", "/a/", "/a", "/"),
        ("/a", "/ab", "/a", "/ab"),  # a proxy took the root away
        ("/a", "/b", "/a", "/b"),
        ("/a/", "/a/b", "/a", "/b"),
        ("/ü", "/ü/ß", "/Ã¼", "/Ã\x9f"),
    ],
)
def test_the_root_path(root: str, path: str, script_name: str, path_info: str) -> None:
    found = environ(root_path=root, path=path)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (script_name, path_info)
    assert Request(found).root_path == root.rstrip("/")


@pytest.mark.parametrize(
    ("raw_path", "path", "path_info"),
    [
        (b"/%C3%BC", "/ü", "/Ã¼"),
        (b"/%FF", "/\ufffd", "/\xff"),
        (b"/a%2Fb", "/a/b", "/a/b"),
        (b"/before", "/after/ü", "/after/Ã¼"),  # middleware rewrote it
        (None, "/ü", "/Ã¼"),
        (b"http://host/%C3%BC", "http://host/ü", "/Ã¼"),
        (b"/a#b", "/a#b", "/a"),
        (b"/a", "/after#b", "/after#b"),
        (b"*", "*", "*"),
    ],
)
def test_the_path_is_latin_1_for_bytes(raw_path: bytes | None, path: str, path_info: str) -> None:
    assert environ(raw_path=raw_path, path=path)["PATH_INFO"] == path_info


def test_cookies_that_http_2_sends_apart_are_one() -> None:
    found = environ(
        http_version="2", headers=[(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-a", b"1"), (b"x-a", b"2")]
    )
    assert dict(Request(found).cookies) == {"a": "1", "b": "2"}
    assert found["HTTP_X_A"] == "1,2"


def test_headers_with_underscores_are_dropped() -> None:
    found = environ(headers=[(b"x_forwarded_for", b"10.6.6.6"), (b"content_length", b"5"), (b"x-real", b"1")])
    assert [name for name in found if name.startswith(("HTTP_", "CONTENT_"))] == ["HTTP_X_REAL"]


def test_middleware_may_add_to_it() -> None:
    found = environ(**{EXTRA: {"REMOTE_USER": "ada"}})
    assert found["REMOTE_USER"] == "ada"
    assert found["asgi.scope"]["path"] == "/"


@pytest.mark.parametrize("several", [True, False])
def test_whether_other_processes_serve_too(several: bool) -> None:
    scope = {"type": "http", "path": "/", "headers": []}
    assert environ_of(scope, BytesIO(), multiprocess=several)["wsgi.multiprocess"] is several
