"""Flask's test client, through ASGI."""

from __future__ import annotations

from typing import Any

import flask
import pytest
from flask import Response, g, request
from flask.testing import FlaskClient

from decant.flask import asgi
from tests.flask.asgi_calls import Views


@pytest.fixture
def client(app: flask.Flask, views: Views) -> FlaskClient:
    @app.route("/count", methods=["GET", "POST"])
    def count() -> Any:
        flask.session["count"] = flask.session.get("count", 0) + 1
        g.seen = "in g"
        return {"count": flask.session["count"], "json": request.get_json(silent=True), "path": request.full_path}

    @app.get("/away")
    def away() -> Any:
        return flask.redirect("/count?from=away")

    @app.get("/raise")
    def raising() -> str:
        raise ZeroDivisionError("to the test")

    @app.post("/upload/ü")
    def upload() -> Any:
        return {"file": request.files["file"].read().decode(), "user": request.remote_user, "addr": request.remote_addr}

    @app.get("/streamed")
    def streamed() -> Response:
        return Response(str(number) for number in range(5))

    return asgi(app, views=views).test_client()


def test_the_test_client_keeps_cookies_and_sessions(client: FlaskClient) -> None:
    assert client.get("/count").json["count"] == 1  # type: ignore[index]
    assert client.post("/count", json={"a": 1}).json == {"count": 2, "json": {"a": 1}, "path": "/count?"}
    with client.session_transaction() as session:
        session["count"] = 41
    response = client.get("/away", follow_redirects=True)
    assert response.json["count"] == 42  # type: ignore[index]
    assert response.request.path == "/count"
    assert len(response.history) == 1


def test_the_test_client_keeps_the_context_of_a_with_block(client: FlaskClient) -> None:
    with client:
        client.get("/count?a=b")
        assert request.args["a"] == "b"
        assert g.seen == "in g"
        assert flask.session["count"] == 1
    assert not flask.has_request_context()


def test_the_test_client_raises_what_the_application_does(client: FlaskClient, app: flask.Flask) -> None:
    assert client.get("/raise").status_code == 500
    app.testing = True
    with pytest.raises(ZeroDivisionError, match="to the test"):
        client.get("/raise")


def test_the_test_client_takes_flasks_arguments(client: FlaskClient) -> None:
    import io

    response = client.post(
        "/upload/ü",
        data={"file": (io.BytesIO(b"content"), "a.txt")},
        environ_overrides={"REMOTE_USER": "ada", "REMOTE_ADDR": "10.1.1.1"},
    )
    assert response.json == {"file": "content", "user": "ada", "addr": "10.1.1.1"}
    assert client.get("/streamed").text == "01234"
    assert client.head("/count").data == b""
    assert client.get("/nowhere").status == "404 NOT FOUND"
