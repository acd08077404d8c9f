"""Flask applications: the same class through its face, in plain threads, with code as for Flask-Limiter."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from flask.views import MethodView
from limits import parse

from decant import Quart
from decant.bridge import in_thread
from decant.faces import face
from decant.limiter import ExemptionScope, Limiter, RateLimitExceeded, RequestLimit
from decant.limiter.util import get_remote_address

Flask_Limiter = face(Limiter)


@pytest.fixture(params=["redis", "memory"])
def uri(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("redis_url") if request.param == "redis" else "memory://"


def make(uri: str, key_func: Any = get_remote_address, **options: Any) -> tuple[flask.Flask, Any]:
    app = flask.Flask("test_face")
    app.config.update(RATELIMIT_STORAGE_URI=uri, REDIS_DEADLINE_S=30.0)
    return app, Flask_Limiter(key_func, app=app, **options)


def statuses(client: Any, path: str, times: int, **options: Any) -> list[int]:
    return [client.get(path, **options).status_code for _ in range(times)]


@pytest.mark.parity("limiter", "limit(...)")
@pytest.mark.parity("limiter", "shared_limit(...)")
@pytest.mark.parity("limiter", "exempt(obj=None,*,flags)")
@pytest.mark.parity("limiter", "context manager")
def test_a_flask_application_is_limited_unchanged(uri: str, strategy: str) -> None:  # noqa: C901
    """Views, class views, blueprints, helpers, a context manager, exemptions, filters, callbacks, headers."""
    breached: list[RequestLimit] = []

    def on_breach(limit: RequestLimit) -> Any:
        breached.append(limit)
        return flask.make_response(f"{limit.limit} {limit.remaining}", 420) if flask.request.args else None

    app, limiter = make(
        uri,
        strategy=strategy,
        default_limits=["4/day"],
        application_limits=["100/day"],
        headers_enabled=True,
        on_breach=on_breach,
    )

    @app.get("/own")
    @limiter.limit("2/day", key_func=lambda: flask.request.headers.get("X-Who", "nobody"))
    def own() -> str:
        return f"{[limit.remaining for limit in limiter.current_limits]}"

    @app.get("/default")
    def default() -> str:
        return "ok"

    @app.get("/exempt")
    @limiter.exempt
    def exempt() -> str:
        return "ok"

    @app.get("/flags")
    @limiter.exempt(flags=ExemptionScope.DEFAULT)
    def flags() -> str:
        return "ok"

    @limiter.shared_limit("1/day", scope="mail")
    def send(to: str) -> str:
        return f"sent to {to}"

    @app.get("/send")
    def send_view() -> str:
        return send(to="you")

    @app.get("/part")
    def part() -> str:
        with limiter.limit("1/day"):
            return "part"

    class Items(MethodView):
        decorators = [limiter.limit("1/day")]

        def get(self) -> str:
            return "items"

    app.add_url_rule("/items", view_func=Items.as_view("items"))
    blueprint = flask.Blueprint("area", __name__, url_prefix="/area")

    @blueprint.get("/")
    def area() -> str:
        return "area"

    limiter.limit("3/day")(blueprint)
    app.register_blueprint(blueprint)

    @limiter.request_filter
    def probe() -> bool:
        return flask.request.headers.get("X-Probe") == "yes"

    client = app.test_client()
    assert client.get("/own").text == "[99, 1]"
    response = client.get("/own")
    assert (response.text, response.headers["X-RateLimit-Remaining"]) == ("[98, 0]", "0")
    assert client.get("/own?answer").text == "2 per 1 day 0"
    assert statuses(client, "/own", 1, headers={"X-Who": "me"}) == [200]
    assert statuses(client, "/own", 1, headers={"X-Probe": "yes"}) == [200]
    for path, passing in (
        ("/default", 4),
        ("/exempt", 5),
        ("/flags", 5),
        ("/send", 1),
        ("/part", 1),
        ("/items", 1),
        ("/area/", 3),
    ):
        assert statuses(client, path, 5) == [200] * passing + [429] * (5 - passing), path
    assert {limit.breached for limit in breached} == {True}


def test_storage_and_strategy_are_plain(uri: str) -> None:
    """limiter.limiter.test(…), limiter.storage.get(…) and limiter.reset() return values."""
    app, limiter = make(uri, key_func=lambda: "me")

    @app.get("/")
    @limiter.limit("2/day")
    def index() -> str:
        return limiter.identify_request()

    client, item = app.test_client(), parse("2/day")
    assert client.get("/").text == "index"
    with app.app_context():
        assert limiter.storage.get("LIMITER/me/index/2/1/day") == 1
        assert limiter.limiter.hit(item, "me", "index") is True
        assert limiter.limiter.test(item, "me", "index") is False
        assert limiter.limiter.get_window_stats(item, "me", "index").remaining == 0
    assert statuses(client, "/", 1) == [429]
    limiter.reset()
    assert statuses(client, "/", 3) == [200, 200, 429]
    assert flask.Flask("other").extensions.get("limiter") is None
    assert app.extensions["limiter"] == {limiter}


@pytest.mark.parity("limiter", "limit(...)")
def test_deductions_errors_and_handlers(uri: str) -> None:
    """deduct_when sees Flask's response; an error handler gets RateLimitExceeded."""
    app, limiter = make(uri)

    @app.get("/<int:status>")
    @limiter.limit("1/day", deduct_when=lambda response: response.status_code == 401, error_message="slowly")
    def log_in(status: int) -> Any:
        return "", status

    @app.errorhandler(RateLimitExceeded)
    def tell(error: RateLimitExceeded) -> Any:
        return f"{error.limit.limit}: {error.description}", 429

    client = app.test_client()
    assert statuses(client, "/200", 3) + statuses(client, "/401", 2) == [200, 200, 200, 401, 429]
    assert client.get("/200").text == "1 per 1 day: slowly"


def test_many_threads_at_once(uri: str, strategy: str) -> None:
    """Of 80 requests in 8 plain threads, exactly 10 pass."""
    app, limiter = make(uri, strategy=strategy)

    @app.get("/")
    @limiter.limit("10/day")
    def index() -> str:
        return "ok"

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: app.test_client().get("/").status_code, range(80)))
    assert (found.count(200), found.count(429)) == (10, 70)


def test_without_storage_flask_falls_back(unused_port: int) -> None:
    """in_memory_fallback_enabled, and 503 where a limit fails closed."""
    app, limiter = make(f"redis://127.0.0.1:{unused_port}/0", in_memory_fallback_enabled=True)

    @app.get("/")
    @limiter.limit("1/day")
    def index() -> str:
        return "ok"

    @app.get("/closed")
    @limiter.limit("1/day", on_storage_error="deny")
    def closed() -> str:
        return "ok"

    client = app.test_client()
    assert statuses(client, "/", 2) == [200, 429]
    assert statuses(client, "/closed", 1) == [503]


async def test_one_limiter_for_a_flask_application_within_a_quart_application(no_blocking: Any) -> None:
    """Flask's view is limited as Flask's, though Quart's request is active around it; both count in one storage."""
    no_blocking.deactivate()
    try:
        quart_app, flask_app = Quart("outer", root_path="/"), flask.Flask("inner", root_path="/")
        for app in (quart_app, flask_app):
            app.config["RATELIMIT_STORAGE_URI"] = "memory://"
        limiter = Limiter(lambda: "me", app=quart_app)
        face_of_it: Any = Flask_Limiter.__new__(Flask_Limiter)
        object.__setattr__(face_of_it, "_twin", limiter)
        face_of_it.init_app(flask_app)
    finally:
        no_blocking.activate()

    @flask_app.get("/inner")
    @face_of_it.limit("2/day")
    def inner() -> str:
        return str(limiter.current_limit and limiter.current_limit.key)

    @quart_app.get("/outer")
    @limiter.limit("9/day")
    async def outer() -> Any:
        response = await in_thread(flask_app.test_client().get, "/inner")
        return f"{limiter.current_limit and limiter.current_limit.key} {response.text}", response.status_code

    client = quart_app.test_client()
    first = await client.get("/outer")
    assert await first.get_data(as_text=True) == "LIMITER/me/outer/9/1/day LIMITER/me/inner/2/1/day"
    assert [(await client.get("/outer")).status_code for _ in range(2)] == [200, 429]


def test_async_functions_keep_working(uri: str) -> None:
    """Of a Flask user who has some: a key function, and on_breach."""

    async def key() -> str:
        await asyncio.sleep(0)
        return "me"

    app, limiter = make(uri, key_func=key)

    @app.get("/")
    @limiter.limit("1/day")
    def index() -> str:
        return "ok"

    assert statuses(app.test_client(), "/", 2) == [200, 429]
