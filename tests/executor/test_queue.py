"""The queue is bounded, its jobs start in order, and the end has a deadline."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import flask
import pytest
from prometheus_client import REGISTRY

from decant import wait
from decant.bridge import in_thread
from decant.errors import Overloaded
from decant.executor import Executor

from .conftest import Site
from .test_futures import Gate

KINDS = ["quart", "decant", "flask"]


@pytest.fixture(params=KINDS)
def narrow(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    """One job at a time, two may wait."""
    return make_site(request.param, EXECUTOR_MAX_WORKERS=1, EXECUTOR_MAX_PENDING=2)


async def test_one_job_too_many_is_refused(narrow: Site) -> None:
    """At once, with a clear error; a cancelled one makes room; the others run in their order."""
    gate, order = Gate(), []
    running = narrow.executor.submit(gate)
    await gate.began.wait()
    waiting = [narrow.executor.submit(order.append, number) for number in range(2)]
    for submit in (narrow.executor.submit, lambda f, n: narrow.executor.submit_stored("key", f, n)):
        with pytest.raises(Overloaded, match=r"2 jobs already wait for one of 1 workers.*EXECUTOR_MAX_PENDING"):
            submit(order.append, 3)
    with pytest.raises(Overloaded):
        narrow.executor.map(order.append, range(3))
    assert narrow.executor.futures.pop("key") is None
    assert waiting[0].cancel()
    last = narrow.executor.submit(order.append, 4)
    gate.end.set()
    await asyncio.gather(running, waiting[1], last)
    assert order == [1, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_queue_is_answered_with_503(make_site: Callable[..., Site], kind: str) -> None:
    """With Retry-After, where the application has no handler of its own."""
    site, release = make_site(kind, EXECUTOR_MAX_WORKERS=1, EXECUTOR_MAX_PENDING=0), threading.Event()

    def view() -> None:
        site.executor.submit(release.wait, 60)
        site.executor.submit(release.wait, 60)

    site._work = view
    if kind == "flask":
        answer: Any = site.app.test_client().get("/visit")
    else:

        async def visit() -> Any:
            return await site.app.test_client().get("/visit")

        with asyncio.Runner() as runner:
            answer = runner.run(visit())
            release.set()
    release.set()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parity("executor", "EXECUTOR_MAX_WORKERS")
async def test_coroutine_functions_are_bounded_too(make_site: Callable[..., Site]) -> None:
    """No more than EXECUTOR_MAX_WORKERS run at once."""
    site, running, most = make_site("decant", EXECUTOR_MAX_WORKERS=3), 0, 0

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await asyncio.gather(*(site.executor.submit(job) for _ in range(30)))
    assert most == 3


async def test_the_end_of_serving_waits_for_jobs_and_their_callbacks(make_site: Callable[..., Site]) -> None:
    """After it nothing is taken; the application may be served again."""
    site = make_site("decant", EXECUTOR_MAX_WORKERS=1)
    done: list[Any] = []

    def late(future: Any) -> None:
        done.append(future.result())

    for _ in range(2):
        async with site.app.test_app():
            future = site.executor.submit(time.sleep, 0.01)
            future.add_done_callback(late)
            site.executor.submit(done.append, 1)
        assert sorted(done, key=str) == [1, None]
        done.clear()
        with pytest.raises(RuntimeError, match="after its shutdown"):
            site.executor.submit(done.append, 1)


async def test_the_end_has_a_deadline(make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    """Queued jobs are cancelled, and a thread is stopped when it waits next."""
    site, stopped = make_site("decant", EXECUTOR_MAX_WORKERS=1, EXECUTOR_SHUTDOWN_TIMEOUT="0.05"), threading.Event()
    began = asyncio.Event()

    def waits() -> None:
        wait(_begin(began))
        try:
            wait(asyncio.sleep(600))
        finally:
            stopped.set()

    started = time.monotonic()
    async with site.app.test_app():
        running, queued = site.executor.submit(waits), site.executor.submit(waits)
        await began.wait()
    assert time.monotonic() - started < 30
    assert await asyncio.to_thread(stopped.wait, 60)
    assert queued.cancelled()
    with pytest.raises(CancelledError):
        await running
    assert "1 queued jobs were cancelled, 1 running ones stopped" in caplog.text


async def _begin(began: asyncio.Event) -> None:
    began.set()


async def test_a_job_that_is_deaf_does_not_hold_the_end_up(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    """A thread that never waits cannot be stopped: the end says so and goes on."""
    site, gate = make_site("quart"), Gate()
    future = site.executor.submit(gate)
    await gate.began.wait()
    started = time.monotonic()
    await site.executor.drain(0.01)
    assert time.monotonic() - started < 50
    assert "of which 1 went on" in caplog.text
    gate.end.set()
    with pytest.raises(Exception, match="stopped before its end"):
        await future


async def _metric(name: str, **labels: str) -> float:
    return await asyncio.to_thread(REGISTRY.get_sample_value, name, labels) or 0.0


async def test_metrics_show_the_queue(narrow: Site) -> None:
    """What runs, what waits, what was refused and how jobs ended, by application and executor."""
    labels = {"app": narrow.app.name, "executor": "default"}
    done, failed = [await _metric("decant_executor_jobs_total", outcome=o, **labels) for o in ("done", "failed")]
    refused, gate = await _metric("decant_executor_refused_total", **labels), Gate()
    waited = await _metric("decant_executor_wait_seconds_count", **labels)
    first = narrow.executor.submit(gate)
    await gate.began.wait()
    others = [narrow.executor.submit(int, text) for text in ("1", "x")]
    with pytest.raises(Overloaded):
        narrow.executor.submit(gate)
    assert await _metric("decant_executor_running", **labels) == 1
    assert await _metric("decant_executor_pending", **labels) == 2
    assert await _metric("decant_executor_refused_total", **labels) == refused + 1
    gate.end.set()
    await asyncio.gather(first, *others, return_exceptions=True)
    await narrow.executor.drain(60)
    assert await _metric("decant_executor_running", **labels) == 0
    assert await _metric("decant_executor_jobs_total", outcome="done", **labels) == done + 2
    assert await _metric("decant_executor_jobs_total", outcome="failed", **labels) == failed + 1
    assert await _metric("decant_executor_wait_seconds_count", **labels) == waited + 3


def test_a_closed_loop_does_not_keep_the_queue(make_site: Callable[..., Site]) -> None:
    """Jobs of a loop that was closed without a shutdown fail, 2,000 of them, and others run."""
    site = make_site("quart", EXECUTOR_MAX_WORKERS=1, EXECUTOR_MAX_PENDING=5_000)
    release = threading.Event()
    blocker = site.executor.submit(release.wait, 60)

    async def main() -> list[Any]:
        return [site.executor.submit(int) for _ in range(2_000)]

    lost = asyncio.run(main())
    release.set()
    assert blocker.result(60)
    assert site.executor.submit(lambda: 5).result(60) == 5
    assert {type(future.exception(60)) for future in lost} == {RuntimeError}


@pytest.mark.parametrize("began", [False, True])
def test_a_loop_that_ends_gives_its_workers_back(make_site: Callable[..., Site], began: bool) -> None:
    """Jobs of a loop that ends, as asyncio.run's does, before they began or in their midst: all fail, others run."""
    site = make_site("quart", EXECUTOR_MAX_WORKERS=2)

    async def main() -> list[Any]:
        running = asyncio.Event()

        async def job() -> None:
            running.set()
            await asyncio.Event().wait()

        futures = [site.executor.submit(job) for _ in range(10)]
        if began:
            await running.wait()
        return futures

    lost = asyncio.run(main())
    assert {type(future.exception(60)) for future in lost} <= {CancelledError, RuntimeError}
    assert site.executor.submit(lambda: 5).result(60) == 5


def test_a_job_that_is_cancelled_ends_alone(make_site: Callable[..., Site]) -> None:
    """The loop goes on, and so do the jobs that wait."""
    site = make_site("quart", EXECUTOR_MAX_WORKERS=1)

    async def gives_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def main() -> None:
        first, second = site.executor.submit(gives_up), site.executor.submit(lambda: 5)
        with pytest.raises(CancelledError):
            await first
        assert await second == 5

    asyncio.run(main())


async def test_a_map_that_is_cut_off_by_the_shutdown_ends(narrow: Site) -> None:
    """What was not started is cancelled, and nobody waits for it."""
    gate = Gate()
    results = narrow.executor.map(lambda number: (gate(), number), range(5))
    await gate.began.wait()
    narrow.executor.shutdown(wait=False, cancel_futures=True)
    gate.end.set()
    async with asyncio.timeout(60):
        assert await anext(results) == ("ended", 0)
        with pytest.raises(CancelledError):
            await anext(results)


async def test_a_refused_job_costs_no_stored_future(make_site: Callable[..., Site]) -> None:
    """Nor does one whose key is taken."""
    site, gate = (
        make_site("quart", EXECUTOR_MAX_WORKERS=1, EXECUTOR_MAX_PENDING=1, EXECUTOR_FUTURES_MAX_LENGTH=2),
        Gate(),
    )
    kept = [site.executor.submit_stored(number, gate) for number in range(2)]
    with pytest.raises(Overloaded):
        site.executor.submit_stored(2, gate)
    with pytest.raises(ValueError, match="already exists"):
        site.executor.submit_stored(1, gate)
    assert [future in site.executor.futures for future in kept] == [True, True]
    gate.end.set()
    await asyncio.gather(*kept)
    last = site.executor.submit_stored(2, gate)
    assert [future in site.executor.futures for future in (*kept, last)] == [False, True, True]
    await last


FORKED = """
import os, threading
from flask import Flask
from decant.executor import Executor

app = Flask(__name__)
app.config.update(EXECUTOR_MAX_WORKERS=1)
executor, release = Executor(app), threading.Event()
executor.submit_stored("held", release.wait)
queued = executor.submit(os.getpid)
child = os.fork()
if not child:
    status = 0
    try:
        assert executor.futures.done("held") is None
        assert executor.submit(os.getpid).result(60) == os.getpid()
        status = 7
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
release.set()
assert queued.result(60) == os.getpid()
print(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_has_an_executor_of_its_own() -> None:
    """As under a server that loads the application and then forks: the parent's jobs are the parent's."""
    script = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=110, check=False)
    assert (ended.stdout.strip(), ended.stderr) == ("7", "")


def test_an_async_view_of_flask_does_not_lend_its_loop(make_site: Callable[..., Site]) -> None:
    """Its loop ends with the view; the job goes on."""
    site, release = make_site("flask"), threading.Event()

    async def view() -> Any:
        return site.executor.submit(release.wait, 60)

    future = site.visit(lambda: asyncio.run(view()))
    release.set()
    assert future.result(60) is True


async def test_mounted_flask_waits_on_the_loop_that_serves_it(make_site: Callable[..., Site]) -> None:
    """A Flask view in a thread of the bridge: its jobs wait for that loop, not for one of their own."""
    site = make_site("flask")

    async def here() -> Any:
        return asyncio.get_running_loop()

    def view() -> Any:
        with site.app.test_request_context("/below"):
            return site.executor.submit(lambda: (flask.request.path, wait(here()))).result(60)

    assert await in_thread(view) == ("/below", asyncio.get_running_loop())


def test_an_executor_does_not_keep_its_applications() -> None:
    """They are freed as without it."""
    executor, app = Executor(), flask.Flask("short-lived")
    executor.init_app(app)
    with app.app_context():
        assert executor.submit(int, "3").result(60) == 3
        executor.shutdown()
    kept = weakref.ref(app)
    del app
    deadline = time.monotonic() + 60
    while kept() is not None and time.monotonic() < deadline:  # the job's thread may be about to forget it
        time.sleep(0.01)
        gc.collect()
    assert kept() is None
