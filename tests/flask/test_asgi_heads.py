"""Heads of answers: what ``start_response`` takes, and what becomes of it."""

from __future__ import annotations

import sys
from typing import Any

import flask
import pytest
from flask import Response

from decant.flask import asgi
from tests.flask.asgi_calls import Call, Views


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("", []),
        ("99 Low", []),
        ("100 Continue", []),
        ("200 OK\r\nX: 1", []),
        ("200 OK", [("X-A", "1\r\nX-B: 2")]),
        ("200 OK", [("X A", "1")]),
        ("200 OK", [("X-A", 1)]),
        ("200 OK", [("Content-Length", "many")]),
        ("200 OK", [("Content-Length", "-1")]),
    ],
)
async def test_a_head_that_http_does_not_allow_is_a_500(app: flask.Flask, status: str, headers: Any) -> None:
    def odd(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return [b"never"]

    app.wsgi_app = odd  # type: ignore[method-assign]
    assert (await Call(asgi(app)).body().answer())[0] == 500


async def test_an_application_that_gives_no_status_is_a_500(app: flask.Flask) -> None:
    app.wsgi_app = lambda environ, start_response: [b"x"]  # type: ignore[method-assign]
    assert (await Call(asgi(app)).body().answer())[0] == 500


async def test_start_response_twice_is_a_500(app: flask.Flask) -> None:
    def twice(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    app.wsgi_app = twice  # type: ignore[method-assign]
    assert (await Call(asgi(app)).body().answer())[0] == 500


async def test_exc_info_replaces_a_head_that_is_not_sent_and_is_raised_after_it(app: flask.Flask) -> None:
    def late(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("X-First", "1"), ("Content-Length", "100")])
        try:
            raise ValueError("found late")
        except ValueError:
            start_response("503 Sorry", [("X-Second", "1")], sys.exc_info())
        yield b"some"
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 Sorry", [], sys.exc_info())
        yield b"never"

    app.wsgi_app = late  # type: ignore[method-assign]
    call = Call(asgi(app)).body()
    assert await call.answer() == (503, b"some")
    assert (call.header("x-first"), call.header("x-second")) == (None, "1")
    assert call.sent[-1]["more_body"] is True  # unended, which breaks the connection


async def test_headers_that_are_the_servers_own_are_left_to_it(app: flask.Flask) -> None:
    def gives(environ: Any, start_response: Any) -> Any:
        own = ["Connection", "Keep-Alive", "Proxy-Authenticate", "TE", "Trailers", "Transfer-Encoding", "Upgrade"]
        start_response("200 OK", [(name, "1") for name in (*own, "Server", "date")] + [("X-Kept", " \tin the middle ")])
        return [b"x"]

    app.wsgi_app = gives  # type: ignore[method-assign]
    call = Call(asgi(app)).body()
    await call.answer()
    assert call.sent[0]["headers"] == [(b"X-Kept", b"in the middle")]


async def test_header_names_keep_their_case_but_in_http_2(app: flask.Flask) -> None:
    app.add_url_rule("/", view_func=lambda: ("x", {"X-Mixed-case": "1"}))
    for version, expected in (("1.1", b"X-Mixed-case"), ("2", b"x-mixed-case")):
        call = Call(asgi(app), http_version=version).body()
        await call.answer()
        assert expected in dict(call.sent[0]["headers"])


async def test_a_head_that_is_replaced_leaves_no_length_behind(app: flask.Flask) -> None:
    def replaces(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "100")])
        try:
            raise ValueError("found late")
        except ValueError:
            start_response("503 Sorry", [], sys.exc_info())
        return [b"", b"some", b""]

    app.wsgi_app = replaces  # type: ignore[method-assign]
    call = Call(asgi(app)).body()
    assert await call.answer() == (503, b"some")
    assert call.sent[-1]["more_body"] is False


async def test_empty_pieces_are_not_sent(app: flask.Flask, views: Views) -> None:
    app.add_url_rule("/", view_func=lambda: Response(iter([b""] * 100)))
    call = Call(asgi(app, views=views)).body()
    assert await call.answer() == (200, b"")
    assert len(call.sent) <= 3  # the head, with nothing; the end
