"""Two applications with the same views, Flask's and Quart's, so that Flask itself says what is right."""

from __future__ import annotations

from typing import Any

import flask
import pytest
import quart

import decant
from decant.testing import Client

SECRET = "for tests only"


def flask_echo() -> flask.Flask:
    app = flask.Flask("echo", static_folder=None)
    app.secret_key = SECRET

    @app.route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"])
    @app.route("/echo/<path:rest>", methods=["GET", "POST"])
    def echo(rest: str = "") -> Any:
        request = flask.request
        files = [(name, f.filename, f.mimetype, f.read().decode()) for name, f in request.files.items(multi=True)]
        return _facts(request, sorted(request.form.items(multi=True)), files, request.get_data().decode())

    _redirects(app, flask)
    return app


def quart_echo(cls: type[quart.Quart]) -> quart.Quart:
    app = cls("echo", static_folder=None)
    app.secret_key = SECRET
    app.test_client_class = Client

    @app.route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"])
    @app.route("/echo/<path:rest>", methods=["GET", "POST"])
    async def echo(rest: str = "") -> Any:
        request = quart.request
        form, uploads = await request.form, await request.files
        files = [(name, f.filename, f.mimetype, f.read().decode()) for name, f in uploads.items(multi=True)]
        body = b"" if form or uploads else await request.get_data()
        return _facts(request, sorted(form.items(multi=True)), files, body.decode())

    _redirects(app, quart)
    return app


def _facts(request: Any, form: Any, files: Any, body: str) -> dict[str, Any]:
    headers = {k: v for k, v in request.headers.items() if k not in {"Content-Type", "Remote-Addr"}}
    return {
        "method": request.method,
        "path": request.path,
        "root_path": request.root_path.rstrip("/"),
        "url": request.url,
        "base_url": request.base_url,
        "host": request.host,
        "scheme": request.scheme,
        "args": sorted(request.args.items(multi=True)),
        "form": form,
        "files": files,
        "body": body,
        "mimetype": request.mimetype,
        "headers": headers,
        "authorization": dict(request.authorization.parameters or {}) if request.authorization else None,
        "remote_addr": request.remote_addr,
    }


def _redirects(app: Any, framework: Any) -> None:
    @app.route("/to/<int:status>", methods=["GET", "POST", "HEAD"])
    def to(status: int) -> Any:
        return framework.redirect("/echo?from=to", status)

    @app.get("/twice")
    def twice() -> Any:
        return framework.redirect("/to/302")

    @app.get("/round")
    def around() -> Any:
        return framework.redirect("/round")

    @app.get("/away")
    def away() -> Any:
        return framework.redirect("https://elsewhere.example/")

    @app.get("/sub")
    def sub() -> Any:
        return framework.redirect("http://sub.localhost/echo")


@pytest.fixture
def flask_client() -> Any:
    return flask_echo().test_client()


@pytest.fixture(params=[quart.Quart, decant.Quart], ids=["quart", "decant"])
def quart_class(request: pytest.FixtureRequest) -> type[quart.Quart]:
    """The client serves Quart's own class and ours."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def quart_client(quart_class: type[quart.Quart]) -> Client:
    return quart_echo(quart_class).test_client()  # type: ignore[return-value]
