"""Streamed responses: each piece when it is made, at the client's pace, and closed with it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import flask
import pytest
from flask import Response

from decant.bridge import wait
from decant.flask import asgi, sending
from tests.flask.asgi_calls import Call, Views, logged, until


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


async def test_a_client_that_takes_nothing_slows_the_view_down(
    app: flask.Flask, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_PAUSE_S", 60.0)  # by the size of what waits alone
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
                wait(asyncio.sleep(0.01))  # clean-up may wait
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


async def test_a_client_that_takes_nothing_for_too_long_is_left(app: flask.Flask, views: Views, caplog: Any) -> None:
    closed = threading.Event()

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    yield b"x" * 10_000
            finally:
                closed.set()

        return Response(pieces())

    shim = asgi(app, views=views, idle_s=0.2)
    call = Call(shim).body()
    await call.until(lambda: call.data)
    call.takes.clear()
    await until(closed.is_set)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert not shim.threads.busy
    assert logged(caplog) == []


async def test_nothing_goes_on_for_a_client_that_left_in_the_middle_of_a_message(
    app: flask.Flask, views: Views
) -> None:
    app.add_url_rule("/", view_func=lambda: b"x" * 100_000)
    call = Call(asgi(app, views=views))
    call.takes.clear()
    call.body()
    await asyncio.sleep(0.1)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_call_ends_only_when_its_client_has_taken_the_answer(app: flask.Flask, views: Views) -> None:
    made = threading.Event()
    app.teardown_request(lambda error: made.set())
    app.add_url_rule("/", view_func=lambda: "taken late")
    call = Call(asgi(app, views=views))
    call.takes.clear()
    call.body()
    await until(made.is_set)
    await asyncio.sleep(0.05)
    assert not call.task.done()
    call.takes.set()
    assert await call.answer() == (200, b"taken late")


async def test_what_a_thread_has_given_just_as_its_client_left_is_not_sent() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    answer = sending.Sending(send, None, 60.0)
    answer.stop()
    with pytest.raises(ConnectionAbortedError):
        await answer.give({"type": "http.response.start", "status": 200, "headers": []})
    assert sent == []


@pytest.mark.parametrize("size", [1000, 100_000])
async def test_a_stream_that_never_waits_lets_others_run(app: flask.Flask, size: int) -> None:
    @app.get("/")
    def endless() -> Response:
        return Response(iter(lambda: b"x" * size, None))

    call = Call(asgi(app, views="loop")).body()
    async with asyncio.timeout(10):
        while len(call.sent) < 20:
            await asyncio.sleep(0)
    call.leave()
    await asyncio.wait_for(call.task, 10)


async def test_pieces_that_come_together_are_sent_before_the_view_waits(app: flask.Flask, views: Views) -> None:
    go_on = asyncio.Event()

    @app.get("/")
    def events() -> Response:
        def pieces() -> Any:
            yield "a"
            yield "b"
            wait(go_on.wait())
            yield "c"

        return Response(pieces())

    call = Call(asgi(app, views=views)).body()
    await call.until(lambda: call.data == b"ab")
    go_on.set()
    assert (await call.answer())[1] == b"abc"


async def test_a_short_answer_is_two_messages(app: flask.Flask, views: Views) -> None:
    app.add_url_rule("/", view_func=lambda: "short")
    call = Call(asgi(app, views=views)).body()
    assert await call.answer() == (200, b"short")
    assert [message["type"] for message in call.sent] == ["http.response.start", "http.response.body"]


async def test_pieces_that_take_a_while_to_make_are_sent_as_they_are_made(app: flask.Flask, views: Views) -> None:
    """Though they never wait, and are small."""
    sent: list[int] = []
    deadline = time.monotonic() + 10

    def late(number: int) -> bool:  # as the loop is, which has another thread
        return len(call.data) < number and time.monotonic() < deadline

    @app.get("/")
    def rows() -> Response:
        def pieces() -> Any:
            for number in range(5):
                end = time.monotonic() + 0.02
                while time.monotonic() < end or (views == "threads" and late(number)):
                    sum(range(100))
                sent.append(len(call.data))
                yield f"{number}"

        return Response(pieces())

    call = Call(asgi(app, views=views)).body()
    assert (await call.answer())[1] == b"01234"
    assert sent == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("first", [b"", b"x"])
async def test_a_head_is_sent_with_the_first_piece_though_it_is_empty(
    app: flask.Flask, views: Views, first: bytes
) -> None:
    go_on = asyncio.Event()

    @app.get("/")
    def slow() -> Response:
        def pieces() -> Any:
            yield first
            wait(go_on.wait())
            yield b"y"

        return Response(pieces())

    call = Call(asgi(app, views=views)).body()
    await call.until(lambda: call.sent)
    assert (call.status, call.task.done()) == (200, False)
    go_on.set()
    assert (await call.answer())[1] == first + b"y"


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Same")])
async def test_what_has_no_body_has_none_and_is_closed(
    app: flask.Flask, views: Views, method: str, status: str
) -> None:
    """Whatever the application gives: servers are not asked to leave it away."""
    closed = threading.Event()

    class Body:
        def __iter__(self) -> Any:
            return iter([b"some", b"thing"])

        def close(self) -> None:
            closed.set()

    def gives(environ: Any, start_response: Any) -> Any:
        start_response(status, [("Content-Length", "9")])
        return Body()

    app.wsgi_app = gives  # type: ignore[method-assign]
    call = Call(asgi(app, views=views), method=method).body()
    assert (await call.answer())[1] == b""
    assert [message.get("more_body") for message in call.sent] == [None, False]
    assert call.header("content-length") == (None if "204" in status else "9")
    assert closed.is_set()
