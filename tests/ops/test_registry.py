"""Counters, gauges, histograms and readiness checks."""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import textwrap
import time
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import flask
import pytest
import quart
from prometheus_client import REGISTRY, generate_latest

from decant.ops import registry
from decant.ops.registry import Readiness, check_readiness, counter, gauge, histogram, readiness


@pytest.fixture
def name() -> str:
    """The name of a metric that no other test has: Prometheus's default registry is the process's."""
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture(autouse=True)
def no_global_checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_global_checks", {})
    yield
    assert not registry._stubborn


def test_a_counter_counts(name: str) -> None:
    """By one or more, with and without labels; it is exposed as Prometheus expects."""
    counter(name, "Things").inc()
    counter(name, "Things").inc(2.5)
    assert REGISTRY.get_sample_value(f"{name}_total") == 3.5
    labelled = counter(f"{name}_labelled", "Things", ["kind", "place"])
    labelled.inc(kind="a", place="b")
    labelled.inc(2, place="b", kind="a")
    assert REGISTRY.get_sample_value(f"{name}_labelled_total", {"kind": "a", "place": "b"}) == 3
    assert f"# HELP {name}_total Things".encode() in generate_latest()
    with pytest.raises(ValueError, match="non-negative"):
        counter(name, "Things").inc(-1)


def test_a_gauge_goes_up_and_down_and_may_ask(name: str) -> None:
    """set, inc, dec; or a function that is asked whenever metrics are collected."""
    level = gauge(name, "A level", ("pool",))
    level.set(5, pool="a")
    level.inc(pool="a")
    level.dec(2, pool="a")
    assert REGISTRY.get_sample_value(name, {"pool": "a"}) == 4
    asked = itertools.count(7)
    level.set_function(lambda: next(asked), pool="b")
    assert [REGISTRY.get_sample_value(name, {"pool": "b"}) for _ in range(2)] == [7, 8]


def test_a_histogram_observes(name: str) -> None:
    """Into buckets of one's own, or those for seconds."""
    histogram(name, "Sizes", buckets=[1, 10]).observe(5)
    assert REGISTRY.get_sample_value(f"{name}_bucket", {"le": "1.0"}) == 0
    assert REGISTRY.get_sample_value(f"{name}_bucket", {"le": "10.0"}) == 1
    assert REGISTRY.get_sample_value(f"{name}_sum") == 5
    seconds = histogram(f"{name}_seconds", "Durations", ["route"])
    seconds.observe(0.02, route="/")
    assert REGISTRY.get_sample_value(f"{name}_seconds_bucket", {"le": "0.025", "route": "/"}) == 1


def test_asking_twice_returns_the_same_metric(name: str) -> None:
    """Another kind, other labels or other buckets under the same name are refused, and the text has both."""
    first = counter(name, "Things", ["kind"])
    assert counter(name, "Things", ("kind",)) is first
    with pytest.raises(ValueError, match=rf"{name}.*exists as a Counter with labels \['kind'\].*Gauge with \['kind'\]"):
        gauge(name, "Things", ["kind"])
    with pytest.raises(ValueError, match=r"cannot also be a Counter with \['other'\]"):
        counter(name, "Things", ["other"])
    histogram(f"{name}_h", "Sizes", buckets=(1, 2))
    with pytest.raises(ValueError, match="buckets"):
        histogram(f"{name}_h", "Sizes", buckets=(1, 3))


@pytest.mark.parametrize("labels", [{}, {"other": "x"}, {"kind": "x", "other": "y"}])
def test_wrong_labels_are_refused(name: str, labels: dict[str, object]) -> None:
    """The text names those that it has and those that were given."""
    with pytest.raises(ValueError, match=rf"{name} has the labels \['kind'\], not"):
        counter(name, "Things", ["kind"]).inc(**labels)


def test_without_prometheus_client_nothing_is_counted_and_nothing_breaks() -> None:
    """The same interface, the same refusals, no import of it."""
    source = """
        import sys
        sys.modules["prometheus_client"] = None
        from decant.ops.registry import counter, gauge, histogram
        counter("c", "C").inc()
        counter("c", "C").inc(2)
        g = gauge("g", "G", ["x"])
        g.set(1, x=1); g.inc(x=1); g.dec(x=1); g.set_function(lambda: 1, x=1)
        histogram("h", "H").observe(1)
        for wrong in (lambda: gauge("c", "C"), lambda: g.set(1), lambda: g.set(1, y=1)):
            try:
                wrong()
            except ValueError as error:
                print("refused")
    """
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)], capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("refused\n" * 3, "")


async def ready() -> None:
    await asyncio.sleep(0)


async def broken() -> None:
    raise ConnectionRefusedError("nobody listens")


async def hangs() -> None:
    await asyncio.sleep(60)


async def test_checks_say_ok_degraded_or_failed() -> None:
    """In the order of registration, with what was wrong and how long it took."""
    readiness("database", ready)
    readiness("redis", broken, critical=False)
    readiness("disk", broken)
    results = await check_readiness()
    assert list(results) == ["database", "redis", "disk"]
    assert (results["database"].state, results["database"].text) == ("ok", "")
    assert (results["redis"].state, results["redis"].text) == (
        "degraded",
        "ConnectionRefusedError: nobody listens",
    )
    assert results["disk"].state == "failed"
    assert all(isinstance(result, Readiness) and 0 <= result.seconds < 20 for result in results.values())


async def test_a_check_has_a_deadline_and_holds_up_no_other() -> None:
    """All run at once; who is late has failed, and is cancelled."""
    seen: list[str] = []

    async def slow() -> None:
        try:
            await hangs()
        finally:
            seen.append("cancelled")

    readiness("slow", slow)
    readiness("slower", slow, critical=False)
    readiness("ready", ready)
    started = time.monotonic()
    results = await check_readiness(0.3)
    assert time.monotonic() - started < 10
    assert {name: result.state for name, result in results.items()} == {
        "slow": "failed",
        "slower": "degraded",
        "ready": "ok",
    }
    assert results["slow"].text == "no answer within 0.3 s"
    await asyncio.sleep(0)
    assert seen == ["cancelled"] * 2


async def test_a_check_that_is_deaf_to_its_cancellation_holds_up_nobody() -> None:
    """It is left to itself until it ends, and what it raises then is nobody's warning."""
    gate = asyncio.Event()

    async def deaf() -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        raise KeyError("too late")

    readiness("deaf", deaf)
    results = await asyncio.wait_for(check_readiness(0.02), 30)
    assert results["deaf"].state == "failed"
    assert len(registry._stubborn) == 1
    gate.set()
    while registry._stubborn:
        await asyncio.sleep(0)
    gc.collect()


async def test_cancelling_the_question_cancels_the_checks() -> None:
    """A health request whose client is gone leaves no check running."""
    seen: list[str] = []
    asked = asyncio.Event()

    async def slow() -> None:
        asked.set()
        try:
            await hangs()
        finally:
            seen.append("cancelled")

    readiness("slow", slow)
    task = asyncio.create_task(check_readiness(30))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0)
    assert seen == ["cancelled"]


async def test_a_check_that_fails_as_the_question_is_cancelled_is_nobodys_warning() -> None:
    """A health request whose client goes away at that very moment."""
    asked, fails, reported = asyncio.Event(), asyncio.Event(), list[Any]()

    async def failing() -> None:
        asked.set()
        await fails.wait()
        raise KeyError("nobody listens any more")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    readiness("failing", failing)
    task = asyncio.create_task(check_readiness(30))
    await asked.wait()
    fails.set()
    await asyncio.sleep(0)  # the check has failed, and who waits for it is not awake yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task  # it keeps the check by its traceback, and the loop by what is still to be called
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_what_is_no_async_function_is_a_failed_check() -> None:
    """A check that returns nothing to await, one that cancels itself, and one that raises when it is called."""

    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    def raises() -> None:
        raise KeyError("called")

    readiness("sync", lambda: None)  # type: ignore[arg-type,return-value]
    readiness("cancelled", cancels_itself)
    readiness("raises", raises)  # type: ignore[arg-type]
    results = await check_readiness()
    assert {result.state for result in results.values()} == {"failed"}
    assert "a readiness check must be async" in results["sync"].text
    assert results["cancelled"].text == "CancelledError"
    assert results["raises"].text == "KeyError: 'called'"


@pytest.fixture(params=[quart.Quart, flask.Flask])
def apps(request: pytest.FixtureRequest) -> list[Any]:
    return [request.param(__name__), request.param(__name__)]


async def test_checks_of_an_application_are_its_own(apps: list[Any]) -> None:
    """Together with the process's; a name registered again replaces the first; another application has none of it."""
    app, other = apps
    readiness("process", ready)
    readiness("database", broken, app=app)
    readiness("database", ready, app=app)
    assert {name: result.state for name, result in (await check_readiness(app=app)).items()} == {
        "process": "ok",
        "database": "ok",
    }
    assert list(await check_readiness(app=other)) == ["process"]
    assert list(await check_readiness()) == ["process"]


def test_checks_do_not_keep_their_application() -> None:
    """A check that refers to its application goes with it: test suites create thousands."""

    class Twin:
        def __init__(self, app: quart.Quart) -> None:
            self.app = app
            readiness("twin", self.check, app=app)

        async def check(self) -> None:
            assert self.app.name

    app = quart.Quart(__name__)
    twin = Twin(app)
    assert asyncio.run(check_readiness(app=app))["twin"].state == "ok"
    gone = weakref.ref(twin)
    del app, twin
    gc.collect()
    assert gone() is None
