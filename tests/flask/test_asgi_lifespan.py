"""From the server's start to its stop, and what makes no sense at all."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, suppress
from typing import Any

import flask
import prometheus_client
import pytest
from flask import Response

from decant.bridge import in_thread, wait
from decant.errors import ConfigError
from decant.flask import Asgi, asgi
from tests.flask.asgi_calls import Call, Views, logged, until
from tests.serving import Peer, serve


async def test_a_request_that_runs_when_the_server_stops_may_end(app: flask.Flask, views: Views) -> None:
    begun = threading.Event()

    @app.get("/")
    def slow() -> str:
        begun.set()
        wait(asyncio.sleep(0.5))
        return "done"

    async with AsyncExitStack() as stack:
        async with serve(asgi(app, views=views, grace_s=5), graceful_timeout=10) as url:
            peer = await stack.enter_async_context(Peer.connect(("127.0.0.1", int(url.rpartition(":")[2]))))
            await peer.get("/", "Connection: close")
            await until(begun.is_set)
        assert (await peer.rest()).endswith(b"done")


async def test_an_endless_stream_ends_with_the_server(app: flask.Flask, views: Views) -> None:
    ends: list[str] = []

    @app.get("/")
    def endless() -> Response:
        def pieces() -> Any:
            try:
                while True:
                    yield "x"
                    wait(asyncio.sleep(0.01))
            finally:
                ends.append("closed")

        return Response(pieces())

    shim = asgi(app, views=views)
    await shim.lifespan.start()
    shim.connections.timeout_s = 0.2  # while its clean-up has as long as it needs
    call = Call(shim).body()  # the client stays
    await call.until(lambda: len(call.sent) > 2)
    await asyncio.wait_for(shim.lifespan.stop(), 10)
    await asyncio.wait_for(call.task, 10)
    assert ends == ["closed"]
    assert call.sent[-1]["more_body"], "the client is not told that this was all"


async def lifespan(shim: Asgi) -> list[str]:
    received: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []
    received.put_nowait({"type": "lifespan.startup"})
    received.put_nowait({"type": "lifespan.shutdown"})

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(shim({"type": "lifespan"}, received.get, send), 10)
    return [message["type"] for message in sent]


async def test_it_starts_and_stops_more_than_once(app: flask.Flask, views: Views) -> None:
    shim = asgi(app, views=views)
    app.add_url_rule("/", view_func=lambda: "x")
    for _ in range(2):
        assert await lifespan(shim) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert await Call(shim).body().answer() == (200, b"x")


async def test_its_threads_end_with_it(app: flask.Flask, views: Views) -> None:
    used: list[threading.Thread] = []

    @app.get("/")
    def view() -> str:
        used.append(wait(in_thread(threading.current_thread)))
        return "x"

    shim = asgi(app, views=views)
    await shim.lifespan.start()
    assert await Call(shim).body().answer() == (200, b"x")
    assert not shim.connections.open
    assert shim.watchdog.is_running
    await shim.lifespan.stop()
    assert not shim.watchdog.is_running
    await until(lambda: not used[0].is_alive())


async def test_its_threads_are_seen_in_the_metrics(app: flask.Flask) -> None:
    free, found = threading.Event(), dict[str, float | None]()
    app.add_url_rule("/", view_func=lambda: str(free.wait(10)))
    shim = asgi(app, threads=1)

    def sample(name: str) -> float | None:
        return prometheus_client.REGISTRY.get_sample_value(f"decant_flask_{name}", {"app": app.name})

    await shim.lifespan.start()
    calls = [Call(shim).body() for _ in range(3)]
    await until(lambda: shim.threads.queued == 2)
    for name in ("threads", "threads_busy", "queued", "websockets"):
        found[name] = await asyncio.to_thread(sample, name)
    free.set()
    for call in calls:
        await call.answer()
    assert found == {"threads": 1, "threads_busy": 1, "queued": 2, "websockets": 0}
    assert await asyncio.to_thread(sample, "threads_busy") == 0
    await shim.lifespan.stop()


async def test_tasks_that_start_eagerly_stop_the_start(app: flask.Flask, caplog: Any) -> None:
    loop = asyncio.get_running_loop()

    def eager(loop: Any, steps: Any, **options: Any) -> Any:
        if getattr(steps, "__name__", "") == "first_step":
            with suppress(StopIteration):
                steps.send(None)
            steps = asyncio.sleep(0)
        return asyncio.Task(steps, loop=loop, **options)

    loop.set_task_factory(eager)
    try:
        assert await lifespan(asgi(app)) == ["lifespan.startup.failed"]
    finally:
        loop.set_task_factory(None)
    assert "set_task_factory(None)" in caplog.text


async def test_a_wrong_setting_stops_the_start(app: flask.Flask, caplog: Any) -> None:
    app.config["DECANT_BLOCKING_VIEWS"] = ["nowhere"]
    assert await lifespan(asgi(app, views="loop")) == ["lifespan.startup.failed"]
    assert "DECANT_BLOCKING_VIEWS" in caplog.text


@pytest.mark.parametrize("option", [{"threads": 0}, {"idle_s": -1}, {"views": "async"}, {"sockets": 0}])
def test_an_option_that_makes_no_sense_is_named(app: flask.Flask, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        asgi(app, **option)


def test_only_a_flask_application_is_taken() -> None:
    with pytest.raises(TypeError, match=r"flask\.Flask"):
        asgi(lambda environ, start_response: [])  # type: ignore[arg-type]


def test_importing_it_is_light() -> None:
    code = (
        "import sys, decant.flask; assert 'flask' not in sys.modules, 'flask'\n"
        "from decant.flask import asgi; assert callable(asgi)\n"
        "heavy = {'sqlalchemy', 'redis', 'socketio', 'arq'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


async def test_nothing_is_logged_for_clients_that_leave(app: flask.Flask, views: Views, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, "decant")

    begun: list[int] = []

    @app.get("/<int:number>")
    def waiting(number: int) -> str:
        begun.append(number)
        wait(asyncio.sleep(10))
        return "never"

    shim = asgi(app, views=views)
    for number in range(5):
        call = Call(shim, f"/{number}").body()
        await until(lambda: number in begun)  # noqa: B023 - it is asked now
        call.leave()
        await asyncio.wait_for(call.task, 10)
    assert logged(caplog) == []


async def test_clean_up_is_not_cut_off_when_the_server_stops(app: flask.Flask, views: Views) -> None:
    """A view that is late is cancelled once; its teardown may wait."""
    begun, ends = threading.Event(), list[str]()

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        for _ in range(10):
            wait(asyncio.sleep(0.01))
        ends.append(type(error).__name__)

    @app.get("/")
    def waiting() -> str:
        begun.set()
        wait(asyncio.sleep(60))
        return "never"

    shim = asgi(app, views=views)
    await shim.lifespan.start()
    shim.connections.timeout_s = 0.1  # while its teardown has as long as it needs
    call = Call(shim).body()
    await until(begun.is_set)
    await shim.lifespan.stop()
    await asyncio.wait_for(call.task, 10)
    assert ends == ["CancelledError"]
