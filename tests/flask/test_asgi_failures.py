"""What goes wrong: in the application, at the client, in the server, and for want of threads."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

import flask
import pytest
from flask import Response

from decant.bridge import wait
from decant.flask import asgi
from tests.flask.asgi_calls import Call, Views, connected, logged, until


@pytest.mark.parametrize(
    "error", [ValueError("this"), SystemExit(3), KeyboardInterrupt(), StopIteration(), MemoryError()]
)
async def test_whatever_the_application_raises_is_a_500_and_a_line(
    app: flask.Flask, views: Views, error: BaseException, caplog: Any
) -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        raise error

    app.wsgi_app = broken  # type: ignore[method-assign]
    status, data = await Call(asgi(app, views=views)).body().answer()
    assert status == 500
    assert b"Internal Server Error" in data
    assert [record.getMessage() for record in caplog.records if record.name == "decant.flask"] == ["GET / failed"]


async def test_an_error_after_the_head_breaks_the_connection(app: flask.Flask, views: Views, caplog: Any) -> None:
    @app.get("/")
    def breaking() -> Response:
        def pieces() -> Any:
            yield "some"
            raise ValueError("in the middle")

        return Response(pieces())

    async with connected(asgi(app, views=views)) as peer:
        await peer.get("/")
        assert await peer.status() == 200
        assert (await peer.rest()).endswith(b"4\r\nsome\r\n")
    assert "GET / failed" in caplog.text


async def test_too_little_for_content_length_breaks_the_connection(app: flask.Flask, caplog: Any) -> None:
    @app.get("/")
    def short() -> Response:
        return Response(iter(["four"]), headers={"Content-Length": "10"})

    async with connected(asgi(app)) as peer:
        await peer.get("/")
        assert await peer.status() == 200
        assert (await peer.rest()).endswith(b"four")
    assert "4 bytes of the 10" in caplog.text


async def test_a_full_pool_answers_503_at_once(app: flask.Flask) -> None:
    free = threading.Event()

    @app.get("/")
    def slow() -> str:
        free.wait(10)
        return "done"

    shim = asgi(app, threads=2, max_queued=1)
    calls = [Call(shim).body() for _ in range(3)]
    await until(lambda: shim.threads.full)
    refused = Call(shim).body()
    status, data = await asyncio.wait_for(refused.answer(), 5)  # those before it have not ended
    assert (status, refused.header("retry-after")) == (503, "1")
    assert b"already wait" in data
    free.set()
    assert [await call.answer() for call in calls] == [(200, b"done")] * 3


async def test_a_queued_request_whose_client_leaves_is_never_begun(app: flask.Flask) -> None:
    free, begun = threading.Event(), list[str]()

    @app.get("/<name>")
    def slow(name: str) -> str:
        begun.append(name)
        free.wait(10)
        return name

    shim = asgi(app, threads=1)
    first, second = Call(shim, "/first").body(), Call(shim, "/second").body()
    await until(lambda: shim.threads.queued)
    second.leave()
    await asyncio.wait_for(second.task, 10)
    free.set()
    assert await first.answer() == (200, b"first")
    assert begun == ["first"]


async def test_a_blocking_view_whose_client_leaves_is_left_to_its_end(app: flask.Flask) -> None:
    ends: list[str] = []

    begun = threading.Event()

    @app.get("/")
    def blocking() -> str:
        begun.set()
        time.sleep(0.2)
        ends.append("view")
        return "nobody takes it"

    call = Call(asgi(app)).body()
    await until(begun.is_set)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert ends == ["view"]
    assert call.sent == []


async def test_a_server_that_cancels_the_call_ends_the_view_and_is_told(app: flask.Flask, views: Views) -> None:
    begun, ends = threading.Event(), list[Any]()

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        wait(asyncio.sleep(0.01))  # clean-up may wait
        ends.append(type(error))

    @app.get("/")
    def waiting() -> str:
        begun.set()
        wait(asyncio.sleep(10))
        return "never"

    call = Call(asgi(app, views=views)).body()
    await until(begun.is_set)
    call.task.cancel()
    await asyncio.sleep(0.005)
    call.task.cancel()  # again
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call.task, 10)
    assert ends == [asyncio.CancelledError]


async def test_a_message_that_the_server_refuses_is_logged(app: flask.Flask, views: Views, caplog: Any) -> None:
    class Refusing(Call):
        async def send(self, message: Any) -> None:
            raise ValueError("not this one")

    app.add_url_rule("/", view_func=lambda: "x")
    await asyncio.wait_for(Refusing(asgi(app, views=views)).body().task, 10)
    assert "The server refused http.response.start" in caplog.text


async def test_a_client_that_the_server_says_has_gone_is_nobodys_error(
    app: flask.Flask, views: Views, caplog: Any
) -> None:
    """As uvicorn does, which raises an ``OSError``."""
    closed = threading.Event()

    class Gone(Call):
        async def send(self, message: Any) -> None:
            raise OSError("it has gone")

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    yield b"x"
                    wait(asyncio.sleep(0.001))
            finally:
                closed.set()

        return Response(pieces())

    await asyncio.wait_for(Gone(asgi(app, views=views)).body().task, 10)
    assert closed.is_set()
    assert logged(caplog) == []


async def test_a_view_on_the_loop_makes_nothing_more_after_a_piece_that_was_not_taken(app: flask.Flask) -> None:
    made: list[int] = []

    class Gone(Call):
        async def send(self, message: Any) -> None:
            raise OSError("it has gone")

    def pieces() -> Any:
        for number in range(3):
            made.append(number)
            yield b"x"

    app.add_url_rule("/", view_func=lambda: Response(pieces()))
    await asyncio.wait_for(Gone(asgi(app, views="loop")).body().task, 10)
    assert made == [0]


async def test_what_was_given_before_an_error_is_sent(app: flask.Flask, views: Views, caplog: Any) -> None:
    @app.get("/")
    def breaking() -> Response:
        def pieces() -> Any:
            yield "given"
            raise ValueError("in the middle")

        return Response(pieces())

    call = Call(asgi(app, views=views))
    call.takes.clear()
    call.body()
    await asyncio.sleep(0.1)
    assert not call.task.done()
    call.takes.set()
    assert await call.answer() == (200, b"given")
    assert call.sent[-1]["more_body"] is True  # unended, which breaks the connection


async def test_the_servers_task_is_not_left_as_one_that_is_cancelled(app: flask.Flask, views: Views) -> None:
    """Listening ends by a cancellation of the shim's own, which later timeouts and task groups must not count."""
    shim, counted, begun = asgi(app, views=views), list[int](), list[str]()
    app.add_url_rule("/", view_func=lambda: "x")

    @app.get("/waits")
    def waits() -> str:
        begun.append("view")
        wait(asyncio.sleep(60))
        return "never"

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        await shim(scope, receive, send)
        task = asyncio.current_task()
        counted.append(task.cancelling() if task is not None else -1)

    assert await Call(counting).body().answer() == (200, b"x")
    call = Call(counting, "/waits").body()
    await until(lambda: begun)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert counted == [0, 0]


@pytest.mark.parametrize("steps", range(6))
async def test_a_server_that_cancels_just_as_the_answer_ends_is_told(
    app: flask.Flask, views: Views, steps: int
) -> None:
    """That the shim takes its own cancellation back does not take the server's."""
    taken: list[bool] = []
    app.add_url_rule("/", view_func=lambda: "x")

    class Cancelling(Call):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if message["type"] == "http.response.body":
                self.later(steps)

        def later(self, left: int) -> None:
            if left:
                asyncio.get_running_loop().call_soon(self.later, left - 1)
            else:
                taken.append(self.task.cancel())

    call = Cancelling(asgi(app, views=views), method="POST").body()
    await asyncio.wait({call.task}, timeout=20)
    await until(lambda: taken)
    assert [call.task.cancelled()] == taken


async def test_a_server_that_fails_while_it_receives_ends_the_view(app: flask.Flask, views: Views, caplog: Any) -> None:
    begun, ends = threading.Event(), list[Any]()
    app.teardown_request(lambda error: ends.append(type(error)))

    @app.get("/")
    def waiting() -> str:
        begun.set()
        wait(asyncio.sleep(60))
        return "never"

    shim = asgi(app, views=views)

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        async def receive_once() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ValueError("the server's own")
            return message

        await shim(scope, receive_once, send)

    call = Call(failing).body()
    await until(begun.is_set)
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert ends == [asyncio.CancelledError]
    assert "The server failed while it received: GET /" in caplog.text


async def test_a_view_on_the_loop_that_does_not_end_is_left_to_itself(app: flask.Flask, caplog: Any) -> None:
    """The server is not kept from the connection; what goes on is told."""
    begun, free = list[str](), asyncio.Event()

    @app.get("/")
    def stubborn() -> str:
        begun.append("view")
        while not free.is_set():
            with suppress(asyncio.CancelledError):
                wait(free.wait())
        return "at last"

    call = Call(asgi(app, views="loop", grace_s=0.1)).body()
    await until(lambda: begun)
    call.leave()
    try:
        await asyncio.wait({call.task}, timeout=5)
        assert call.task.done()
        assert "GET / did not end within 0.1 s" in caplog.text
    finally:
        free.set()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


@pytest.mark.parametrize("body", [["text"], [None], [bytearray(b"x")]])
async def test_an_application_that_gives_no_bytes_is_a_500(app: flask.Flask, views: Views, body: Any) -> None:
    def odd(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return body

    app.wsgi_app = odd  # type: ignore[method-assign]
    assert (await Call(asgi(app, views=views)).body().answer())[0] == 500


async def test_an_application_that_aborts_a_connection_of_its_own_is_a_500(
    app: flask.Flask, views: Views, caplog: Any
) -> None:
    """Its client is there: only the sending tells that one has gone."""

    def broken(environ: Any, start_response: Any) -> Any:
        raise ConnectionAbortedError("of another socket")

    app.wsgi_app = broken  # type: ignore[method-assign]
    assert (await Call(asgi(app, views=views)).body().answer())[0] == 500
    assert "GET / failed" in caplog.text


async def test_what_ends_after_a_whole_answer_is_not_cut_off(app: flask.Flask, views: Views) -> None:
    """A client that has all may leave at once."""
    closed: list[str] = []

    @app.get("/")
    def view() -> Response:
        def clean_up() -> None:
            for _ in range(5):
                wait(asyncio.sleep(0.01))
            closed.append("closed")

        response = Response("whole")
        response.call_on_close(clean_up)
        return response

    call = Call(asgi(app, views=views)).body()
    await call.until(lambda: call.data == b"whole")
    call.leave()
    await asyncio.wait_for(call.task, 10)
    assert closed == ["closed"]


async def test_what_goes_on_after_a_whole_answer_ends_when_the_server_cancels(app: flask.Flask, views: Views) -> None:
    ended: list[str] = []

    @app.get("/")
    def view() -> Response:
        def clean_up() -> None:
            try:
                wait(asyncio.sleep(60))
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        response = Response("whole")
        response.call_on_close(clean_up)
        return response

    call = Call(asgi(app, views=views, grace_s=30)).body()
    await call.until(lambda: call.data == b"whole")
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call.task, 20)
    assert ended == ["cancelled"]


async def test_an_error_for_a_head_request_has_no_body(app: flask.Flask, views: Views) -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        raise ValueError("before the head")

    app.wsgi_app = broken  # type: ignore[method-assign]
    call = Call(asgi(app, views=views), method="HEAD").body()
    assert await call.answer() == (500, b"")
    assert int(call.header("content-length") or 0) > 100
