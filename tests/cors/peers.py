"""The same application four times, by framework and extension, and the same request to each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flask
import flask_cors
import quart

from decant import Quart
from decant.cors import CORS, cross_origin
from decant.testing.client import Client

__all__ = ["OURS", "Asked", "answers", "ask", "build", "comparable", "reference"]

OURS = ("decant.Quart", "quart.Quart", "flask.Flask")
Asked = tuple[str, str, Mapping[str, str]]
"""Method, path, headers."""
Answer = dict[str, Any]
# Given, so that nothing is looked for on the disk: tests make applications on the event loop.
_PLACES = {"static_folder": None, "template_folder": None, "root_path": "/", "instance_path": "/instance"}


def _views(app: Any, aborts: Callable[[int], Any], response: Any, asynchronous: bool) -> None:
    """Views that succeed, fail, set headers of their own and read a body."""
    if asynchronous:

        async def echo() -> Any:
            return await _request(app).get_data()
    else:

        def echo() -> Any:  # type: ignore[misc]
            return _request(app).get_data()

    app.add_url_rule("/", "root", lambda: "root", methods=["GET", "POST"])
    app.add_url_rule("/api/users", "users", lambda: "users", methods=["GET", "POST", "PUT"])
    app.add_url_rule("/api/users/<int:number>", "user", lambda number: str(number), methods=["GET", "DELETE"])
    app.add_url_rule("/api/Ümlaut", "umlaut", lambda: "umlaut")
    app.add_url_rule("/echo", "echo", echo, methods=["POST"])
    app.add_url_rule("/own", "own", lambda: response("own", headers={"Access-Control-Allow-Origin": "http://own"}))
    app.add_url_rule("/varies", "varies", lambda: response("v", headers={"Vary": "Accept-Encoding"}))
    app.add_url_rule("/gone", "gone", lambda: aborts(404))
    app.add_url_rule("/limited", "limited", lambda: aborts(429))
    app.add_url_rule("/boom", "boom", lambda: 1 / 0)


def _request(app: Any) -> Any:
    return quart.request if isinstance(app, quart.Quart) else flask.request


def _new(kind: str) -> Any:
    if kind in ("flask.Flask", "Flask-CORS"):
        return flask.Flask(__name__, **_PLACES)  # type: ignore[arg-type]
    made = Quart if kind == "decant.Quart" else quart.Quart
    return made(__name__, **_PLACES)  # type: ignore[arg-type]


def build(kind: str, set_up: Callable[[Any, Any, Any], None], config: Mapping[str, Any] | None = None) -> Any:
    """An application; ``set_up(app, CORS, cross_origin)`` makes the rules and further views.

    :param kind: one of ``OURS``, or ``"Flask-CORS"``.
    """
    app = _new(kind)
    if isinstance(app, Quart):
        app.test_client_class = Client  # imported by now: on the event loop that would block
    app.config.update(config or {}, MAX_CONTENT_LENGTH=100)
    app.logger.disabled = True
    framework: Any = quart if isinstance(app, quart.Quart) else flask
    _views(app, framework.abort, framework.Response, framework is quart)
    extension = flask_cors if kind == "Flask-CORS" else None
    set_up(app, extension.CORS if extension else CORS, extension.cross_origin if extension else cross_origin)
    return app


async def ask(app: Any, asked: Asked) -> Any:
    """The response to one request, from the application's own test client."""
    method, path, headers = asked
    body = {"data": b"x" * 200} if path == "/echo" else {}
    if isinstance(app, quart.Quart):
        return await app.test_client().open(path, method=method, headers=dict(headers), **body)  # type: ignore[arg-type]
    return await asyncio.to_thread(lambda: app.test_client().open(path, method=method, headers=dict(headers), **body))


def comparable(response: Any) -> Answer:
    """What of a response has to be the same: status, CORS headers, ``Vary`` and ``Allow`` as sets, the type."""
    headers = response.headers
    found: Answer = {"status": response.status_code, "Content-Type": headers.get("Content-Type")}
    for name in ("Vary", "Allow"):
        found[name] = {value.strip() for line in headers.getlist(name) for value in line.split(",")}
    for name in {name.title() for name, _ in headers if name.lower().startswith("access-control-")}:
        found[name] = headers.getlist(name)
    return found


async def answers(app: Any, requests: Iterable[Asked]) -> dict[str, Answer]:
    """By request, written so that a failing comparison can be read."""
    return {f"{asked[0]} {asked[1]} {dict(asked[2])}": comparable(await ask(app, asked)) for asked in requests}


async def reference(
    set_up: Callable[[Any, Any, Any], None], requests: Iterable[Asked], config: Mapping[str, Any] | None = None
) -> dict[str, Answer]:
    """What Flask with Flask-CORS answers."""
    return await answers(build("Flask-CORS", set_up, config), requests)
