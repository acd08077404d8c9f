"""The active application, request, g and session of Quart, Flask, or both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import flask
import pytest
import quart
from werkzeug.local import LocalProxy

from decant.bridge import in_thread
from decant.context import current_app, current_g, current_request, current_session, has_app, has_request, on_quart


@pytest.fixture
def quart_app() -> quart.Quart:
    app = quart.Quart("quart_app")
    app.secret_key = "k"
    return app


@pytest.fixture
def flask_app() -> flask.Flask:
    app = flask.Flask("flask_app")
    app.secret_key = "k"
    return app


OUTSIDE = [
    (current_app, "no application context is active, neither Quart's nor Flask's"),
    (current_g, "no application context"),
    (current_request, "no request context is active, neither Quart's nor Flask's"),
    (current_session, "no request context"),
]


@pytest.mark.parametrize(("ask", "text"), OUTSIDE)
def test_outside_it_says_what_is_missing_and_how_to_have_it(ask: Callable[[], object], text: str) -> None:
    """A RuntimeError with both frameworks' remedies."""
    assert not has_app()
    assert not has_request()
    with pytest.raises(RuntimeError, match=text) as caught:
        ask()
    assert "async with app." in str(caught.value)
    assert "Flask" in str(caught.value)


async def test_in_quart(quart_app: quart.Quart) -> None:
    """The objects themselves, not proxies; with an application context only, there is no request."""
    async with quart_app.app_context():
        assert current_app() is quart_app
        assert current_g() is quart.g._get_current_object()  # type: ignore[attr-defined]
        assert has_app()
        assert not has_request()
        with pytest.raises(RuntimeError, match="no request context"):
            current_request()
    async with quart_app.test_request_context("/path?a=1"):
        assert has_app()
        assert has_request()
        assert current_app() is quart_app
        assert type(current_request()) is quart_app.request_class
        assert current_request().path == "/path"
        current_session()["user"] = 1
        current_g().user = 2
        assert (quart.session["user"], quart.g.user) == (1, 2)
        assert not isinstance(current_session(), LocalProxy)
        assert await in_thread(lambda: current_request().path) == "/path"


async def test_in_a_websocket_of_quart(quart_app: quart.Quart) -> None:
    """The request is the WebSocket; the session is its session."""

    @quart_app.websocket("/ws")
    async def ws() -> None:
        assert has_request()
        request = current_request()
        assert isinstance(request, quart.Websocket)
        await quart.websocket.send(f"{request.path} {current_app().name} {dict(current_session())}")

    async with quart_app.test_client().websocket("/ws") as socket:
        assert await socket.receive() == "/ws quart_app {}"


def test_in_flask(flask_app: flask.Flask) -> None:
    """The same of Flask."""
    with flask_app.app_context():
        assert current_app() is flask_app
        assert has_app()
        assert not has_request()
    with flask_app.test_request_context("/path"):
        assert has_request()
        assert current_app() is flask_app
        assert current_request() is flask.request._get_current_object()  # type: ignore[attr-defined]
        current_session()["user"] = 1
        current_g().user = 2
        assert (flask.session["user"], flask.g.user) == (1, 2)


async def test_where_both_are_active_quart_is_meant(quart_app: quart.Quart, flask_app: flask.Flask) -> None:
    """Mounted Flask code runs inside Quart's request."""
    async with quart_app.test_request_context("/outer"):
        with flask_app.test_request_context("/inner"):
            assert current_request().path == "/outer"
            assert current_app() is quart_app
            assert current_g() is quart.g._get_current_object()  # type: ignore[attr-defined]
            assert current_session() is quart.session._get_current_object()  # type: ignore[attr-defined]


async def test_all_four_belong_to_the_one_with_a_request(quart_app: quart.Quart, flask_app: flask.Flask) -> None:
    """Flask's request inside a mere application context of Quart: application and g are Flask's too."""
    async with quart_app.app_context():
        with flask_app.test_request_context("/flask"):
            assert current_request().path == "/flask"
            assert current_app() is flask_app
            assert current_g() is flask.g._get_current_object()  # type: ignore[attr-defined]
        with flask_app.app_context():
            assert current_app() is quart_app


async def test_which_framework_an_application_is_of(quart_app: quart.Quart, flask_app: flask.Flask) -> None:
    """Also through a proxy; anything else is refused by name."""
    assert on_quart(quart_app)
    assert not on_quart(flask_app)
    async with quart_app.app_context():
        assert on_quart(quart.current_app)
    with flask_app.app_context():
        assert not on_quart(flask.current_app)
    with pytest.raises(TypeError, match=r"a quart.Quart or flask.Flask application is needed, not str: 'app'"):
        on_quart("app")


def test_it_needs_no_extra() -> None:
    """The base install suffices: no optional dependency is imported."""
    source = (
        "import sys; import decant.context, decant.faces, decant.ops.registry;"
        "print(sorted({'sqlalchemy', 'redis', 'arq', 'socketio'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
