"""``app.test_request_context``: Flask's arguments, and Flask itself says what they mean."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import flask
import pytest
import quart
from werkzeug.datastructures import Headers

import decant


@pytest.fixture
def flask_app() -> flask.Flask:
    return flask.Flask("test", static_folder=None)


@pytest.fixture
def app() -> decant.Quart:
    return decant.Quart("test", static_folder=None)


def _facts(request: Any, form: Any, files: Any, data: Any, json: Any) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "root_path": request.root_path.rstrip("/"),
        "args": request.args.to_dict(flat=False),
        "headers": sorted((k, v) for k, v in request.headers.items() if k not in {"Content-Type", "Remote-Addr"}),
        "mimetype": request.mimetype,
        "remote_addr": request.remote_addr,
        "authorization": request.authorization and request.authorization.username,
        "form": form.to_dict(flat=False),
        "files": [(name, file.filename, file.read()) for name, file in files.items(multi=True)],
        "data": data,
        "json": json,
    }


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    (("/a?b=c",), {}),
    (("/a", "http://example.org:8000/root/"), {}),
    (("/",), {"base_url": "https://example.org/root"}),
    (("/",), {"query_string": {"a": ["1", "2"]}, "method": "DELETE"}),
    (("/",), {"query_string": "a=%20x"}),
    (("/",), {"json": {"a": [1, None]}, "method": "POST"}),
    (("/",), {"data": b"raw", "content_type": "text/plain", "method": "PUT"}),
    (("/",), {"data": {"a": "1", "b": ["2", "3"]}, "method": "POST"}),
    (("/",), {"data": {"f": (BytesIO(b"content"), "name.txt")}, "method": "POST"}),
    (("/",), {"headers": Headers([("X-A", "1"), ("X-B", "2")]), "auth": ("me", "secret")}),
    (("/",), {"environ_base": {"REMOTE_ADDR": "10.0.0.1"}, "environ_overrides": {"HTTP_X_B": "3"}}),
    (("/",), {"subdomain": "sub", "url_scheme": "https"}),
]


@pytest.mark.parametrize(("args", "kwargs"), ARGUMENTS)
async def test_the_arguments_mean_what_they_mean_in_flask(
    flask_app: flask.Flask, app: decant.Quart, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """The request is the same."""
    for each in (flask_app, app):
        each.config["SERVER_NAME"] = "example.com" if "subdomain" in kwargs else None
    data = kwargs.get("data")
    file = data.get("f") if isinstance(data, dict) else None
    again = {**kwargs, "data": {"f": (BytesIO(b"content"), "name.txt")}} if file else kwargs
    with flask_app.test_request_context(*args, **again):
        theirs = flask.request
        json = theirs.get_json(silent=True)
        expected = _facts(theirs, theirs.form, theirs.files, theirs.get_data(), json)
    async with app.test_request_context(*args, **kwargs):
        ours = quart.request
        json = await ours.get_json(silent=True)
        form, files = await ours.form, await ours.files
        found = _facts(ours, form, files, b"" if files or form else await ours.get_data(), json)
    for facts in (expected, found):
        facts["headers"] = [(k.title(), v) for k, v in facts["headers"] if k != "Content-Length"]
    assert found == {**expected, "data": found["data"] if expected["form"] or expected["files"] else expected["data"]}


async def test_quarts_arguments_work_as_well(app: decant.Quart) -> None:
    """Its scheme, form, root_path and scope_base."""
    options: dict[str, Any] = {"scheme": "https", "form": {"a": "1"}, "method": "POST", "scope_base": {"x": 1}}
    async with app.test_request_context("/root/path", root_path="/root", **options):
        assert (await quart.request.form)["a"] == "1"
        assert (quart.request.url, quart.request.root_path) == ("https://localhost/root/path", "/root")
        assert quart.request.scope["x"] == 1  # type: ignore[typeddict-item]


async def test_without_flask_compat_it_is_quarts(app: decant.Quart) -> None:
    """Its own user agent, and no argument of Flask's."""
    app.config["FLASK_COMPAT"] = False
    async with app.test_request_context("/"):
        assert quart.request.headers["User-Agent"] == "Quart"
    with pytest.raises(TypeError, match="base_url"):
        app.test_request_context("/", base_url="http://example.org")
