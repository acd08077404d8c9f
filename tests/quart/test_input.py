"""What clients send: JSON, forms, bodies and addresses, good and bad."""

from __future__ import annotations

import asyncio
from typing import Any

import flask
import pytest

from decant import Quart
from decant.quart import jsonify, request

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def client(app: Quart) -> Any:
    @app.post("/json")
    async def json_view() -> Any:
        return jsonify(await request.get_json())

    @app.post("/silent")
    async def silent() -> Any:
        return jsonify(await request.get_json(silent=True))

    return app.test_client()


@pytest.fixture
def flask_client() -> Any:
    app = flask.Flask(__name__)

    @app.post("/json")
    def json_view() -> Any:
        return flask.jsonify(flask.request.get_json())

    @app.post("/silent")
    def silent() -> Any:
        return flask.jsonify(flask.request.get_json(silent=True))

    return app.test_client()


@pytest.mark.parametrize("path", ["/json", "/silent"])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"a": 1}', JSON),
        (b'{"a": 1}', {"Content-Type": "application/vnd.api+json"}),
        (b'{"a": 1}', {}),
        (b'{"a": 1}', {"Content-Type": "text/plain"}),
        (b"", JSON),
        (b"{", JSON),
        (b'"\xff"', JSON),
        ('"é"'.encode("utf-16"), JSON),
        (b"1" * 10_000, JSON),
    ],
)
async def test_json_is_answered_as_flask_does(
    client: Any, flask_client: Any, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """The same status and the same value: 200, 400 or 415."""
    ours = await client.post(path, data=body, headers=headers)
    theirs = flask_client.post(path, data=body, headers=headers)
    assert (ours.status_code, await ours.get_json()) == (theirs.status_code, theirs.get_json())


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, rb'"\ud800"', rb'{"a": ["\udfff"]}', rb'{"\ud800": 1}', b"\x00"]
)
async def test_json_that_flask_chokes_on_is_a_bad_request(client: Any, body: bytes) -> None:
    """Too deep for the parser, or half a surrogate pair, which no database would take: 400."""
    assert (await client.post("/json", data=body, headers=JSON)).status_code == 400
    assert await (await client.post("/silent", data=body, headers=JSON)).get_json() is None


async def test_a_whole_surrogate_pair_is_text(client: Any) -> None:
    """What JSON writes as two escapes is one character."""
    response = await client.post("/json", data=rb'"\ud83d\ude00"', headers=JSON)
    assert await response.get_json() == "\N{GRINNING FACE}"


async def test_the_value_is_parsed_once(app: Quart) -> None:
    """cache=True gives the same object again; a silent failure does not hide the error of a later call."""

    @app.post("/")
    async def view() -> str:
        first = await request.get_json()
        assert await request.get_json() is first
        assert await request.json is first
        assert await request.get_json(cache=False) is not first
        return "same"

    @app.post("/bad")
    async def bad() -> str:
        assert await request.get_json(silent=True) is None
        await request.get_json()
        return "never"

    client = app.test_client()
    assert (await client.post("/", json={"a": 1})).status_code == 200
    assert (await client.post("/bad", data=b"{", headers=JSON)).status_code == 400


async def test_without_flask_compat_another_type_is_none(app: Quart) -> None:
    """FLASK_COMPAT = False: get_json() is None unless the body is said to be JSON, as in Quart."""
    app.config["FLASK_COMPAT"] = False

    @app.post("/")
    async def view() -> Any:
        return jsonify(await request.get_json(), await request.get_json(force=True))

    response = await app.test_client().post("/", data=b"[1]", headers={"Content-Type": "text/plain"})
    assert await response.get_json() == [None, [1]]


@pytest.mark.parametrize(("compat", "answer"), [(True, b""), (False, b"a=1")])
async def test_a_form_leaves_no_data(app: Quart, compat: bool, answer: bytes) -> None:
    """request.data is empty where the body was a form, as in Flask; Quart gives the form's source."""
    app.config["FLASK_COMPAT"] = compat

    @app.post("/")
    async def view() -> Any:
        data = await request.data
        assert (await request.form)["a"] == "1"
        return data or b""

    response = await app.test_client().post(
        "/", data=b"a=1", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert await response.get_data() == answer


async def test_a_form_can_be_parsed_after_its_source_was_read(app: Quart) -> None:
    """As in Flask: get_data() keeps the body, so that form and files are still there."""

    @app.post("/")
    async def view() -> Any:
        length = len(await request.get_data())
        return {"length": length, "form": (await request.form)["a"], "file": (await request.files)["f"].filename}

    body = (
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n\r\nxyz\r\n--b--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = await app.test_client().post("/", data=body, headers=headers)
    assert await response.get_json() == {"length": len(body), "form": "1", "file": "x.txt"}


async def test_text_that_is_not_utf8_is_replaced(app: Quart) -> None:
    """get_data(as_text=True) does not fail on bytes that a client sends."""

    @app.post("/")
    async def view() -> Any:
        return await request.get_data(as_text=True)

    response = await app.test_client().post("/", data=b"a\xffb")
    assert await response.get_data(as_text=True) == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
async def test_a_form_past_its_limits_is_refused(app: Quart, kind: str) -> None:
    """MAX_FORM_MEMORY_SIZE and MAX_FORM_PARTS: 413."""
    app.config.update(MAX_FORM_MEMORY_SIZE=1_000, MAX_FORM_PARTS=5)

    @app.post("/")
    async def view() -> Any:
        return {"fields": len(await request.form)}

    def part(name: str, value: str) -> str:
        return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'

    client = app.test_client()
    multipart = kind.startswith("multipart")
    large = part("a", "x" * 2_000) + "--b--\r\n" if multipart else "a=" + "x" * 2_000
    assert (await client.post("/", data=large, headers={"Content-Type": kind})).status_code == 413
    if multipart:
        many = "".join(part(str(number), "x") for number in range(6)) + "--b--\r\n"
        assert (await client.post("/", data=many, headers={"Content-Type": kind})).status_code == 413


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_view_may_raise_the_limit_before_it_reads(app: Quart, chunked: bool) -> None:
    """request.max_content_length, as in Flask 3.1; also where more has arrived than the limit before it."""
    app.config["MAX_CONTENT_LENGTH"] = 10

    @app.post("/more")
    async def more() -> Any:
        request.max_content_length = 100
        return await request.get_data()

    @app.post("/less")
    async def less() -> Any:
        return await request.get_data()

    client = app.test_client()
    headers = {} if chunked else {"Content-Length": "50"}
    answers = [(await client.post(path, data=b"x" * 50, headers=headers)).status_code for path in ("/more", "/less")]
    assert answers == [200, 413]


@pytest.mark.parametrize(
    ("path", "root", "answer"),
    [
        ("/mount", "/mount", "/"),
        ("/mount/", "/mount", "/"),
        ("/mount/a", "/mount", "/a"),
        ("/mountain", "/mount", None),
        ("/elsewhere", "/mount", None),
        ("/a", "", "/a"),
    ],
)
async def test_a_mounted_application_answers_below_its_mount(
    app: Quart, path: str, root: str, answer: str | None
) -> None:
    """The bare mount path is its root, as in WSGI; a path that only starts alike is not below it."""

    @app.get("/", defaults={"rest": ""})
    @app.get("/<rest>")
    async def view(rest: str) -> str:
        return request.path

    sent: list[Any] = []

    answered = asyncio.Event()
    events = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for event in events:
            return event
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "root_path": root,
        "headers": [(b"host", b"localhost")],
        "server": ("localhost", 80),
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == (404 if answer is None else 200)
    if answer is not None:
        assert sent[1]["body"] == answer.encode()


async def test_a_query_that_is_not_utf8_is_a_bad_request(app: Quart) -> None:
    """Not a 500: it cannot be routed, and the client is told."""
    scope = {"query_string": b"a=\xff"}
    response = await app.test_client().get("/", scope_base=scope)
    assert response.status_code == 400
