"""``share_proxies()`` itself: what Flask's own names are in a Quart application, and that all is set back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import flask
import flask.logging
import pytest

from decant.cors import cross_origin
from decant.flask import share_proxies
from decant.flask.flask_globals import Variables
from decant.quart import Quart, g, make_response, session, websocket
from tests.flask.visiting import make_app, visiting


def proxy_app() -> Quart:
    app = make_app()
    app.config["SERVER_NAME"] = None

    @app.post("/all")
    async def everything() -> Any:
        flask.g.word = "g"
        flask.session["n"] = session.get("n", 0) + 1
        flask.flash("flashed")
        flask.after_this_request(lambda response: response.headers.set("X-After", "yes") or response)
        request = flask.request
        return {
            "form": request.form.to_dict(),
            "values": request.values.to_dict(),
            "contexts": [flask.has_request_context(), flask.has_app_context()],
            "app": flask.current_app == app,
            "g": g.word,
            "url": flask.url_for("everything", page=2),
            "endpoint": request.endpoint,
            "flashes": flask.get_flashed_messages(),
            "template": flask.render_template_string("{{ word }} {{ g.word }}", word="w"),
            "generated": "".join(flask.stream_template_string("{{ word }}", word="s")),
        }

    @app.post("/json")
    def body() -> Any:
        return {"json": flask.request.json, "data": len(flask.request.data), "read": len(flask.request.stream.read())}

    @app.get("/cors")
    @cross_origin(origins="https://a.example")
    async def cors() -> Any:
        return await make_response("ok")

    @app.get("/stream")
    async def stream() -> Any:
        @flask.copy_current_request_context
        def later() -> str:
            return flask.request.args["a"]

        async def parts() -> AsyncIterator[str]:
            yield await asyncio.get_running_loop().run_in_executor(None, later)

        return parts()

    @app.get("/stream-with-context")
    def stream_with_context() -> Any:
        flask.g.word = "g"

        @flask.stream_with_context
        def parts() -> Iterator[str]:
            yield flask.request.args["a"]
            yield f" {flask.session.get('n')} {flask.g.word} {flask.current_app.name == app.name}"

        return parts()

    return app


async def test_every_proxy_of_flask_s_has_quart_s_values() -> None:
    app = await asyncio.to_thread(proxy_app)
    async with visiting(app) as client:
        answer = await client.post("/all?q=1", data={"a": "b"})
        assert answer.headers["X-After"] == "yes"
        assert answer.json() == {
            "form": {"a": "b"},
            "values": {"a": "b", "q": "1"},
            "contexts": [True, True],
            "app": True,
            "g": "g",
            "url": "/all?page=2",
            "endpoint": "everything",
            "flashes": ["flashed"],
            "template": "w g",
            "generated": "s",
        }
        assert (await client.post("/json", json=[1, 2])).json() == {"json": [1, 2], "data": 6, "read": 6}
        cors = await client.get("/cors", headers={"Origin": "https://a.example"})
        assert (cors.text, cors.headers["Access-Control-Allow-Origin"]) == ("ok", "https://a.example")
        assert (await client.get("/stream?a=later")).text == "later"
        assert (await client.get("/stream-with-context?a=kept")).text == "kept 1 g True"


async def test_flask_s_own_log_handler_writes_where_the_request_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The one that ``app.logger`` has by default: it asks the request's environ for ``wsgi.errors``."""
    app, logger = await asyncio.to_thread(make_app), logging.Logger("own")
    logger.addHandler(flask.logging.default_handler)

    @app.websocket("/ws")
    async def ws() -> None:
        logger.warning("of a WebSocket")
        await websocket.send("")

    async with app.test_request_context("/"):
        logger.warning("of a request")
    async with app.test_client().websocket("/ws") as connection:
        await connection.receive()
    logger.warning("of nothing")
    ends = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()]
    assert ends == ["of a request", "of a WebSocket", "of nothing"]


async def test_a_real_context_of_flask_s_wins_and_all_is_set_back() -> None:
    app, real = await asyncio.to_thread(make_app), await asyncio.to_thread(flask.Flask, "real")
    assert not flask.has_app_context()
    async with app.test_request_context("/quart"):
        assert flask.request.path == "/quart"
        with real.test_request_context("/flask"):
            assert (flask.request.path, flask.current_app.name) == ("/flask", "real")
            async with app.test_request_context("/within"):
                assert flask.request.path == "/flask"
        assert (flask.request.path, flask.current_app == app) == ("/quart", True)
    assert not flask.has_request_context()
    assert not flask.has_app_context()
    async with app.app_context():
        assert (flask.current_app == app, flask.has_request_context()) == (True, False)
        flask.g.a = 1
        assert g.a == 1
    assert not flask.has_app_context()


async def test_an_application_s_context_that_was_pushed_at_import_does_not_hide_quart_s_requests() -> None:
    app, real = await asyncio.to_thread(make_app), await asyncio.to_thread(flask.Flask, "real")
    with real.app_context():
        async with app.test_request_context("/quart"):
            assert (flask.request.path, flask.current_app == app) == ("/quart", True)
        assert (flask.current_app.name, flask.has_request_context()) == ("real", False)


async def test_the_websocket_is_the_request(tmp_path: Path) -> None:
    app = await asyncio.to_thread(make_app)

    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send(f"{flask.request.path} {flask.request.args['a']} {flask.has_request_context()}")

    async with app.test_client().websocket("/ws?a=1") as connection:
        assert await connection.receive() == "/ws 1 True"


def test_an_application_without_it_is_as_before_and_wrong_ones_are_refused() -> None:
    share_proxies(app := make_app())  # a second time: nothing more
    assert "decant.proxies" in app.extensions
    with pytest.raises(TypeError, match=r"share_proxies\(\) is for a decant.Quart application, not Flask"):
        share_proxies(flask.Flask("x"))  # type: ignore[arg-type]


def test_a_flask_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.flask.flask_globals.version", lambda name: "3.2.0")
    with pytest.raises(RuntimeError, match=r"knows the contexts of Flask 3.0 and 3.1, not those of 3.2.0: install"):
        Variables()
