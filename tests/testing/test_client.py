"""The test client beyond its arguments: Quart's keywords, redirects, exceptions, responses, sockets."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

import pytest
import quart
from blockbuster import BlockBuster
from flask.testing import FlaskClient
from quart import Quart, websocket
from quart.datastructures import FileStorage
from quart.testing import QuartClient
from werkzeug.test import ClientRedirectError, EnvironBuilder, create_environ

from decant.testing import Client, TestResponse


@pytest.fixture
def app(quart_class: type[Quart]) -> Quart:
    app = quart_class("test", static_folder=None)
    app.secret_key = "for tests only"
    app.test_client_class = Client

    @app.get("/json/<kind>")
    async def values(kind: str) -> Any:
        found = {"dict": {"a": 1}, "list": [1], "str": "s", "int": 7, "float": 0.5, "null": None, "true": True}
        return quart.jsonify(found[kind])

    @app.get("/text")
    async def text() -> str:
        return "käse"

    @app.get("/broken-json")
    async def broken_json() -> Any:
        return quart.Response("{", mimetype="application/json")

    @app.get("/fails")
    async def fails() -> str:
        raise KeyError("no such thing")

    @app.post("/raw")
    async def raw() -> Any:
        return {"body": (await quart.request.get_data()).decode(), "type": quart.request.mimetype}

    @app.websocket("/address")
    async def address() -> None:
        await websocket.send(f"{websocket.remote_addr} {websocket.cookies.get('c')}")

    return app


@pytest.fixture
def client(app: Quart) -> Client:
    return app.test_client()  # type: ignore[return-value]


async def test_quarts_keywords_work_beside_flasks(quart_client: Client) -> None:
    """``form``, ``files``, ``scheme``, ``root_path``, ``http_version`` and ``scope_base`` are Quart's."""
    response = await quart_client.post(
        "/echo",
        form={"a": "1"},
        files={"f": FileStorage(BytesIO(b"x"), filename="x.txt", content_type="text/plain")},
        scheme="https",
        scope_base={"client": ("10.9.8.7", 5)},
    )
    facts = await response.json
    assert facts["form"] == [["a", "1"]]
    assert facts["files"] == [["f", "x.txt", "text/plain", "x"]]
    assert facts["scheme"] == "https"
    assert facts["remote_addr"] == "10.9.8.7"
    response = await quart_client.get("/root/echo", root_path="/root")
    assert (await response.json)["path"] == "/echo"
    assert (await response.json)["root_path"] == "/root"


@pytest.mark.parametrize("other", [{"data": b"x"}, {"json": {}}])
async def test_form_and_another_body_is_an_error(client: Client, other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="whole body"):
        await client.post("/raw", form={"a": "1"}, **other)


async def test_json_and_data_is_flasks_error(client: Client) -> None:
    with pytest.raises(TypeError, match="json and data"):
        await client.post("/raw", json={}, data=b"x")


async def test_json_none_is_no_body_as_in_flask_unless_flask_compat_is_off(app: Quart, client: Client) -> None:
    assert (await client.post("/raw", json=None)).json == {"body": "", "type": ""}
    app.config["FLASK_COMPAT"] = False
    assert (await client.post("/raw", json=None)).json == {"body": "null", "type": "application/json"}


async def test_the_method_may_come_second(quart_client: Client) -> None:
    assert (await quart_client.open("/echo", "DELETE")).json["method"] == "DELETE"


async def test_a_builder_an_environment_and_a_request_can_be_sent(quart_client: Client) -> None:
    """``open`` takes Werkzeug's ``EnvironBuilder``, a WSGI environment, or the request of a response."""
    builder = EnvironBuilder("/echo", method="POST", data={"a": "1"})
    first = await quart_client.open(builder)
    assert first.json["form"] == [["a", "1"]]
    assert first.json["remote_addr"] == "127.0.0.1"
    second = await quart_client.open(create_environ("/echo", method="PUT", data=b"x"))
    assert (second.json["method"], second.json["body"]) == ("PUT", "x")
    third = await quart_client.open(first.request)
    assert third.json == first.json


async def test_a_key_that_asgi_cannot_say_is_refused_by_name(client: Client) -> None:
    with pytest.raises(ValueError, match=r"'REMOTE_USER'.*scope_base"):
        await client.get("/text", environ_base={"REMOTE_USER": "me"})


async def test_the_clients_environ_base_goes_with_every_request(quart_client: Client) -> None:
    quart_client.environ_base["HTTP_AUTHORIZATION"] = "Bearer t"
    assert (await quart_client.get("/echo")).json["headers"]["Authorization"] == "Bearer t"


async def test_repeated_headers_stay_separate(app: Quart, client: Client) -> None:
    @app.get("/repeated")
    async def repeated() -> Any:
        return quart.request.headers.getlist("X-A")

    assert (await client.get("/repeated", headers=[("X-A", "1"), ("X-A", "2")])).json == ["1", "2"]


@pytest.mark.parametrize("path", ["/round", "/away", "/sub"])
async def test_redirects_that_flask_refuses_are_refused(
    path: str, quart_client: Client, flask_client: FlaskClient
) -> None:
    """In a circle, to another host, to a subdomain: the same class of exception."""
    with pytest.raises((ClientRedirectError, RuntimeError)) as flasks:
        flask_client.get(path, follow_redirects=True)
    with pytest.raises(flasks.type):
        await quart_client.get(path, follow_redirects=True)


async def test_subdomains_are_followed_on_demand(quart_client: Client) -> None:
    quart_client.allow_subdomain_redirects = True
    assert (await quart_client.get("/sub", follow_redirects=True)).json["host"] == "sub.localhost"


async def test_history_has_each_redirect_with_its_request(quart_client: Client) -> None:
    response = await quart_client.get("/twice", follow_redirects=True)
    assert [r.request.path for r in response.history] == ["/twice", "/to/302"]
    assert response.request.path == "/echo"
    assert response.history[1].history == response.history[:1]


async def test_an_exception_is_raised_in_the_test_where_flask_raises_it(
    app: Quart, client: Client, no_blocking: BlockBuster
) -> None:
    """With ``TESTING``, ``DEBUG`` or ``PROPAGATE_EXCEPTIONS``; else, or without ``FLASK_COMPAT``, it is a response."""
    assert (await client.get("/fails")).status_code == 500
    app.testing = True
    with pytest.raises(KeyError, match="no such thing"):
        await client.get("/fails")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert (await client.get("/fails")).status_code == 500
    app.testing = False
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(KeyError, match="no such thing"):
        await client.get("/fails")
    # Quart's page shows the source, for which inspect resolves the modules' paths: a link in them is read.
    for name in ("os.stat", "os.path.abspath", "os.readlink", "io.BufferedReader.read"):
        no_blocking.functions[name].can_block_in("quart/debug.py", {"traceback_response"})
    app.config.update(PROPAGATE_EXCEPTIONS=None, FLASK_COMPAT=False, TESTING=True)
    response = await client.get("/fails")
    assert response.status_code == 500
    assert "no such thing" in response.text


async def test_concurrent_requests_have_their_own_exceptions(app: Quart, client: Client) -> None:
    app.testing = True
    failed, worked = await asyncio.gather(client.get("/fails"), client.get("/text"), return_exceptions=True)
    assert isinstance(failed, KeyError)
    assert isinstance(worked, TestResponse)
    assert worked.text == "käse"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("dict", {"a": 1}), ("list", [1]), ("str", "s"), ("int", 7), ("float", 0.5), ("null", None), ("true", True)],
)
async def test_json_is_read_with_and_without_await(client: Client, kind: str, value: Any) -> None:
    """Both forms equal the value; awaited, it is of JSON's own type."""
    response = await client.get(f"/json/{kind}")
    assert response.json == value
    assert response.get_json() == value
    assert bool(response.json) == bool(value)
    awaited = await response.json
    assert awaited == value
    assert type(awaited) is type(value)
    assert type(await response.get_json()) is type(value)
    if value is not None:
        assert json.loads(await response.get_data()) == value


async def test_the_body_is_read_with_and_without_await(client: Client) -> None:
    response = await client.get("/text")
    assert response.text == "käse"
    assert "käse".encode() in response.data
    assert type(await response.data) is bytes
    assert await response.get_data() == response.get_data() == "käse".encode()
    assert await response.get_data(as_text=True) == response.get_data(as_text=True) == "käse"
    assert response.get_data(as_text=True).upper() == "KÄSE"


async def test_get_json_answers_as_flasks(client: Client) -> None:
    """Not JSON by its type: None, unless forced. Not JSON: an error, unless silent."""
    response = await client.get("/text")
    assert await response.json is None
    with pytest.raises(ValueError):
        response.get_json(force=True)
    assert await response.get_json(force=True, silent=True) is None
    broken = await client.get("/broken-json")
    with pytest.raises(ValueError):
        broken.get_json()


async def test_the_response_is_what_was_sent(app: Quart, client: Client) -> None:
    """No header is added by the client; a HEAD has the length of what it does not send."""

    @app.get("/stream")
    async def stream() -> Any:
        async def parts() -> Any:
            yield b"a"
            yield b"b"

        return parts(), {"Content-Type": ""}

    streamed = await client.get("/stream")
    assert streamed.data == b"ab"
    assert "Content-Length" not in streamed.headers
    head = await client.head("/text")
    assert (head.content_length, head.data) == (5, b"")


async def test_the_response_is_of_the_applications_class(app: Quart, client: Client) -> None:
    class Own(quart.Response):
        @property
        def shouted(self) -> str:
            return self.text.upper()  # type: ignore[attr-defined]

    app.response_class = Own
    response = await client.get("/text")
    assert isinstance(response, Own)
    assert isinstance(response, TestResponse)
    assert response.shouted == "KÄSE"
    with response:
        response.close()


async def test_websockets_are_quarts_from_127_0_0_1_with_the_clients_cookies(client: Client) -> None:
    client.set_cookie("c", "1")
    async with client.websocket("/address") as socket:
        assert await socket.receive() == "127.0.0.1 1"
    async with client.websocket("/address", scope_base={"client": ("10.0.0.1", 1)}) as socket:
        assert await socket.receive() == "10.0.0.1 1"


async def test_the_client_is_a_quart_client_with_flasks_attributes(app: Quart) -> None:
    client = app.test_client(use_cookies=False, allow_subdomain_redirects=True)
    assert isinstance(client, QuartClient)
    assert isinstance(client, Client)
    assert client.application is app
    assert client.cookie_jar is None
    connection = client.request("/text")
    async with connection as sent:
        await sent.send_complete()
    assert await (await connection.as_response()).get_data(as_text=True) == "käse"


async def test_large_uploads_do_not_block_the_loop(client: Client) -> None:
    """A multipart body of more than 500 KB, which Werkzeug writes to a temporary file, is built in a thread."""
    response = await client.post("/raw", data={"f": (BytesIO(b"x" * 700_000), "big.txt")})
    assert len(response.json["body"]) > 700_000
