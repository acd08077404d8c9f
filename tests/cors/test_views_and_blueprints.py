"""``cross_origin`` on views of every kind, and rules of blueprints: as with Flask-CORS, except where it says so."""

from __future__ import annotations

import asyncio
from typing import Any

import flask
import pytest
import quart

from decant.cors import CORS, cross_origin
from decant.faces import face

from .peers import OURS, Asked, answers, ask, build, reference

A, B, EVIL = "http://a.example", "http://b.example", "http://evil.example"
CROSS_ORIGIN = "@cross_origin(**options)"


def _requests(*paths: str) -> list[Asked]:
    asked: list[Asked] = []
    for path in paths:
        for origin in (A, B, EVIL):
            asked += [("GET", path, {"Origin": origin}), ("POST", path, {"Origin": origin})]
            for method in ("GET", "POST"):
                asked.append(("OPTIONS", path, {"Origin": origin, "Access-Control-Request-Method": method}))
        asked += [("GET", path, {}), ("OPTIONS", path, {}), ("DELETE", path, {"Origin": A})]
    return asked


async def _same(kind: str, set_up: Any, requests: list[Asked], config: dict[str, Any] | None = None) -> None:
    ours = build(kind, set_up, config)
    assert await answers(ours, requests) == await reference(set_up, requests, config)


@pytest.mark.parity("cors", CROSS_ORIGIN)
@pytest.mark.parity("cors", "automatic_options")
@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("with_cors", [False, True], ids=["alone", "with CORS(app)"])
async def test_decorated_views_answer_as_with_flask_cors(kind: str, with_cors: bool) -> None:
    """A view's own options win over the application's rules, on preflight requests too."""

    def set_up(app: Any, cors: Any, cross: Any) -> None:
        app.add_url_rule("/plain", "plain", lambda: "plain", methods=["GET", "POST"])
        app.add_url_rule("/one", "one", cross(origins=A, max_age=7)(lambda: "one"), methods=["GET", "POST"])
        app.add_url_rule("/two", "two", cross()(lambda: ("two", 201, {"X-Own": "1"})), methods=["GET"])
        app.add_url_rule("/three", "three", cross(origins=[B], supports_credentials=True)(lambda: {"a": 1}))
        own = cross(automatic_options=False, origins=B)(lambda: "own")
        app.add_url_rule(
            "/own-options", "own_options", own, methods=["POST", "OPTIONS"], provide_automatic_options=False
        )
        if with_cors:
            cors(app, origins=[A, B], max_age=1)

    paths = ["/plain", "/one", "/two", "/three", "/own-options"]
    await _same(kind, set_up, _requests(*paths), {"CORS_METHODS": ["GET", "POST"], "CORS_EXPOSE_HEADERS": "X-Config"})


@pytest.mark.parity("cors", CROSS_ORIGIN)
@pytest.mark.parametrize("kind", ["decant.Quart", "quart.Quart"])
async def test_asynchronous_views_answer_as_synchronous_ones_with_flask_cors(kind: str) -> None:
    """``@cross_origin`` above ``async def``."""

    def set_up(app: Any, _: Any, cross: Any) -> None:
        view = cross(origins=[A, B])(_plain if isinstance(app, flask.Flask) else _awaited)
        app.add_url_rule("/view", "view", view, methods=["GET", "POST"])

    await _same(kind, set_up, _requests("/view"))


def _plain() -> Any:
    return "x", 202


async def _awaited() -> Any:
    await asyncio.sleep(0)
    return "x", 202


@pytest.mark.parity("cors", "CORS(app=None, **options), init_app(app, **options)")
@pytest.mark.parametrize("kind", OURS)
async def test_blueprints_have_rules_of_their_own(kind: str) -> None:
    """``CORS(blueprint)`` holds for its views and for those of blueprints in it, and reads no configuration."""

    def set_up(app: Any, cors: Any, cross: Any) -> None:
        made = quart.Blueprint if isinstance(app, quart.Quart) else flask.Blueprint
        outer, inner, other = (made(name, __name__, root_path="/") for name in ("outer", "inner", "other"))
        for blueprint in (outer, inner, other):
            blueprint.add_url_rule("/view", "view", lambda: "view", methods=["GET", "POST"])
            blueprint.add_url_rule("/own", "own", cross(origins=EVIL)(lambda: "own"))
        cors(outer, origins=A, resources=r"/outer/*")
        cors(inner, origins=B)
        outer.register_blueprint(inner, url_prefix="/inner")
        app.register_blueprint(outer, url_prefix="/outer")
        app.register_blueprint(other, url_prefix="/other")

    paths = ["/outer/view", "/outer/own", "/outer/inner/view", "/outer/inner/own", "/other/view", "/outer/nowhere"]
    await _same(kind, set_up, _requests(*paths), {"CORS_ORIGINS": EVIL, "CORS_MAX_AGE": 9})


@pytest.mark.parity("cors", "CORS(app=None, **options), init_app(app, **options)")
def test_the_face_on_a_flask_application() -> None:
    """``face(CORS)`` is ``CORS`` for code that has the faces of other twins beside it."""
    app = flask.Flask(__name__)
    face(CORS)(app, origins=A)
    app.add_url_rule("/", "root", lambda: "root")
    client = app.test_client()
    preflight = client.options("/", headers={"Origin": A, "Access-Control-Request-Method": "GET"})
    assert preflight.headers["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    assert client.get("/", headers={"Origin": A}).headers["Access-Control-Allow-Origin"] == A
    assert "Access-Control-Allow-Origin" not in client.get("/", headers={"Origin": EVIL}).headers


@pytest.mark.parity("cors", CROSS_ORIGIN)
@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("code", [404, 500])
async def test_errors_of_a_decorated_view_carry_its_headers(kind: str, code: int) -> None:
    """Unlike Flask-CORS, whose decorator sees no exception: a browser could not read the error."""

    def set_up(app: Any, _: Any, cross: Any) -> None:
        framework: Any = quart if isinstance(app, quart.Quart) else flask

        @cross(origins=A)
        def view() -> Any:
            if code == 404:
                framework.abort(404)
            raise RuntimeError("a failure")

        app.add_url_rule("/fails", "fails", view)

    app = build(kind, set_up)
    response = await ask(app, ("GET", "/fails", {"Origin": A}))
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (code, A)


async def test_of_two_views_of_one_path_the_one_that_is_asked_for_answers() -> None:
    """Unlike with Flask-CORS, where the first rule answers for all methods of its path."""
    app = build("quart.Quart", lambda *_: None)
    app.add_url_rule("/two", "read", cross_origin(origins=A, methods="GET")(lambda: "read"), methods=["GET"])
    app.add_url_rule("/two", "write", cross_origin(origins=B, methods="POST")(lambda: "write"), methods=["POST"])
    CORS(app, resources=[])
    for method, origin in (("GET", A), ("POST", B)):
        asked = {"Origin": origin, "Access-Control-Request-Method": method}
        response = await ask(app, ("OPTIONS", "/two", asked))
        assert response.headers["Access-Control-Allow-Methods"] == method
        assert response.headers["Access-Control-Allow-Origin"] == origin
