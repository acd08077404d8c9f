"""The client's cookies: Flask's methods and rules."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import pytest
import quart

from decant.testing import Client


def _views(app: Any, framework: Any, make: Any) -> None:
    @app.get("/set")
    def set_it() -> Any:
        response = make("ok")
        response.set_cookie("here", "1")
        response.set_cookie("odd", "a b;ü", max_age=60, httponly=True, samesite="Lax", secure=True, path="/deep")
        response.set_cookie("wide", "2", domain="example.com")
        response.set_cookie("dated", "3", expires=datetime(2100, 1, 1, tzinfo=UTC))
        return response

    @app.get("/unset")
    def unset() -> Any:
        response = make("ok")
        response.delete_cookie("here")
        return response

    @app.get("/")
    @app.get("/deep/er")
    @app.get("/deepest")
    def show() -> Any:
        return dict(framework.request.cookies)


@pytest.fixture
def flasks() -> Any:
    app = flask.Flask("cookies", static_folder=None)
    _views(app, flask, flask.Response)
    return app.test_client()


@pytest.fixture
def ours(quart_class: type[quart.Quart]) -> Client:
    app = quart_class("cookies", static_folder=None)
    _views(app, quart, quart.Response)
    return Client(app)


@pytest.mark.parametrize(
    "place",
    [
        ("http://localhost", "/"),
        ("http://localhost", "/deep/er"),
        ("http://localhost", "/deepest"),
        ("http://example.com", "/"),
        ("http://www.example.com", "/"),
        ("http://notexample.com", "/"),
    ],
)
@pytest.mark.parametrize("origin", ["http://localhost", "http://example.com"])
async def test_cookies_of_responses_go_where_flasks_client_sends_them(
    flasks: Any, ours: Client, place: tuple[str, str], origin: str
) -> None:
    """By domain and path; ``Secure`` cookies over plain HTTP too."""
    base, path = place
    flasks.get("/set", base_url=origin)
    await ours.get("/set", base_url=origin)
    assert (await ours.get(path, base_url=base)).json == flasks.get(path, base_url=base).json


@pytest.mark.parametrize(
    ("key", "domain", "path"), [("here", "localhost", "/"), ("odd", "localhost", "/deep"), ("wide", "example.com", "/")]
)
async def test_get_cookie_shows_what_flasks_shows(flasks: Any, ours: Client, key: str, domain: str, path: str) -> None:
    flasks.get("/set")
    await ours.get("/set")
    expected, found = flasks.get_cookie(key, domain, path), ours.get_cookie(key, domain, path)
    names = [field.name for field in fields(found) if field.name != "expires"]  # type: ignore[arg-type]
    if expected.expires is None or found.expires is None:
        assert expected.expires is found.expires is None
    else:  # of a max-age: the two were asked one after the other
        assert abs(found.expires - expected.expires) < timedelta(seconds=30)
    assert {name: getattr(found, name) for name in names} == {name: getattr(expected, name) for name in names}
    assert ours.get_cookie("dated") is not None
    assert ours.get_cookie("dated").expires == flasks.get_cookie("dated").expires  # type: ignore[union-attr]
    assert ours.get_cookie("other") is flasks.get_cookie("other") is None


async def test_a_response_deletes_a_cookie(ours: Client) -> None:
    await ours.get("/set")
    await ours.get("/unset")
    assert ours.get_cookie("here") is None
    assert "here" not in (await ours.get("/")).json


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("k", "v"), {}),
        (("k",), {"value": "ü v"}),
        (("k", "v"), {"domain": "example.com"}),
        (("k", "v"), {"domain": "example.com", "origin_only": False}),
        (("k", "v"), {"path": "/deep"}),
        (("k", "v"), {"max_age": 0}),
        (("k", "v"), {"httponly": True}),
    ],
)
async def test_set_and_delete_cookie_take_flasks_arguments(
    flasks: Any, ours: Client, args: tuple[str, ...], kwargs: dict[str, Any]
) -> None:
    flasks.set_cookie(*args, **kwargs)
    ours.set_cookie(*args, **kwargs)
    for base in ("http://localhost", "http://example.com", "http://www.example.com"):
        for path in ("/", "/deep/er"):
            assert (await ours.get(path, base_url=base)).json == flasks.get(path, base_url=base).json, (base, path)
    where = {key: value for key, value in kwargs.items() if key in {"domain", "path"}}
    ours.delete_cookie("k", **where)
    assert ours.get_cookie("k", **where) is None
    ours.delete_cookie("k")


async def test_quarts_arguments_are_recognised(ours: Client) -> None:
    """``set_cookie(server_name, key, value)`` and ``delete_cookie(server_name, key)``."""
    ours.set_cookie("localhost", "k", "v")
    ours.set_cookie(server_name="example.com", key="far", value="w")
    assert (await ours.get("/")).json == {"k": "v"}
    assert (await ours.get("/", base_url="http://example.com")).json == {"far": "w"}
    ours.delete_cookie("localhost", "k")
    ours.delete_cookie("far", server_name="example.com")
    assert list(ours.cookie_jar or ()) == []


async def test_a_header_of_the_call_goes_before_the_kept_cookies(ours: Client) -> None:
    ours.set_cookie("kept", "1")
    assert (await ours.get("/", headers={"Cookie": "given=2"})).json == {"given": "2", "kept": "1"}


async def test_a_client_without_cookies_says_so(ours: Client) -> None:
    client = Client(ours.app, use_cookies=False)
    await client.get("/set")
    assert (await client.get("/")).json == {}
    for method in (client.get_cookie, client.set_cookie, client.delete_cookie):
        with pytest.raises(TypeError, match="use_cookies=True"):
            method("k")
    with pytest.raises(TypeError, match="use_cookies=True"):
        client.session_transaction()
