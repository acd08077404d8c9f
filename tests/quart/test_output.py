"""What goes out: files, cookies, statuses, streams."""

from __future__ import annotations

import asyncio
import io
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flask
import pytest

import decant.quart
from decant import Quart, wait
from decant.quart import (
    Blueprint,
    g,
    has_request_context,
    make_response,
    redirect,
    request,
    send_file,
    send_from_directory,
    session,
    stream_template_string,
    stream_with_context,
)
from decant.testing import Client

COMPARED = {"Content-Type", "Content-Length", "Content-Disposition", "Content-Encoding", "Content-Range"}
COMPARED |= {"Cache-Control", "ETag", "Last-Modified", "Accept-Ranges"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("0123456789" * 100)
    (tmp_path / "b.tar.gz").write_bytes(b"gz")
    (tmp_path / "public").mkdir()
    return tmp_path


@pytest.fixture
def flask_app(folder: Path) -> flask.Flask:
    return flask.Flask(__name__, root_path=str(folder))


@pytest.fixture
def static_app(folder: Path) -> Quart:
    app = Quart(__name__, static_folder=str(folder), static_url_path="/static", root_path=str(folder))
    app.test_client_class = Client
    return app


def bytes_file() -> io.BytesIO:
    return io.BytesIO(b"0123456789")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Range": "bytes=2-5"}, {"Range": "bytes=-1"}, {"Range": "bytes=5000-"}, {"If-None-Match": '"e"'}],
)
@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("a.txt", {}),
        ("a.txt", {"as_attachment": True}),
        ("a.txt", {"download_name": "é x.csv", "mimetype": "text/csv"}),
        ("a.txt", {"max_age": 60, "etag": "e"}),
        ("a.txt", {"max_age": 0, "etag": False, "conditional": False}),
        ("a.txt", {"last_modified": datetime(2020, 1, 1, tzinfo=UTC), "max_age": lambda path: 7}),
        ("b.tar.gz", {}),
        ("b.tar.gz", {"as_attachment": True}),
        (bytes_file, {"download_name": "x.bin"}),
        (bytes_file, {"mimetype": "text/plain", "etag": "e"}),
    ],
)
async def test_send_file_gives_flasks_answer(
    folder: Path, app: Quart, flask_app: flask.Flask, source: Any, options: dict[str, Any], headers: dict[str, str]
) -> None:
    """The same status, headers and body, keyword by keyword; a relative path starts at the application's root."""
    app.root_path = str(folder)

    @app.get("/")
    async def view() -> Any:
        return await send_file(source if isinstance(source, str) else source(), **options)

    @flask_app.get("/")
    def flask_view() -> Any:
        return flask.send_file(source if isinstance(source, str) else source(), **options)

    got = await app.test_client().get("/", headers=headers)
    expected = await asyncio.to_thread(lambda: flask_app.test_client().get("/", headers=headers))
    assert got.status_code == expected.status_code
    assert await got.get_data() == await asyncio.to_thread(expected.get_data)
    await asyncio.to_thread(expected.close)
    if got.status_code < 400:
        wanted = {name: expected.headers.get(name) for name in COMPARED}
        assert {name: got.headers.get(name) for name in COMPARED} == wanted


async def test_send_file_streams_any_binary_file_and_closes_it(folder: Path, app: Quart) -> None:
    """A file object without a known size is read in pieces, in a thread, and closed."""
    files = []

    @app.get("/")
    def view() -> Any:
        files.append((folder / "a.txt").open("rb"))
        return wait(send_file(files[0], mimetype="text/plain"))

    response = await app.test_client().get("/")
    assert await response.get_data() == b"0123456789" * 100
    assert files[0].closed


async def test_quarts_names_work_too(folder: Path, app: Quart) -> None:
    """attachment_filename, cache_timeout, add_etags; an unknown name is a TypeError that says which."""
    async with app.test_request_context():
        response = await send_file(
            folder / "a.txt", as_attachment=True, attachment_filename="q.txt", cache_timeout=9, add_etags=False
        )
        assert response.headers["Content-Disposition"] == "attachment; filename=q.txt"
        assert response.cache_control.max_age == 9
        assert "ETag" not in response.headers
        with pytest.raises(TypeError, match="colour"):
            await send_file(folder / "a.txt", colour="red")
        with pytest.raises(TypeError, match="download_name"):
            await send_file(bytes_file())
        with pytest.raises(ValueError, match="text"):
            await send_file(io.StringIO("x"), mimetype="text/plain")


@pytest.mark.parametrize("name", ["../a.txt", "none.txt", "a\0b", ".", "/etc/passwd"])
async def test_nothing_outside_the_directory_is_sent(folder: Path, app: Quart, name: str) -> None:
    """send_from_directory answers 404, whatever the client asks for."""

    @app.get("/")
    async def view() -> Any:
        return await send_from_directory(folder / "public", request.args["name"])

    assert (await app.test_client().get("/", query_string={"name": name})).status_code == 404


async def test_static_files_have_flasks_headers(static_app: Quart) -> None:
    """No-cache unless SEND_FILE_MAX_AGE_DEFAULT says otherwise; twelve hours, as in Quart, without FLASK_COMPAT."""
    app, client = static_app, static_app.test_client()
    assert (await client.get("/static/a.txt")).headers["Cache-Control"] == "no-cache"
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60
    assert (await client.get("/static/a.txt")).headers["Cache-Control"] == "public, max-age=60"
    app.config.update(app.default_config, FLASK_COMPAT=False)
    assert (await client.get("/static/a.txt")).headers["Cache-Control"] == "public, max-age=43200"


@pytest.mark.parametrize("owner", ["app", "blueprint", "instance"])
async def test_resources_are_opened_with_flasks_arguments(tmp_path: Path, owner: str) -> None:
    """The mode, the encoding of Flask 3.1, and only in the instance folder may files be written; Quart's ``path=``."""
    await asyncio.to_thread((tmp_path / "a.txt").write_bytes, "é".encode())
    app = Quart(__name__, root_path=str(tmp_path), instance_path=str(tmp_path))
    blueprint = Blueprint("b", __name__, root_path=str(tmp_path))
    opens = {
        "app": app.open_resource,
        "blueprint": blueprint.open_resource,
        "instance": app.open_instance_resource,
    }[owner]
    async with await opens("a.txt") as file:
        assert await file.read() == "é".encode()
    async with await opens("a.txt", "r", encoding="latin-1") as file:
        assert await file.read() == "Ã©"
    async with await opens(path="a.txt", mode="rt", encoding="utf-8") as file:
        assert await file.read() == "é"
    if owner == "instance":
        async with await opens("b.txt", "w") as file:
            await file.write("é")
        assert await asyncio.to_thread((tmp_path / "b.txt").read_bytes) == "é".encode()
    else:
        with pytest.raises(ValueError, match="reading"):
            await opens("b.txt", "w")


async def test_set_cookie_takes_flasks_keywords(app: Quart) -> None:
    """The same header for the same call."""
    options: dict[str, Any] = {
        "max_age": 5, "path": "/x", "domain": "example.org", "secure": True, "httponly": True, "samesite": "Lax",
        "partitioned": True,
    }  # fmt: skip
    ours, theirs = decant.quart.Response(), flask.Response()
    ours.set_cookie("a", "b", **options)
    theirs.set_cookie("a", "b", **options)
    assert ours.headers["Set-Cookie"] == theirs.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        (("x", "201 CREATED"), 201, b"x"),
        (("x", "201 CREATED", {"A": "b"}), 201, b"x"),
        (iter(["a", "b"]), 200, b"ab"),
        ((map(str, [1, 2]), 202), 202, b"12"),
        (([1], 200), 200, b"[1]\n"),
    ],
)
async def test_views_return_what_flasks_may(app: Quart, result: Any, status: int, body: bytes) -> None:
    """A status as text, any iterator as a body."""

    @app.get("/")
    async def view() -> Any:
        return result

    response = await app.test_client().get("/")
    assert (response.status_code, await response.get_data()) == (status, body)


async def test_errors_are_responses_of_the_applications_class(app: Quart) -> None:
    """An after_request hook finds the same methods on a 404 and on a redirect as on any other."""
    seen = []

    @app.after_request
    async def look(response: Any) -> Any:
        seen.append((type(response) is app.response_class, len(await response.get_data()) > 0))
        return response

    @app.get("/moved")
    async def moved() -> Any:
        return redirect("/elsewhere")

    client = app.test_client()
    await client.get("/none")
    await client.get("/moved")
    assert seen == [(True, True), (True, True)]


async def test_response_json_is_silent_when_told_so(app: Quart) -> None:
    """get_json(silent=True) is None for what is not JSON; without it the error is raised."""
    async with app.test_request_context():
        response = await make_response("{", 200, {"Content-Type": "application/json"})
        assert await response.get_json(silent=True) is None
        with pytest.raises(ValueError):
            await response.get_json()
        assert await decant.quart.Response("1").get_json() is None


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_call_on_close_runs_after_the_last_byte(app: Quart, kind: str) -> None:
    """Once, also for a stream that fails."""
    events = []

    @app.get("/<how>")
    async def view(how: str) -> Any:
        async def pieces() -> Any:
            yield b"a"
            events.append("last")
            if how == "bad":
                raise RuntimeError("broken")

        response = app.response_class(pieces(), direct_passthrough=True)

        async def closed() -> None:
            events.append("closed")

        response.call_on_close(closed if kind == "async" else lambda: events.append("closed"))
        return response

    client = app.test_client()
    await client.get("/good")
    assert events == ["last", "closed"]
    with pytest.raises(RuntimeError, match="broken"):
        await client.get("/bad")
    assert events == ["last", "closed"] * 2


STREAMS = ["sync generator", "sync decorator", "async generator", "async decorator"]


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_keeps_its_context(app: Quart, kind: str) -> None:
    """request, session and the very same g while it streams; the teardown runs once, after the last byte."""
    events: list[Any] = []

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        events.append(("teardown", error))

    def sync_pieces() -> Any:
        for _ in range(2):
            yield f"{wait(asyncio.sleep(0, g.x))} {session['s']} {request.path};"
        events.append("last")

    async def async_pieces() -> Any:
        for _ in range(2):
            yield f"{wait(asyncio.sleep(0, g.x))} {session['s']} {request.path};"
        events.append("last")

    @app.get("/stream")
    async def view() -> Any:
        g.x, session["s"] = "g", "s"
        pieces: Any = sync_pieces if kind.startswith("sync") else async_pieces
        kept = stream_with_context(pieces)() if kind.endswith("decorator") else stream_with_context(pieces())
        return app.response_class(kept)

    response = await app.test_client().get("/stream")
    assert await response.get_data(as_text=True) == "g s /stream;" * 2
    assert events == ["last", ("teardown", None)]


async def test_a_plain_stream_has_no_context_and_holds_nothing(app: Quart) -> None:
    """As in Flask: without stream_with_context the teardown runs first, so that no connection is held for hours."""
    events = []

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        events.append("teardown")

    @app.get("/")
    def view() -> Any:
        def pieces() -> Any:
            events.append(has_request_context())
            yield "x"

        return pieces()

    await app.test_client().get("/")
    assert events == ["teardown", False]


async def test_a_stream_that_fails_tells_its_teardown(app: Quart) -> None:
    """teardown_request gets the error of the generator."""
    errors = []

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        errors.append(repr(error))

    @app.get("/")
    async def view() -> Any:
        async def pieces() -> Any:
            yield "x"
            raise RuntimeError("broken")

        return app.response_class(stream_with_context(pieces()))

    with pytest.raises(RuntimeError, match="broken"):
        await app.test_client().get("/")
    assert errors == ["RuntimeError('broken')"]


async def test_streamed_templates_keep_their_context(app: Quart) -> None:
    """stream_template_string: g, the request, and what waits in a template."""
    app.jinja_env.globals["slow"] = lambda: wait(asyncio.sleep(0, "waited"))

    @app.get("/page")
    async def view() -> Any:
        g.x = "g"
        return await stream_template_string("{{ g.x }} {{ request.path }} {{ slow() }} {{ y }}", y=1)

    assert await (await app.test_client().get("/page")).get_data() == b"g /page waited 1"


async def test_stream_with_context_needs_a_request(app: Quart) -> None:
    """Outside it says so, instead of failing while the response streams."""
    with pytest.raises(RuntimeError, match="while a request is handled"):
        stream_with_context(iter(()))
    with pytest.raises(RuntimeError, match="while a request is handled"):
        stream_with_context(lambda: iter(()))


async def test_a_view_on_the_loop_streams_on_the_loop(app: Quart) -> None:
    """SYNC_HANDLERS = "loop": the steps of its generator too, and they may wait."""
    app.config["SYNC_HANDLERS"] = "loop"

    @app.get("/")
    def view() -> Any:
        yield str(wait(asyncio.sleep(0, threading.current_thread() is threading.main_thread())))

    assert await (await app.test_client().get("/")).get_data() == b"True"


def test_every_name_of_flask_and_quart_is_here() -> None:
    """Porting an import is a change of the module's name."""
    import quart

    for module in (flask, quart):
        for name in set(vars(module)) - {"__getattr__"}:
            if getattr(vars(module)[name], "__module__", "").startswith(("flask", "quart", "werkzeug", "markupsafe")):
                assert hasattr(decant.quart, name), name
    assert set(decant.quart.__all__) <= set(dir(decant.quart))
