"""The same tasks in a Flask application: nothing is awaited, and results are plain values."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import flask
import pytest

from decant.faces import Face, face
from decant.tasks import Task, Tasks, chain, chord, group, shared_task
from decant.tasks.testing import start_worker

SyncTasks = face(Tasks)


class Site:
    """A Flask application, and its worker in a thread of its own."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.app = flask.Flask(__name__)
        self.app.config |= {"TASKS_DATABASE_URL": database_url, "REDIS_URL": redis_url, "REDIS_DEADLINE_S": 5}
        self.tasks = tasks = SyncTasks()
        self.seen: list[Any] = []

        @tasks.task(name="add")
        def add(x: int, y: int) -> int:
            assert flask.current_app.name == self.app.name
            return x + y

        @tasks.task(name="steps", bind=True, max_retries=1)
        def steps(self: Any, x: int) -> Any:
            self.update_state(state="PROGRESS", meta={"x": x})
            if self.request.retries == 0:
                raise self.retry(args=(x + 1,), countdown=0)
            return self.add.delay(x, 1).id if hasattr(self, "add") else (self.name, x)

        @tasks.task(name="fail", throws=(KeyError,))
        def fail() -> None:
            raise KeyError("no")

        @tasks.task(name="total")
        async def total(numbers: list[int]) -> int:
            return sum(numbers)

        self.add, self.steps, self.fail, self.total = add, steps, fail, total
        tasks.init_app(self.app)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within it a worker runs the jobs."""
        ready, stop = threading.Event(), threading.Event()

        async def work() -> None:
            async with start_worker(self.app):
                ready.set()
                await asyncio.to_thread(stop.wait)

        with ThreadPoolExecutor(1) as threads:
            worker = threads.submit(asyncio.run, work())
            worker.add_done_callback(lambda _: ready.set())
            try:
                assert ready.wait(60)
                yield
            finally:
                stop.set()
                worker.result(30)


@pytest.fixture
def site(ledger_url: str, redis_url: str) -> Iterator[Site]:
    made = Site(ledger_url, redis_url)
    with made.app.app_context():
        yield made


def test_jobs_are_asked_for_and_waited_for_without_await(site: Site) -> None:
    assert isinstance(site.app.extensions["tasks"], Face)
    assert site.add(1, 2) == 3
    with site.working():
        result = site.add.delay(1, y=2)
        assert result.get(timeout=10) == 3
        assert result.state == "SUCCESS"
        assert result.ready() is True
        assert result.successful() is True
        assert result.result == 3
        assert result.children == []
        assert site.add.apply_async((2, 2), queue="default").get(timeout=10) == 4
        assert site.tasks.send_task("add", (3, 3)).get(timeout=10) == 6
        assert site.tasks.AsyncResult(result.id).get(timeout=10) == 3
        with pytest.raises(KeyError):
            site.fail.delay().get(timeout=10)
        assert site.steps.delay(1).get(timeout=10) == ("steps", 2)


def test_the_canvas_is_plain_too(site: Site) -> None:
    with site.working():
        assert (site.add.s(1, 2) | site.add.s(3)).delay().get(timeout=10) == 6
        assert chain(site.add.s(1, 2), site.add.s(3))().get(timeout=10) == 6
        assert group(site.add.s(i, i) for i in range(3))().get(timeout=10) == [0, 2, 4]
        result = chord([site.add.s(1, 1), site.add.s(2, 2)])(site.total.s())
        assert result.get(timeout=10) == 6
        assert result.parent.get(timeout=10) == [2, 4]
        assert (group(site.add.s(1, 1), site.add.s(2, 2)) | site.total.s())().get(timeout=10) == 6
        assert site.add.starmap([(1, 2), (3, 4)])().get(timeout=10) == [3, 7]
        values = list(group(site.add.s(i, i) for i in range(3))().iterate(timeout=10))
        assert sorted(values) == [0, 2, 4]


def test_jobs_are_revoked_and_seen_waiting(site: Site) -> None:
    result = site.add.delay(1, 2)
    assert result.state == "PENDING"
    assert result.args == [1, 2]
    result.revoke()
    assert result.state == "REVOKED"
    result.forget()
    assert result.exists() is False


def test_a_task_of_a_class_and_a_shared_one(site: Site) -> None:
    class Adder(Task):
        name = "adder"

        def run(self, x: int) -> Any:
            assert isinstance(self, Adder)
            child = self.app.tasks["add"].s(x, 1)
            self.update_state(state="PROGRESS", meta={})
            return child.args

    adder = site.tasks.register_task(Adder())

    @shared_task(name="shared_in_flask")
    def shared(x: int) -> int:
        return x + 1

    with site.working():
        assert adder.delay(1).get(timeout=10) == (1, 1)
        assert shared.delay(1).get(timeout=10) == 2
        assert shared(5) == 6


def test_eager_results_are_plain_values(site: Site) -> None:
    site.tasks.conf.task_always_eager = True
    result = site.add.delay(1, 2)
    assert (result.get(), result.state, result.result) == (3, "SUCCESS", 3)
    assert (site.add.s(1, 2) | site.add.s(3)).delay().get() == 6
    assert site.steps.delay(1).get() == ("steps", 2)
