"""What Flask's test client sends for these arguments, Decant's sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import Authorization, FileStorage, MultiDict

from decant.testing import Client

Arguments = Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]


def call(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


# Functions, so that each client gets files of its own.
CALLS: dict[str, Arguments] = {
    "nothing": lambda: call("/echo"),
    "path with a query": lambda: call("/echo?a=1&a=2&b=%20x"),
    "path that is not ASCII": lambda: call("/echo/käse/%C3%A9?ü=é"),
    "path without a slash": lambda: call("echo"),
    "whole URL": lambda: call("https://example.com:8443/echo?x=1"),
    "query_string str": lambda: call("/echo", query_string="a=1&b=2"),
    "query_string dict": lambda: call("/echo", query_string={"a": [1, 2], "b": "ü&"}),
    "query_string MultiDict": lambda: call("/echo", query_string=MultiDict([("a", "1"), ("a", "2")])),
    "data str": lambda: call("/echo", method="POST", data="käse"),
    "data bytes": lambda: call("/echo", method="POST", data=b"raw", content_type="application/x-thing"),
    "data bytes, a form's type": lambda: call(
        "/echo", method="POST", data=b"a=1&b=2", content_type="application/x-www-form-urlencoded"
    ),
    "data dict": lambda: call("/echo", method="POST", data={"a": "1", "b": ["2", "3"], "n": 4, "u": "ü &="}),
    "data MultiDict": lambda: call("/echo", method="POST", data=MultiDict([("a", "1"), ("a", "2")])),
    "data file object": lambda: call("/echo", method="POST", data=BytesIO(b"stream"), content_type="text/plain"),
    "data with a tuple": lambda: call("/echo", method="POST", data={"f": (BytesIO(b"x"), "x.txt"), "a": "1"}),
    "data with a typed tuple": lambda: call("/echo", method="POST", data={"f": (BytesIO(b"x"), "x", "image/png")}),
    "data with a FileStorage": lambda: call(
        "/echo", method="POST", data={"f": FileStorage(BytesIO(b"x"), "x.csv", content_type="text/csv")}
    ),
    "data with a file": lambda: call(
        "/echo", method="POST", data={"f": Path(__file__).with_name("page.txt").open("rb")}
    ),
    "data with a list of files": lambda: call(
        "/echo", method="POST", data={"f": [(BytesIO(b"1"), "1.txt"), (BytesIO(b"2"), "2.txt")], "a": ["1", "2"]}
    ),
    "data, multipart by type": lambda: call(
        "/echo", method="POST", data={"a": "1"}, content_type="multipart/form-data"
    ),
    "data empty": lambda: call("/echo", method="POST", data={}),
    "json": lambda: call("/echo", method="POST", json={"a": [1, None, "ü"]}),
    "json, another type": lambda: call("/echo", method="PATCH", json=[1], content_type="application/vnd.api+json"),
    "json None": lambda: call("/echo", method="POST", json=None),
    "mimetype": lambda: call("/echo", method="POST", data="a,b", mimetype="text/csv"),
    "headers dict": lambda: call("/echo", headers={"X-A": "1", "Accept": "text/plain"}),
    "headers list": lambda: call("/echo", headers=[("X-A", "1"), ("X-B", "2")]),
    "headers with a type": lambda: call("/echo", method="POST", data="x", headers={"Content-Type": "text/x"}),
    "headers with a host": lambda: call("/echo", headers={"Host": "other.example"}),
    "auth tuple": lambda: call("/echo", auth=("me", "söcret")),
    "auth object": lambda: call("/echo", auth=Authorization("bearer", token="t")),
    "base_url": lambda: call("/echo", base_url="https://example.com:8443"),
    "base_url with a root": lambda: call("/echo?x=1", base_url="http://example.com/app"),
    "base_url second": lambda: call("/echo", "http://example.com/app/"),
    "url_scheme": lambda: call("/echo", url_scheme="https"),
    "subdomain": lambda: call("/echo", subdomain="api"),
    "environ_base": lambda: call("/echo", environ_base={"REMOTE_ADDR": "10.0.0.1", "HTTP_USER_AGENT": "me"}),
    "environ_overrides": lambda: call(
        "/echo",
        environ_overrides={"REMOTE_ADDR": "10.0.0.2", "HTTP_X_FORWARDED_FOR": "1.2.3.4", "wsgi.url_scheme": "https"},
    ),
    "input_stream": lambda: call("/echo", method="POST", input_stream=BytesIO(b"stream"), content_length=6),
    "method": lambda: call("/echo", method="DELETE"),
    "path by name": lambda: call(path="/echo", method="PUT", data="x"),
    "buffered": lambda: call("/echo", buffered=True),
    "follow_redirects": lambda: call("/twice", follow_redirects=True),
}
CALLS |= {
    f"{method} follows {status}": lambda method=method, status=status: call(  # type: ignore[misc]
        f"/to/{status}", method=method, data={"a": "1"} if method == "POST" else None, follow_redirects=True
    )
    for status in (301, 302, 303, 305, 307, 308)
    for method in ("GET", "POST")
}


@pytest.mark.parametrize("name", CALLS)
async def test_the_application_gets_what_it_gets_from_flasks_client(
    name: str, flask_client: FlaskClient, quart_client: Client
) -> None:
    """Each call, made to a Flask and a Quart application with the same view, is the same request to both."""
    expected = await asyncio.to_thread(_ask_flask, flask_client, CALLS[name])
    args, kwargs = await asyncio.to_thread(CALLS[name])
    response = await quart_client.open(*args, **kwargs)
    assert expected.status_code == response.status_code == 200
    assert _comparable(await response.json) == _comparable(expected.json)
    assert response.request.url == expected.request.url
    assert response.request.method == expected.request.method
    assert [r.status_code for r in response.history] == [r.status_code for r in expected.history]


def _comparable(facts: dict[str, Any]) -> dict[str, Any]:
    """Boundaries of multipart bodies have random lengths, and an empty body may be said to have a length of 0."""
    if facts["mimetype"] == "multipart/form-data" or not (facts["body"] or facts["form"]):
        facts["headers"].pop("Content-Length", None)
    return facts


def _ask_flask(client: FlaskClient, arguments: Arguments) -> Any:
    args, kwargs = arguments()
    return client.open(*args, **kwargs)
