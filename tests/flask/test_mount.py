"""One application of two halves: who answers what."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from werkzeug.exceptions import NotFound
from werkzeug.routing import RequestRedirect

from decant import Quart
from decant.errors import ConfigError
from decant.flask import Mounted, mount
from tests.serving import serve

QUART, FLASK = "quart", "flask"


@pytest.fixture
def halves(tmp_path: Path) -> tuple[Quart, flask.Flask]:
    """Each rule answers with the name of its half and its arguments."""
    ours = Quart("ours", root_path=str(tmp_path), static_folder="ours", static_url_path="/static")
    theirs = flask.Flask("theirs", root_path=str(tmp_path), static_folder="theirs", static_url_path="/static")
    ours.secret_key = theirs.secret_key = "for tests"
    return ours, theirs


def rule(app: Any, path: str, *methods: str, **options: Any) -> None:
    half = QUART if isinstance(app, Quart) else FLASK
    name = f"{path} {methods} {options}"

    def view(**arguments: Any) -> Any:
        return {"half": half, **arguments}

    async def async_view(**arguments: Any) -> Any:
        return view(**arguments)

    app.add_url_rule(path, name, async_view if half == QUART else view, methods=methods or ["GET"], **options)


async def half_of(app: Any, method: str, path: str, **options: Any) -> Any:
    response = await app.test_client().open(path, method=method, **options)
    return (await response.get_json() or {}).get("half") if response.status_code == 200 else response.status_code


def answers(app: Any, *expected: tuple[str, str, Any]) -> None:
    async def ask() -> list[Any]:
        return [(method, path, await half_of(app, method, path)) for method, path, _ in expected]

    assert asyncio.run(ask()) == list(expected)


def test_quart_answers_what_it_routes_and_flask_the_rest(halves: Any) -> None:
    ours, theirs = halves
    rule(ours, "/both")
    rule(theirs, "/both")
    rule(theirs, "/old")
    rule(ours, "/new/<int:number>")
    mount(ours, theirs)
    answers(ours, ("GET", "/both", QUART), ("GET", "/old", FLASK), ("GET", "/new/1", QUART), ("GET", "/new/x", 404))


def test_a_method_that_only_flask_routes_is_flasks(halves: Any) -> None:
    ours, theirs = halves
    rule(ours, "/links")
    rule(theirs, "/links", "GET", "POST")
    mount(ours, theirs)
    answers(ours, ("GET", "/links", QUART), ("POST", "/links", FLASK), ("DELETE", "/links", 405))


def test_a_method_that_neither_routes_is_405_with_the_methods_of_both(halves: Any) -> None:
    ours, theirs = halves
    rule(ours, "/links")
    rule(theirs, "/links", "POST")
    rule(theirs, "/old", "PUT")
    mount(ours, theirs)

    async def allowed(method: str, path: str) -> tuple[int, str]:
        response = await ours.test_client().open(path, method=method)
        return response.status_code, ", ".join(sorted(response.headers["Allow"].split(", ")))

    async def ask() -> None:
        assert await allowed("DELETE", "/links") == (405, "GET, HEAD, OPTIONS, POST")
        assert await allowed("OPTIONS", "/links") == (200, "GET, HEAD, OPTIONS, POST")
        assert await allowed("GET", "/old") == (405, "OPTIONS, PUT")

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("in_quart", "in_flask", "path", "half"),
    [
        ("/<slug>", "/login", "/login", FLASK),
        ("/<slug>", "/login", "/abc", QUART),
        ("/login", "/<slug>", "/login", QUART),
        ("/<slug>", "/<other>", "/abc", QUART),
        ("/<slug>", "/<int:number>", "/12", FLASK),
        ("/<int:number>", "/<slug>", "/12", QUART),
        ("/<path:rest>", "/<slug>/edit", "/a/edit", FLASK),
        ("/<path:rest>", "/<slug>/edit", "/a/show", QUART),
        ("/<slug>/edit", "/<path:rest>", "/a/edit", QUART),
        ("/<slug>", "/v<number>", "/v1", FLASK),
        ("/<slug>.json", "/<slug>", "/a.json", QUART),
        ("/<slug>", "/<slug>.json", "/a.json", FLASK),
        ('/<any("a", "b"):name>', "/<slug>", "/a", QUART),
        ("/<string(length=2):code>", "/en", "/en", FLASK),
        ("/<int:number>", "/1<slug>", "/12", FLASK),
        ("/<slug>/<page>", "/<path:rest>/edit", "/a/edit", FLASK),
    ],
)
def test_of_two_rules_the_more_specific_one_answers(
    halves: Any, in_quart: str, in_flask: str, path: str, half: str
) -> None:
    """So a rule that fits much can be moved while rules that it would hide are still Flask's."""
    ours, theirs = halves
    rule(ours, in_quart)
    rule(theirs, in_flask)
    mount(ours, theirs)
    answers(ours, ("GET", path, half))


@pytest.mark.parametrize(
    ("in_quart", "in_flask"),
    [
        ("/<slug>", "/login"),
        ("/<slug>", "/<int:n>"),
        ("/<path:rest>", "/<a>/edit"),
        ("/a<b>", "/<c>"),
        ("/<a>", "/b<c>"),
        ("/<slug>", "/login/"),
        ("/login/", "/<slug>"),
        ("/<slug>", "/<other>/"),
        ("/<path:rest>", "/<a>/b/"),
        ("/<int:n>", "/1<c>"),
        ("/<a>/<b>", "/<path:rest>/c"),
    ],
)
def test_the_choice_is_that_of_one_url_map(in_quart: str, in_flask: str) -> None:
    """What Werkzeug takes where both rules are in one application: a redirect to a missing slash, too."""
    both = flask.Flask("both")
    rule(both, in_quart)
    rule(both, in_flask)
    ours, theirs = Quart("ours"), flask.Flask("theirs")
    ours.secret_key = "for tests"
    rule(ours, in_quart)
    rule(theirs, in_flask)
    mounted = mount(ours, theirs)
    adapter = both.url_map.bind("localhost")
    for path in ("/login", "/12", "/a/edit", "/a/b/c", "/ab", "/bc", "/x"):
        try:
            expected = FLASK if adapter.match(path)[0].startswith(f"{in_flask} ") else QUART
        except RequestRedirect:
            expected = FLASK if in_flask.endswith("/") else QUART
        except NotFound:
            expected = FLASK  # what neither routes
        scope = {"type": "http", "path": path, "method": "GET", "headers": [], "root_path": ""}
        assert mounted.matcher.decide(scope).half == expected, path


def test_a_missing_slash_is_redirected_by_who_has_the_rule(halves: Any) -> None:
    ours, theirs = halves
    rule(ours, "/links/")
    rule(theirs, "/links")
    rule(ours, "/new/")
    rule(theirs, "/old/")
    rule(ours, "/<slug>")
    mount(ours, theirs)
    answers(ours, ("GET", "/links/", QUART), ("GET", "/links", FLASK), ("GET", "/new", 308), ("GET", "/old", 308))


def test_routes_may_be_added_after_mount(halves: Any) -> None:
    ours, theirs = halves
    mount(ours, theirs)
    rule(theirs, "/old")
    rule(theirs, "/moved")
    rule(ours, "/moved")
    answers(ours, ("GET", "/old", FLASK), ("GET", "/moved", QUART))


async def test_below_a_prefix_everything_is_flasks(halves: Any) -> None:
    ours, theirs = halves
    rule(ours, "/<path:rest>")
    rule(theirs, "/")
    rule(theirs, "/page")

    @theirs.get("/where")
    def where() -> Any:
        return {"root": flask.request.script_root, "path": flask.request.path, "url": flask.url_for("where")}

    mount(ours, theirs, at="/legacy")
    expected = [
        ("/page", QUART),
        ("/legacy/page", FLASK),
        ("/legacy/", FLASK),
        ("/legacy/none", 404),
        ("/legacyx", QUART),
    ]
    assert [(path, await half_of(ours, "GET", path)) for path, _ in expected] == expected
    response = await ours.test_client().get("/legacy/where")
    assert await response.get_json() == {"root": "/legacy", "path": "/where", "url": "/legacy/where"}
    assert (await ours.test_client().get("/legacy")).status_code in (200, 308)


async def test_the_whole_may_be_mounted_below_a_path_too(halves: Any) -> None:
    ours, theirs = halves
    rule(ours, "/new")

    @theirs.get("/old")
    def old() -> Any:
        return {"half": FLASK, "root": flask.request.script_root, "path": flask.request.path}

    mount(ours, theirs)
    client = ours.test_client()
    assert (await (await client.get("/app/new", root_path="/app")).get_json())["half"] == QUART
    found = await (await client.get("/app/old", root_path="/app")).get_json()
    assert found == {"half": FLASK, "root": "/app", "path": "/old"}


def test_static_files_of_both(halves: Any, tmp_path: Path) -> None:
    """Each half's folder below one path; Quart's of two files of one name."""
    ours, theirs = halves
    for folder, names in (("ours", ("new.css", "site.css")), ("theirs", ("old.css", "site.css"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(f"{folder} {name}")
    mount(ours, theirs)

    async def ask(name: str) -> tuple[int, str]:
        response = await ours.test_client().get(f"/static/{name}")
        return response.status_code, (await response.get_data(as_text=True)) if response.status_code == 200 else ""

    assert asyncio.run(ask("new.css")) == (200, "ours new.css")
    assert asyncio.run(ask("old.css")) == (200, "theirs old.css")
    assert asyncio.run(ask("site.css")) == (200, "ours site.css")
    assert asyncio.run(ask("none.css"))[0] == 404
    assert asyncio.run(ask("../theirs/old.css"))[0] == 404


def error_pages(app: Any, request: Any, half: str) -> None:
    @app.errorhandler(404)
    def missing(error: Any) -> Any:
        if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
            return {"half": half}, 404
        return f"<p>{half}</p>", 404


@pytest.mark.parametrize("unrouted", [FLASK, QUART])
async def test_what_neither_routes_gets_the_error_page_of_one_half_by_accept(halves: Any, unrouted: Any) -> None:
    """Flask's, as the application's users know it, unless Quart is to answer it; in the form that was asked for."""
    ours, theirs = halves
    error_pages(ours, quart.request, QUART)
    error_pages(theirs, flask.request, FLASK)
    rule(theirs, "/old")
    mount(ours, theirs, unrouted=unrouted)
    client = ours.test_client()
    page = await client.get("/nowhere", headers={"Accept": "text/html"})
    assert (page.status_code, await page.get_data(as_text=True)) == (404, f"<p>{unrouted}</p>")
    told = await client.get("/nowhere", headers={"Accept": "application/json"})
    assert (told.status_code, await told.get_json()) == (404, {"half": unrouted})
    assert await half_of(ours, "GET", "/old") == FLASK


async def test_wsgi_middleware_answers_what_no_rule_has(halves: Any) -> None:
    ours, theirs = halves
    inner = theirs.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/ping":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b'{"half": "flask"}']
        return inner(environ, start_response)

    theirs.wsgi_app = middleware
    mount(ours, theirs)
    assert await half_of(ours, "GET", "/ping") == FLASK


async def test_hooks_see_the_requests_of_their_own_half(halves: Any) -> None:
    ours, theirs = halves
    seen: list[tuple[str, str]] = []
    ours.before_request(lambda: seen.append((QUART, quart.request.path)))
    theirs.before_request(lambda: seen.append((FLASK, flask.request.path)))
    rule(ours, "/new")
    rule(theirs, "/old")
    mount(ours, theirs)
    for path in ("/new", "/old"):
        await half_of(ours, "GET", path)
    assert seen == [(QUART, "/new"), (FLASK, "/old")]


@pytest.mark.parametrize("testing", [True, False])
async def test_what_a_view_raises_reaches_the_test_of_either_half(halves: Any, testing: bool) -> None:
    """Where the applications are tested; else it is an answer with status 500."""
    ours, theirs = halves
    ours.testing = theirs.testing = testing
    ours.add_url_rule("/new", "new", _failing)
    theirs.add_url_rule("/old", "old", lambda: [][0])
    mount(ours, theirs)
    for path in ("/new", "/old"):
        with pytest.raises(IndexError) if testing else nullcontext():
            assert await half_of(ours, "GET", path) == 500


async def _failing() -> Any:
    return [][0]


async def test_asgi_middleware_stands_before_both_halves(halves: Any) -> None:
    """Whether it was put there before mount or after it."""
    ours, theirs = halves
    rule(ours, "/new")
    rule(theirs, "/old")

    def wrap(name: bytes) -> None:
        inner = ours.asgi_app

        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            async def adding(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (name, b"1")]}
                await send(message)

            await inner(scope, receive, adding)

        ours.asgi_app = middleware

    wrap(b"x-before")
    mount(ours, theirs)
    wrap(b"x-after")
    for path in ("/new", "/old"):
        response = await ours.test_client().get(path)
        assert (response.headers["X-Before"], response.headers["X-After"]) == ("1", "1")


async def test_websockets_of_quart(halves: Any) -> None:
    ours, theirs = halves
    rule(theirs, "/old")

    @ours.websocket("/ws")
    async def echo() -> None:
        await quart.websocket.send(await quart.websocket.receive())

    mount(ours, theirs)
    async with ours.test_client().websocket("/ws") as socket:
        await socket.send("hello")
        assert await socket.receive() == "hello"
    assert await half_of(ours, "GET", "/ws") == 404


async def test_bodies_reach_both_halves_over_a_real_socket(halves: Any) -> None:
    import urllib.request

    ours, theirs = halves
    ours.post("/new")(_echo_of_quart)
    theirs.post("/old")(lambda: flask.request.get_data())
    mount(ours, theirs)
    body = bytes(range(256)) * 500

    def post(url: str) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=20) as response:
            return bytes(response.read())

    async with serve(ours) as url:
        for path in ("/new", "/old"):
            assert await asyncio.to_thread(post, url + path) == body


async def _echo_of_quart() -> bytes:
    return bytes(await quart.request.get_data())


async def test_the_lifespan_is_that_of_both_halves(halves: Any) -> None:
    """The Flask half's threads are there from the start to the end, and it can be served again."""
    ours, theirs = halves
    rule(theirs, "/old")
    mounted = mount(ours, theirs)
    for _ in range(2):
        async with ours.test_app():
            assert mounted.asgi.watchdog.is_running
            assert await half_of(ours, "GET", "/old") == FLASK
        assert not mounted.asgi.watchdog.is_running


async def test_a_mounted_application_is_an_asgi_application(halves: Any) -> None:
    ours, theirs = halves
    rule(theirs, "/old")
    mounted = mount(ours, theirs)
    assert isinstance(mounted, Mounted)
    async with serve(mounted) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET /old HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b'"half":"flask"' in await asyncio.wait_for(reader.read(), 20)
        writer.close()


def test_a_plain_quart_application_may_be_the_quart_half(tmp_path: Path) -> None:
    ours, theirs = quart.Quart("ours"), flask.Flask("theirs")
    ours.secret_key = "for tests"
    rule(theirs, "/old")

    @ours.get("/new")
    async def new() -> Any:
        return {"half": QUART}

    mount(ours, theirs)
    answers(ours, ("GET", "/new", QUART), ("GET", "/old", FLASK))


def test_routes_by_host() -> None:
    """Rules of a subdomain, in either half."""
    ours, theirs = Quart("ours", subdomain_matching=True), flask.Flask("theirs", subdomain_matching=True)
    for app in (ours, theirs):
        app.config.update(SERVER_NAME="shop.example", SECRET_KEY="for tests")
    rule(ours, "/", subdomain="new")
    rule(theirs, "/", subdomain="old")
    rule(theirs, "/")
    mount(ours, theirs)
    for host, half in (("new.shop.example", QUART), ("old.shop.example", FLASK), ("shop.example", FLASK)):
        assert asyncio.run(half_of(ours, "GET", "/", headers={"Host": host})) == half, host


@pytest.mark.parametrize("at", ["legacy", "/legacy/", "/a//b", "/<a>", 7])
def test_a_prefix_that_is_none_stops_the_start(halves: Any, at: Any) -> None:
    with pytest.raises(ConfigError, match="at = "):
        mount(*halves, at=at)


def test_what_cannot_be_mounted_says_why(halves: Any) -> None:
    ours, theirs = halves
    with pytest.raises(TypeError, match=r"takes a quart\.Quart and a flask\.Flask, not Flask and Quart"):
        mount(theirs, ours)
    with pytest.raises(ConfigError, match="unrouted = 'none'"):
        mount(ours, theirs, unrouted="none")  # type: ignore[arg-type]
    mount(ours, theirs)
    with pytest.raises(RuntimeError, match="'ours' has a Flask half already: 'theirs'"):
        mount(ours, flask.Flask("more"))


def test_it_needs_the_base_install_only() -> None:
    """As it goes into the environment that a Flask team has."""
    script = """
import sys
for name in ("sqlalchemy", "redis", "prometheus_client", "limits", "socketio", "msgspec", "arq"):
    sys.modules[name] = None
import asyncio, flask
from decant import Quart
from decant.flask import mount
app, legacy = Quart("ours"), flask.Flask("theirs")
legacy.secret_key = "for tests"
legacy.add_url_rule("/", "index", lambda: "flask")
mount(app, legacy)
async def ask():
    async with app.test_app():
        return await (await app.test_client().get("/")).get_data(as_text=True)
print(asyncio.run(ask()))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("flask\n", "")
