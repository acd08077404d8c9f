"""Preflight requests are answered before the application is asked, and no error leaves without headers."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import flask
import pytest
import quart

from decant.cors import CORS, cross_origin
from decant.errors import ConfigError
from decant.faces import face
from decant.limiter import Limiter
from tests.serving import serve

from .peers import OURS, Asked, ask, build

A, EVIL = "http://a.example", "http://evil.example"
PREFLIGHT = {"Origin": A, "Access-Control-Request-Method": "POST"}


def _watched(kind: str, **options: Any) -> tuple[Any, list[str]]:
    """An application that notes each hook, session and view that a request reaches."""
    seen: list[str] = []

    def set_up(app: Any, cors: Any, cross: Any) -> None:
        def note(what: str) -> Callable[..., None]:
            return lambda *_: seen.append(what)

        class Sessions(type(app.session_interface)):  # type: ignore[misc]
            def open_session(self, *args: Any) -> Any:
                seen.append("session")
                return super().open_session(*args)

        class AsyncSessions(type(app.session_interface)):  # type: ignore[misc]
            async def open_session(self, *args: Any) -> Any:
                seen.append("session")
                return await super().open_session(*args)

        app.session_interface = AsyncSessions() if isinstance(app, quart.Quart) else Sessions()
        app.before_request(note("before_request"))
        app.teardown_request(note("teardown"))
        app.add_url_rule("/seen", "seen", lambda: seen.append("view") or "", methods=["POST", "OPTIONS"])
        app.add_url_rule("/own", "own_view", cross(origins=A)(lambda: seen.append("view") or ""), methods=["POST"])
        cors(app, **options)

    return build(kind, set_up), seen


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("path", ["/seen", "/own"])
@pytest.mark.parametrize("origin", [A, EVIL])
async def test_a_preflight_request_reaches_no_hook_session_or_view(kind: str, path: str, origin: str) -> None:
    """So no limit counts it and no log-in is asked for, whether the origin is allowed or not."""
    app, seen = _watched(kind, origins=A)
    response = await ask(app, ("OPTIONS", path, {**PREFLIGHT, "Origin": origin}))
    assert (response.status_code, seen) == (200, [])
    assert response.headers.get("Access-Control-Allow-Origin") == (A if origin == A else None)
    await ask(app, ("POST", path, {"Origin": A}))
    assert {"session", "before_request", "view", "teardown"} == set(seen)


@pytest.mark.parity("cors", "automatic_options")
@pytest.mark.parametrize("kind", OURS)
async def test_the_application_may_answer_itself(kind: str) -> None:
    """``automatic_options=False`` leaves preflight requests to views for ``OPTIONS``; they get the headers."""
    app, seen = _watched(kind, automatic_options=False)
    response = await ask(app, ("OPTIONS", "/seen", PREFLIGHT))
    assert "view" in seen
    assert response.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize(
    "asked",
    [
        ("OPTIONS", "/seen", {"Origin": A}),
        ("OPTIONS", "/nowhere", PREFLIGHT),
        ("OPTIONS", "/other/seen", PREFLIGHT),
        ("GET", "/nowhere", PREFLIGHT),
    ],
    ids=["no method", "no such path", "no rule", "no OPTIONS"],
)
async def test_what_is_no_preflight_request_is_the_applications(kind: str, asked: Asked) -> None:
    app, seen = _watched(kind, resources=[r"/seen", r"/nowhere"])
    await ask(app, asked)
    assert "before_request" in seen


@pytest.mark.parity("cors", "intercept_exceptions")
@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("intercept", [True, False])
async def test_a_response_that_no_hook_has_seen_gets_headers_too(kind: str, intercept: bool) -> None:
    """A hook of the application that fails ends the chain before the rules' own: ``intercept_exceptions``."""

    def set_up(app: Any, cors: Any, _: Any) -> None:
        cors(app, origins=A, intercept_exceptions=intercept)

        @app.after_request
        def fails(response: Any) -> Any:
            raise RuntimeError("a failure")

    app = build(kind, set_up)
    response = await ask(app, ("GET", "/", {"Origin": A}))
    assert response.status_code == 500
    assert response.headers.getlist("Access-Control-Allow-Origin") == ([A] if intercept else [])


@pytest.mark.parametrize("kind", OURS)
async def test_errors_before_a_decorated_view_carry_its_headers(kind: str) -> None:
    """A limit that answers 429 in ``before_request``: the view's own options hold, not the application's."""

    def set_up(app: Any, cors: Any, cross: Any) -> None:
        framework: Any = quart if isinstance(app, quart.Quart) else flask
        cors(app, origins=EVIL)
        app.before_request(lambda: framework.abort(429))
        app.add_url_rule("/own-rules", "own_rules", cross(origins=A)(lambda: ""))

    app = build(kind, set_up)
    response = await ask(app, ("GET", "/own-rules", {"Origin": A}))
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (429, A)


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("cors_first", [True, False])
async def test_a_limiter_counts_no_preflight_request_and_its_429_has_headers(kind: str, cors_first: bool) -> None:
    """``decant.limiter``, whichever of the two is made first."""

    def set_up(app: Any, cors: Any, cross: Any) -> None:
        app.config["RATELIMIT_STORAGE_URI"] = "memory://"
        makers = [
            lambda: cors(app, origins=A),
            lambda: (Limiter if isinstance(app, quart.Quart) else face(Limiter))(
                lambda: "me", app=app, default_limits=["2/day"]
            ),
        ]
        for make in makers if cors_first else reversed(makers):
            make()

    app = build(kind, set_up)
    for expected in (200, 200, 429, 429):
        for _ in range(3):
            assert (await ask(app, ("OPTIONS", "/", PREFLIGHT))).status_code == 200
        response = await ask(app, ("POST", "/", {"Origin": A}))
        assert (response.status_code, response.headers.getlist("Access-Control-Allow-Origin")) == (expected, [A])


async def test_on_a_socket_with_bodies_that_are_too_large_and_below_a_mount_path() -> None:
    """Hypercorn, browsers' preflight, 413 while the body is read, 404 beside the mount path."""
    app = build("decant.Quart", lambda *_: None)
    app.config["MAX_CONTENT_LENGTH"] = 1000
    CORS(app, resources={"/items": {"origins": A}, "/nowhere": {"origins": [A]}})

    @app.post("/items")
    async def items() -> str:
        return str(len(await quart.request.get_data()))

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/mount"} if scope["type"] == "http" else scope, receive, send)

    async with serve(mounted) as url:
        status, headers, _ = await _fetch(url, "OPTIONS", "/mount/items", PREFLIGHT)
        assert (status, headers["Allow"], headers.get_all("Access-Control-Allow-Origin")) == (200, "OPTIONS, POST", [A])
        status, headers, _ = await _fetch(url, "POST", "/mount/items", {"Origin": A}, b"x" * 5000)
        assert (status, headers.get_all("Access-Control-Allow-Origin")) == (413, [A])
        status, headers, body = await _fetch(url, "POST", "/mount/items", {"Origin": A}, b"x" * 5)
        assert (status, headers.get_all("Access-Control-Allow-Origin"), body) == (200, [A], b"5")
        status, headers, _ = await _fetch(url, "GET", "/mount/nowhere", {"Origin": A})
        assert (status, headers.get_all("Access-Control-Allow-Origin")) == (404, [A])


async def _fetch(url: str, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Any:
    def ask() -> Any:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.msg, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


def _given(**options: Any) -> Callable[[], Any]:
    return lambda: CORS(quart.Quart(__name__), **options)


@pytest.mark.parity("cors", "Errors")
@pytest.mark.parametrize(
    ("make", "key"),
    [
        (_given(origins="*", supports_credentials=True, send_wildcard=True), "CORS_ORIGINS"),
        (_given(origins=["http://(a"]), "CORS_ORIGINS"),
        (_given(resources={"/a(": {}}), "CORS_RESOURCES"),
        (_given(resources={"/a": {"allow_headers": "x-[a"}}), "CORS_ALLOW_HEADERS"),
        (_given(resources=5), "Unexpected value for resources argument."),
        (_given(origins=5), "CORS_ORIGINS = 5"),
        (_given(max_age="an hour"), "CORS_MAX_AGE = 'an hour'"),
    ],
)
def test_a_wrong_option_stops_the_start(make: Callable[[], Any], key: str) -> None:
    """The error is a ``ValueError``, as in Flask-CORS, and names the key and the value."""
    with pytest.raises(ValueError, match=re.escape(key)) as raised:
        make()
    assert isinstance(raised.value, ConfigError) or "resources" in key


def test_an_unknown_option_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    CORS(quart.Quart(__name__), orgins="http://a.example")
    assert "orgins" in caplog.text


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a quart\.Quart or flask\.Flask"):
        CORS(object())


@pytest.mark.parity("cors", "max_age: timedelta / int / str / None")
async def test_no_age_is_said_where_it_is_configured() -> None:
    """``max_age=0`` is sent, which Flask-CORS forgets: without it browsers keep the answer for five seconds."""
    app = build("quart.Quart", lambda *_: None)
    app.add_url_rule("/now", "now", cross_origin(max_age=0)(lambda: ""), methods=["POST"])
    response = await ask(app, ("OPTIONS", "/now", PREFLIGHT))
    assert response.headers["Access-Control-Max-Age"] == "0"


@pytest.mark.parametrize("kind", OURS)
async def test_a_decorator_that_answers_in_the_views_place_keeps_the_views_rules(kind: str) -> None:
    """A cache above ``cross_origin``: its stored answers get the headers of each request, in an app with a ``CORS``."""

    def set_up(app: Any, cors: Any, cross: Any) -> None:
        cors(app, resources=[])

        def answered(view: Any) -> Any:
            @wraps(view)
            def stored() -> str:
                return "stored"

            return stored

        app.add_url_rule("/stored", "stored", answered(cross(origins=[A, EVIL])(lambda: "fresh")))

    app = build(kind, set_up)
    for origin in (A, EVIL):
        response = await ask(app, ("GET", "/stored", {"Origin": origin}))
        assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
