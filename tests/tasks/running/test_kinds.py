"""Where tasks run besides the loop: in processes, in a Flask application; and jobs that are in Redis alone."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import flask
import pytest
from sqlalchemy import text

from decant import wait
from decant.tasks.codec import decode
from decant.tasks.errors import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from . import process_tasks as jobs
from .conftest import Site
from .test_outcomes import started
from .test_processes import alive, gone, text_in


@pytest.fixture
async def processes(make_site: Callable[..., Site]) -> AsyncIterator[Site]:
    """The site of the module's tasks, with one process."""
    site = make_site(tasks=jobs.tasks, TASKS_WORKER_PROCESSES=1)
    async with site.app.app_context():
        yield site


async def test_a_task_runs_in_a_process_with_its_request_progress_and_types(processes: Site) -> None:
    job = await jobs.describe.delay(jobs.Point(3, 4), jobs.Colour.RED, far=True)
    async with processes.runtime.listener.subscribed([UUID(job.id)]) as told:
        await processes.run(job)
        assert (await told.next(20))[1] == {"state": "HALF", "meta": {"done": 1}}  # type: ignore[index]
    value = await processes.value(job)
    assert value.pop("pid") != os.getpid()
    assert value == {"id": job.id, "x": 3, "red": True, "far": True}
    job = await jobs.describe_later.delay(5)
    await processes.run(job)
    id_, attempt, pid = await processes.value(job)
    assert (id_, attempt) == (job.id, 1)
    assert pid != os.getpid()


async def test_class_based_and_shared_tasks_are_found_in_the_process_too(processes: Site) -> None:
    job = await jobs.summing.delay(1, 2, 3)
    await processes.run(job)
    assert await processes.value(job) == 6
    job = await jobs.shared.delay(4)
    await processes.run(job)
    x, pid = await processes.value(job)
    assert x == 4
    assert pid != os.getpid()


async def test_a_process_may_retry(processes: Site) -> None:
    for how in ("self", "os"):
        job = await jobs.fetch.delay(how)
        assert await processes.run(job) == 0
        assert (await processes.record(job)).state == "RETRY"
        assert await processes.run(job) is None
        if how == "self":
            assert await processes.value(job) == 1
        else:
            assert isinstance((await processes.error(job)).exception, OSError)


async def test_limits_and_revocation_reach_a_process(processes: Site, tmp_path: Path) -> None:
    job = await jobs.hold.apply_async((str(tmp_path / "a"),), soft_time_limit=1)
    await processes.run(job)
    assert await processes.value(job) == "tidied up"
    pid = int(await text_in(tmp_path / "a"))
    job = await jobs.hold.apply_async((str(tmp_path / "b"),), time_limit=0.1)
    await processes.run(job)
    assert isinstance((await processes.error(job)).exception, TimeLimitExceeded)
    await gone(pid)
    job = await jobs.hold.delay(str(tmp_path / "c"))
    running = asyncio.create_task(processes.run(job))
    pid = int(await text_in(tmp_path / "c"))
    await processes.running.stop(UUID(job.id), "revoked")
    await running
    assert (await processes.record(job)).state == "REVOKED"
    await gone(pid)


async def test_a_process_that_dies_counts_as_a_death_and_the_job_is_run_again(processes: Site, tmp_path: Path) -> None:
    job = await jobs.die.delay(str(tmp_path / "died"))
    assert await processes.run(job) == pytest.approx(0.1)
    assert await processes.run(job) is None
    assert await processes.value(job) == "alive"
    record = await processes.record(job)
    assert (record.attempt, record.deaths) == (2, 1)


async def test_a_job_that_kills_its_processes_fails_in_the_end(processes: Site) -> None:
    job = await jobs.die_always.apply_async(max_attempts=2)
    for _ in range(2):
        assert await processes.run(job) == pytest.approx(0.1)
    assert await processes.run(job) is None
    swept = await processes.runtime.ledger.sweep()
    assert [str(record.id) for record in swept.lost] == [job.id]
    assert isinstance((await processes.error(job)).exception, WorkerLostError)


async def test_a_job_over_the_memory_ceiling_fails_and_is_not_run_again(make_site: Callable[..., Site]) -> None:
    site = make_site(tasks=jobs.tasks, TASKS_WORKER_MAX_MEMORY_PER_CHILD=400_000)
    async with site.app.app_context():
        job = await jobs.eat.delay(500)
        await asyncio.wait_for(site.done(job), 55)
        assert (await site.record(job)).state == "FAILURE"
        error = await site.error(job)
    assert "worker_max_memory_per_child = 400000" in error.message
    assert isinstance(error.exception, WorkerLostError)


async def test_a_cancelled_process_job_is_given_back_and_its_process_killed(processes: Site, tmp_path: Path) -> None:
    job = await jobs.hold.delay(str(tmp_path / "pid"))
    running = asyncio.create_task(processes.run(job))
    pid = int(await text_in(tmp_path / "pid"))
    running.cancel("stopping")
    with pytest.raises(asyncio.CancelledError):
        await running
    record = await processes.record(job)
    assert (record.state, record.attempt) == ("PENDING", 0)
    assert not await asyncio.to_thread(alive, pid)


# -- Flask -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def flask_site(make_site: Callable[..., Site]) -> Site:
    made = make_site(flask.Flask)
    await made.sql("CREATE TABLE note (id serial PRIMARY KEY, text text NOT NULL)")
    return made


async def test_a_flask_applications_job_has_its_context_and_session_in_one_thread(flask_site: Site) -> None:
    site, torn_down = flask_site, []

    @site.app.teardown_appcontext
    def tear_down(_: Any) -> None:
        torn_down.append(threading.current_thread().name)

    @site.tasks.task(bind=True)
    def write(self: Any, value: str) -> tuple[str, str]:
        db = flask.current_app.extensions["sqlalchemy"]
        db.session.execute(text("INSERT INTO note (text) VALUES (:t)"), {"t": value})
        db.session.commit()
        return threading.current_thread().name, self.request.id

    job = await write.delay("hello")
    await site.done(job)
    name, id_ = await site.value(job)
    assert (torn_down, id_) == ([name], job.id)
    assert name.startswith("decant")
    assert await site.sql("SELECT text FROM note") == "hello"


async def test_a_flask_application_may_have_async_tasks(flask_site: Site) -> None:
    site = flask_site

    @site.tasks.task
    async def look() -> list[Any]:
        name = flask.current_app.name
        await asyncio.sleep(0)
        return [name, threading.current_thread() is threading.main_thread(), wait(asyncio.sleep(0, "waited"))]

    job = await look.delay()
    await site.done(job)
    assert await site.value(job) == ["site", True, "waited"]


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_limits_and_revocation_reach_a_flask_applications_job(flask_site: Site, kind: str) -> None:
    site, begun = flask_site, threading.Event()

    async def sleep() -> str:
        try:
            begun.set()
            wait(asyncio.sleep(30))
        except SoftTimeLimitExceeded:
            return "tidied up"
        return "to the end"

    def sleep_in_thread() -> str:
        try:
            begun.set()
            wait(asyncio.sleep(30))
        except SoftTimeLimitExceeded:
            return "tidied up"
        return "to the end"

    task = site.tasks.task(sleep if kind == "async" else sleep_in_thread)
    job = await task.apply_async(soft_time_limit=0.1)
    await site.run(job)
    assert await site.value(job) == "tidied up"
    job = await task.apply_async(time_limit=0.1)
    await site.run(job)
    assert isinstance((await site.error(job)).exception, TimeLimitExceeded)
    site.recorder.events.clear()
    begun.clear()
    job = await task.delay()
    running = await started(site, job, begun.is_set)
    running.cancel("stopping")
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await site.record(job)).state == "PENDING"


async def test_a_flask_applications_effects_and_end_are_committed_at_once(flask_site: Site) -> None:
    site = flask_site

    @site.tasks.task(transaction=True)
    def write(fails: bool) -> None:
        db = flask.current_app.extensions["sqlalchemy"]
        db.session.execute(text("INSERT INTO note (text) VALUES ('x')"))
        if fails:
            raise ValueError("no")

    await site.done(await write.delay(True))
    assert await site.sql("SELECT count(*) FROM note") == 0
    job = await write.delay(False)
    assert (await site.done(job)).state == "SUCCESS"
    assert await site.sql("SELECT count(*) FROM note") == 1


# -- not durable -------------------------------------------------------------------------------------------------------


async def test_a_job_that_is_not_durable_never_touches_the_ledger(site: Site) -> None:
    @site.tasks.task(durable=False, bind=True)
    async def add(self: Any, x: int, y: int) -> list[Any]:
        await self.update_state(state="HALF", meta=1)
        async with asyncio.timeout(20):
            while (record := await site.record(self.request.id)) is None or record.progress is None:
                await asyncio.sleep(0.01)
        return [x + y, record.shown_state, decode(record.progress)]

    job = await add.delay(1, y=2)
    await site.run(job)
    assert await site.value(job) == [3, "HALF", 1]
    assert await site.sql("SELECT count(*) FROM decant_jobs") == 0
    assert await site.redis.pttl(f"decant:result:{job.id}") > 86_000_000


async def test_a_job_that_is_not_durable_retries_with_its_count(site: Site) -> None:
    @site.tasks.task(durable=False, bind=True)
    async def count(self: Any, x: int) -> list[int]:
        if self.request.retries < 2:
            raise self.retry(args=[x + 1], countdown=0)
        return [self.request.retries, x, self.request.rerun]

    job = await count.delay(5)
    for tried in (1, 2):
        assert await site.run(job, job_try=tried) == 0
        assert (await site.record(job)).state == "RETRY"
    assert await site.run(job, job_try=3) is None
    assert await site.value(job) == [2, 7, False]


async def test_a_job_that_is_not_durable_fails_is_revoked_and_is_given_back(site: Site) -> None:
    begun = asyncio.Event()

    @site.tasks.task(durable=False)
    async def work(how: str) -> str:
        if how == "fail":
            raise ValueError("no")
        begun.set()
        await asyncio.sleep(30)
        return how

    job = await work.delay("fail")
    await site.run(job)
    assert isinstance((await site.error(job)).exception, ValueError)
    job = await work.delay("sleep")
    running = await started(site, job, begun.is_set)
    begun.clear()
    await site.running.stop(UUID(job.id), "revoked")
    assert await running is None
    assert (await site.record(job)).state == "REVOKED"
    site.recorder.events.clear()
    job = await work.delay("sleep")
    await site.redis.set(f"arq:retry:{job.id}", 1)
    running = await started(site, job, begun.is_set)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await site.redis.get(f"arq:retry:{job.id}") == b"0"


async def test_what_follows_a_job_that_is_not_durable(site: Site) -> None:
    @site.tasks.task(durable=False)
    async def add(x: int, y: int) -> int:
        return x + y

    first = await (add.s(1, 2) | add.s(10)).apply_async()
    ids = [one.decode() for one in await site.redis.zrange("decant:queue:default", 0, -1)]
    assert len(ids) == 1
    await site.run(ids[0])
    await site.run(first.id)
    assert await site.value(first) == 13


async def test_a_process_of_a_job_that_is_not_durable_dies(processes: Site, tmp_path: Path) -> None:
    """It is run again, by arq's count, which is told to the job."""
    job = await jobs.die.apply_async((str(tmp_path / "died"),), durable=False)
    assert await processes.run(job) == pytest.approx(0.1)
    assert await processes.run(job, job_try=2) is None
    assert await processes.value(job) == "alive"


async def test_a_job_that_is_not_durable_may_not_kill_workers_for_ever(site: Site) -> None:
    ran: list[bool] = []

    @site.tasks.task(durable=False, max_attempts=2)
    async def work() -> None:
        ran.append(True)

    job = await work.delay()
    assert await site.run(job, job_try=3) is None
    assert not ran
    assert isinstance((await site.error(job)).exception, WorkerLostError)
