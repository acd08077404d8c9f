"""The watchdog: who holds the event loop is said while it is held, once, with the line; who waits is left alone."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import flask
import greenlet
import prometheus_client
import pytest

from decant import Quart, wait
from decant.bridge import bridged, in_thread
from decant.flask import asgi, blocking, mount, starving
from decant.flask.watchdog import Subject, Watchdog, _Rate
from tests.flask.asgi_calls import until
from tests.flask.loop_asking import ask, ask_all
from tests.serving import serve

LOGGER = "decant.flask.watchdog"


class Keeps(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler = Keeps()
    logging.getLogger(LOGGER).addHandler(handler)
    yield handler.records
    logging.getLogger(LOGGER).removeHandler(handler)


def hold(records: list[logging.LogRecord]) -> bool:
    """Hold the loop until it is told, at most twenty seconds; whether it was."""
    deadline = time.monotonic() + 20
    while not records and time.monotonic() < deadline:
        sum(range(100))
    return bool(records)


def hold_for(seconds: float) -> None:
    """So many seconds of a core: on a busy machine they take longer."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))


@pytest.fixture
def app(records: list[logging.LogRecord]) -> flask.Flask:
    app = flask.Flask("held")

    @app.get("/hold/<name>")
    def holds(name: str) -> dict[str, Any]:
        seen = hold(records)  # the line that is to be told
        return {"seen": seen, "records": len(records)}

    @app.get("/template")
    def template() -> str:
        return flask.render_template_string("\n{{ hold() }}", hold=lambda: hold(records))

    @app.get("/for/<float:seconds>")
    def holds_for(seconds: float) -> str:
        hold_for(seconds)
        return "held"

    @app.get("/wait")
    def waits() -> str:
        wait(asyncio.sleep(0.8))
        return "waited"

    @app.get("/short")
    def short() -> str:
        hold_for(0.006)
        return "short"

    @app.get("/blocking")
    @blocking
    def blocks() -> str:
        time.sleep(0.8)
        return "blocked"

    @app.get("/async")
    async def asynchronous() -> dict[str, Any]:
        await asyncio.sleep(0.15)
        return {"seen": hold(records)}

    @app.get("/async-waits")
    async def async_waits() -> str:
        wait(asyncio.sleep(0.4))
        await in_thread(time.sleep, 0.4)
        return "waited"

    return app


async def held_total(view: str) -> float:
    """When watchdogs that have stopped have counted all."""
    gc.collect()  # those of applications that were never told of their end
    for thread in threading.enumerate():
        if thread.name == "decant-watchdog":
            await asyncio.to_thread(thread.join, 10)
    return await asyncio.to_thread(read_total, view)


def read_total(view: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value("decant_loop_held_total", {"view": view}) or 0.0


async def test_it_is_told_while_it_goes_on(app: flask.Flask, records: list[logging.LogRecord]) -> None:
    before = await held_total("holds")
    async with serve(asgi(app, views="loop")) as url:
        assert flask.json.loads((await ask(url, "/hold/me"))[1]) == {"seen": True, "records": 1}
    (record,) = records
    said = record.getMessage()
    assert "the view 'holds' (GET '/hold/me') has held the event loop for" in said
    assert "still does" in said
    assert said.index("dispatch_request") < said.index("seen = hold(records)  # the line that is to be told")
    assert ", in hold\n" in said, "the innermost frame of its stack"
    assert "@decant.flask.blocking" in said
    assert record.__dict__["endpoint"] == "holds"
    assert record.__dict__["file"] == __file__
    assert record.__dict__["seconds"] > 0.1
    assert hold.__code__.co_firstlineno < record.__dict__["line"] < hold_for.__code__.co_firstlineno
    assert await held_total("holds") == before + 1
    counted = await asyncio.to_thread(
        prometheus_client.REGISTRY.get_sample_value, "decant_loop_held_seconds_count", {"view": "holds"}
    )
    assert counted == before + 1


async def test_its_thread_ends_with_the_application_that_nobody_stopped() -> None:
    """As where a test, or a server without the lifespan protocol, calls it."""
    watchdog = Watchdog()
    assert await watchdog.watch(asyncio.sleep(0, "answer"), lambda: Subject(None, "a request")) == "answer"
    thread = watchdog._thread
    assert thread is not None
    assert thread.is_alive()
    del watchdog
    gc.collect()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_a_template_is_told_with_its_line(app: flask.Flask, records: list[logging.LogRecord]) -> None:
    async with serve(asgi(app, views="loop")) as url:
        assert (await ask(url, "/template"))[1].strip() == "True"
    assert '"<template>", line 2, in template' in records[0].getMessage()


async def test_each_occurrence_is_told_once_and_a_view_again_only_later(
    app: flask.Flask, records: list[logging.LogRecord]
) -> None:
    before = await held_total("holds_for")
    served = asgi(app, views="loop")
    assert served.watchdog is not None
    rate = served.watchdog._rate
    rate.every_s = 600  # for how long three may take
    async with serve(served) as url:
        for _ in range(3):
            assert await ask(url, "/for/0.25") == (200, "held")
        await until(lambda: rate._dropped == {"holds_for": 2})  # it looks now and then
        assert len(records) == 1
        rate.every_s = 0
        assert await ask(url, "/for/0.25") == (200, "held")
    assert await held_total("holds_for") == before + 4
    assert len(records) == 2
    assert "(2 more of this view since the last such line.)" in records[1].getMessage()


async def test_who_waits_or_is_short_or_runs_in_a_thread_is_not_told(
    app: flask.Flask, records: list[logging.LogRecord]
) -> None:
    """Though a hundred views of 6 ms keep the loop busy for longer than the watchdog allows to one."""
    served = asgi(app, views="loop")
    assert served.watchdog is not None
    served.watchdog.after_s = 0.5
    async with serve(served) as url:
        paths = [*["/wait", "/async-waits", "/blocking"] * 3, *["/short"] * 100]
        assert {status for status, _ in await ask_all(url, paths)} == {200}
    assert [record.getMessage() for record in records] == []


@pytest.mark.parametrize("mode", ["loop", "threads"])
async def test_an_async_view_is_told_in_both_modes(
    app: flask.Flask, records: list[logging.LogRecord], mode: Any
) -> None:
    async with serve(asgi(app, views=mode)) as url:
        assert await ask(url, "/async-waits") == (200, "waited")
        assert not records
        assert flask.json.loads((await ask(url, "/async"))[1]) == {"seen": True}
    said = records[0].getMessage()
    assert "'asynchronous'" in said
    if mode == "threads":
        assert "await asyncio.to_thread(function)" in said


async def test_in_a_quart_application_that_is_bridged_already_who_waits_is_not_told(
    app: flask.Flask, records: list[logging.LogRecord]
) -> None:
    outer = await asyncio.to_thread(Quart, __name__)
    mount(outer, app, views="loop")
    async with serve(outer) as url:
        assert await ask_all(url, ["/wait", "/async-waits"]) == [(200, "waited")] * 2
        assert not records
        assert (await ask(url, "/hold/me"))[0] == 200
    assert len(records) == 1


async def test_time_without_a_core_is_nobodys_fault(
    app: flask.Flask, records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await held_total("holds_for")
    monkeypatch.setattr(starving, "run_delay", lambda native_id: time.monotonic())  # as if it never got one
    served = asgi(app, views="loop")
    assert served.watchdog is not None
    delays = served.watchdog._delays
    async with serve(served) as url:
        await ask(url, "/short")
        await until(lambda: delays._seen)  # of a thread that it has not looked at yet it knows none
        assert await ask(url, "/for/0.3") == (200, "held")
    assert await held_total("holds_for") == before
    assert not records


def test_a_thread_that_runs_was_not_without_a_core_for_longer_than_it_lives() -> None:
    assert 0 <= starving.run_delay(threading.get_native_id()) < time.monotonic()
    assert starving.run_delay(0) == 0.0


async def test_what_runs_in_the_task_of_a_bridge_is_told_with_the_views_line(records: list[logging.LogRecord]) -> None:
    """SQLAlchemy's awaitables are stepped outside of the greenlet that waits for them."""
    app = await asyncio.to_thread(flask.Flask, "stepped")

    async def query() -> bool:
        return hold(records)

    @app.get("/")
    def view() -> str:
        return str(greenlet.getcurrent().parent.switch(query()))  # type: ignore[union-attr]

    async with serve(asgi(app, views="loop")) as url:
        assert await ask(url, "/") == (200, "True")
    said = records[0].getMessage()
    assert said.index("switch(query())") < said.index("return hold(records)")
    assert "test_watchdog.py" in records[0].__dict__["file"]


async def test_what_was_over_before_it_was_seen_is_told_without_a_stack(records: list[logging.LogRecord]) -> None:
    watchdog = Watchdog()
    watchdog.start()
    watchdog._stop.set()  # as if the interpreter had been held, too
    assert watchdog._thread is not None
    await asyncio.to_thread(watchdog._thread.join, 10)

    async def held() -> str:
        hold_for(0.15)
        return "done"

    assert await watchdog._watched(bridged(held()), lambda: Subject("over", "the view 'over'", held)) == "done"
    await asyncio.to_thread(watchdog._look)
    said = records[0].getMessage()
    assert "the view 'over' held the event loop for" in said
    assert f"{__file__}:{held.__code__.co_firstlineno} in" in said


async def test_cancelling_exceptions_and_values_pass_through() -> None:
    watchdog = Watchdog()
    seen: list[str] = []

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cleaned up")
            raise

    async def raises() -> None:
        await asyncio.sleep(0)
        raise KeyError("own")

    def describe() -> Subject:
        return Subject(None, "a test")

    task = asyncio.create_task(watchdog.watch(long(), describe))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cleaned up"]
    with pytest.raises(KeyError, match="own"):
        await watchdog.watch(raises(), describe)
    assert not watchdog._held
    watchdog.stop()


async def test_it_looks_on_when_one_view_cannot_be_described(records: list[logging.LogRecord]) -> None:
    """As where the application's routing raises: the next view is told."""
    watchdog = Watchdog(0.02)
    watchdog.start()
    thread = watchdog._thread

    def broken() -> Subject:
        raise RuntimeError("no routing")

    async def held() -> None:
        hold_for(0.15)

    await watchdog.watch(held(), broken)
    await watchdog.watch(held(), lambda: Subject("next", "the view 'next'", held))
    watchdog.stop()
    assert thread is not None
    await asyncio.to_thread(thread.join, 10)
    said = [record.getMessage() for record in records]
    assert "the watchdog could not report a view" in said
    assert [text for text in said if text.startswith("the view 'next'")]


def test_a_minute_has_a_bounded_number_of_lines() -> None:
    rate = _Rate(every_s=10, at_most=3)
    assert [rate.take(f"view {number}") for number in range(5)] == [0, 0, 0, None, None]


def test_its_thread_begins_once_and_ends() -> None:
    watchdog = Watchdog()
    watchdog.start()
    thread = watchdog._thread
    watchdog.start()
    assert watchdog._thread is thread
    assert thread is not None
    assert watchdog.is_running
    watchdog.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert not watchdog.is_running
    assert thread not in threading.enumerate()
