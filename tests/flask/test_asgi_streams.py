"""Streamed responses: each piece when it is made, at the client's pace, and closed with it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import flask
from flask import Response

from decant.bridge import wait
from decant.flask import asgi
from tests.flask.asgi_calls import Call, Views, until


async def test_each_event_is_sent_before_the_next_is_made(app: flask.Flask, views: Views) -> None:
    made: list[int] = []
    go_on = asyncio.Event()

    @app.get("/")
    def events() -> Response:
        def pieces() -> Any:
            for number in range(3):
                made.append(number)
                yield f"data: {number}\n\n"
                wait(go_on.wait())

        return Response(pieces(), mimetype="text/event-stream")

    call = Call(asgi(app, views=views)).body()
    await call.until(lambda: b"data: 0" in call.data)
    assert made == [0]
    assert call.sent[-1]["more_body"] is True
    go_on.set()
    assert (await call.answer())[1] == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_a_client_that_takes_nothing_slows_the_view_down(app: flask.Flask, views: Views) -> None:
    made = 0

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            nonlocal made
            while True:
                made += 1
                yield b"x" * 10_000

        return Response(pieces())

    call = Call(asgi(app, views=views))
    call.body().takes.clear()
    await until(lambda: made)
    await asyncio.sleep(0.1)
    assert made <= 20
    call.leave()
    await asyncio.wait_for(call.task, 10)


async def test_a_generator_is_closed_when_its_client_leaves(app: flask.Flask, views: Views) -> None:
    ends: list[str] = []

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        ends.append("teardown")

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    yield b"x"
                    wait(asyncio.sleep(0.001))
            finally:
                ends.append("generator")

        response = Response(pieces())
        response.call_on_close(lambda: ends.append("call_on_close"))
        return response

    call = Call(asgi(app, views=views)).body()
    await call.until(lambda: len(call.data) > 3)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert ends == ["teardown", "generator", "call_on_close"]


async def test_a_generator_that_never_waits_is_closed_too(app: flask.Flask) -> None:
    closed = threading.Event()

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    time.sleep(0.001)
                    yield b""
            finally:
                closed.set()

        return Response(pieces())

    shim = asgi(app)
    call = Call(shim).body()
    await call.until(lambda: call.sent)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert closed.is_set()
    await until(lambda: not shim.threads.busy)


async def test_a_generator_that_catches_everything_does_not_go_on_for_ever(app: flask.Flask) -> None:
    @app.get("/")
    def stubborn() -> Response:
        def pieces() -> Any:
            while True:
                try:
                    time.sleep(0.001)
                    wait(asyncio.sleep(0.001))
                except asyncio.CancelledError:
                    pass
                yield b"x"

        return Response(pieces())

    shim = asgi(app)
    call = Call(shim).body()
    await call.until(lambda: call.data)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    await until(lambda: not shim.threads.busy)


async def test_many_small_pieces_need_no_hop_each(app: flask.Flask) -> None:
    @app.get("/")
    def rows() -> Response:
        return Response(f"{number}\n" for number in range(20_000))

    call = Call(asgi(app)).body()
    _, data = await call.answer()
    assert data == b"".join(b"%d\n" % number for number in range(20_000))
    assert len(call.sent) < 10_000
