"""What Flask promises, kept where its application is served through ASGI: in threads and on the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import flask
from click.testing import CliRunner
from flask import Response, g, request
from flask.cli import FlaskGroup
from flask.testing import FlaskClient
from werkzeug.debug import DebuggedApplication

from decant.bridge import wait
from decant.flask import asgi
from tests.flask.asgi_calls import Call, Views


async def test_signals_and_hooks_come_in_flasks_order(app: flask.Flask, views: Views) -> None:
    order: list[str] = []

    def note(name: str) -> Any:
        def receiver(*args: Any, **kwargs: Any) -> None:
            order.append(name)

        return receiver

    receivers = {name: note(name) for name in ("request_started", "request_finished", "request_tearing_down")}
    receivers |= {name: note(name) for name in ("appcontext_pushed", "appcontext_popped", "got_request_exception")}
    for name, receiver in receivers.items():
        getattr(flask, name).connect(receiver, app)
    app.before_request(note("before"))
    app.after_request(lambda response: order.append("after") or response)  # type: ignore[func-returns-value]
    app.teardown_request(note("teardown"))
    app.teardown_appcontext(note("teardown app"))

    @app.get("/")
    def view() -> Response:
        order.append("view")
        response = Response("x")
        response.call_on_close(note("closed"))
        flask.after_this_request(lambda response: order.append("this") or response)  # type: ignore[func-returns-value]
        return response

    await Call(asgi(app, views=views)).body().answer()
    assert order[:7] == ["appcontext_pushed", "request_started", "before", "view", "this", "after", "request_finished"]
    assert order[7:] == ["teardown", "request_tearing_down", "teardown app", "appcontext_popped", "closed"]


async def test_contexts_follow_into_a_thread_and_a_stream(app: flask.Flask, views: Views, no_blocking: Any) -> None:
    no_blocking.deactivate()  # the view waits for its thread

    @app.get("/<name>")
    def view(name: str) -> Response:
        g.name = name
        found: list[str] = []

        @flask.copy_current_request_context
        def work() -> None:
            found.append(f"{request.path} ")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

        def pieces() -> Any:
            yield found[0]
            wait(asyncio.sleep(0.001))
            yield f"{g.name} {request.args['q']}"

        return Response(flask.stream_with_context(pieces()))

    shim = asgi(app, views=views)
    calls = [Call(shim, f"/{number}?q={number}").body() for number in range(20)]
    for number, call in enumerate(calls):
        assert await call.answer() == (200, f"/{number} {number} {number}".encode())


async def test_requests_do_not_see_each_others_context(app: flask.Flask, views: Views) -> None:
    @app.get("/<name>")
    def view(name: str) -> str:
        g.name, flask.session["name"] = name, name
        for _ in range(5):
            wait(asyncio.sleep(0))
            assert (g.name, request.path, flask.session["name"]) == (name, f"/{name}", name)
        return name

    shim = asgi(app, views=views)
    calls = [Call(shim, f"/{number}").body() for number in range(50)]
    assert [(await call.answer())[1] for call in calls] == [b"%d" % number for number in range(50)]
    assert not flask.has_request_context()


async def test_errors_are_shown_in_debug_mode(app: flask.Flask, views: Views, caplog: Any, no_blocking: Any) -> None:
    no_blocking.deactivate()  # the debugger reads the source

    @app.get("/")
    def broken() -> str:
        raise ValueError("to be seen")

    app.debug = True
    assert (await Call(asgi(app, views=views)).body().answer())[0] == 500
    assert "to be seen" in caplog.text
    app.wsgi_app = DebuggedApplication(app.wsgi_app)  # type: ignore[method-assign]
    status, page = await Call(asgi(app, views=views)).body().answer()
    assert status == 500
    assert b"to be seen" in page


def test_the_application_stays_what_it_is(app: flask.Flask) -> None:
    @app.get("/")
    def view() -> str:
        return "as ever"

    @app.cli.command("hello")
    def hello() -> None:
        print("hello from a command")

    asgi(app)
    assert app.test_client().get("/").text == "as ever"
    assert type(app.test_client()) is FlaskClient
    assert app.test_cli_runner().invoke(args=["hello"]).output == "hello from a command\n"
    group = FlaskGroup(create_app=lambda: app)
    assert "view" in CliRunner().invoke(group, ["routes"]).output
