"""Every way in which a job can end, in the ledger, with its hooks, signals and events."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import arq
import pytest
from arq.connections import ArqRedis
from sqlalchemy import text

from decant import wait
from decant.tasks import signals
from decant.tasks.codec import decode, decode_arq
from decant.tasks.errors import (
    Ignore,
    InvalidTaskError,
    MaxRetriesExceededError,
    Reject,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
)
from decant.tasks.job import Job
from decant.tasks.running.wrapper import run_job

from .conftest import Site


@pytest.fixture
def heard() -> Any:
    """What signals said: ``(name, keywords)``."""
    said: list[tuple[str, dict[str, Any]]] = []
    names = "task_prerun task_postrun task_success task_failure task_retry task_revoked task_rejected task_unknown"
    receivers = []
    for name in names.split():

        def receive(_name: str = name, **kwargs: Any) -> None:
            said.append((_name, kwargs))

        getattr(signals, name).connect(receive, weak=False)
        receivers.append((name, receive))
    yield said
    for name, receive in receivers:
        getattr(signals, name).disconnect(receive)


async def test_an_async_function_runs_on_the_loop_in_the_app_with_a_session_of_its_own(site: Site) -> None:
    seen: dict[str, Any] = {}

    @site.tasks.task(bind=True)
    async def write(self: Any, text_: str) -> dict[str, Any]:
        import quart

        seen.update(app=quart.current_app._get_current_object(), loop=asyncio.get_running_loop(), request=self.request)
        await site.db.session.execute(text("INSERT INTO note (text) VALUES (:t)"), {"t": text_})
        await site.db.session.commit()
        return {"thread": threading.current_thread().name, "at": datetime(2026, 1, 1, tzinfo=UTC)}

    job = await write.delay("hello")
    record = await site.done(job)
    assert record.state == "SUCCESS"
    assert (record.attempt, record.worker) == (1, "worker")
    assert record.finished >= record.started
    assert await site.value(job) == {"thread": "MainThread", "at": datetime(2026, 1, 1, tzinfo=UTC)}
    assert seen["app"] is site.app
    assert seen["loop"] is asyncio.get_running_loop()
    request = seen["request"]
    assert (request.id, request.task, request.args, request.retries) == (job.id, write.name, ["hello"], 0)
    assert (request.hostname, request.called_directly, request.attempt) == ("worker", False, 1)
    assert await site.sql("SELECT text FROM note") == "hello"


async def test_a_plain_function_runs_in_a_thread_where_it_may_wait(site: Site) -> None:
    @site.tasks.task
    def write(text_: str) -> tuple[str, int]:
        wait(site.db.session.execute(text("INSERT INTO note (text) VALUES (:t)"), {"t": text_}))
        wait(site.db.session.commit())
        return threading.current_thread().name, wait(
            site.db.session.execute(text("SELECT count(*) FROM note"))
        ).scalar()

    job = await write.delay("hello")
    await site.done(job)
    name, count = await site.value(job)
    assert name.startswith("decant")
    assert count == 1


async def test_synchronous_code_of_an_async_function_may_wait_too(site: Site) -> None:
    @site.tasks.task
    async def count() -> int:
        return int(wait(site.db.session.execute(text("SELECT count(*) FROM note"))).scalar())

    job = await count.delay()
    await site.done(job)
    assert await site.value(job) == 0


async def test_hooks_and_signals_come_in_celerys_order(site: Site, heard: list[Any]) -> None:
    order: list[str] = []

    class Base(site.tasks.Task):  # type: ignore[name-defined, misc]
        abstract = True

        async def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            order.append(f"before {args} {kwargs} {heard[-1][0]}")

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            order.append(f"success {retval} {threading.current_thread() is threading.main_thread()}")

        async def after_return(self, status: str, retval: Any, *args: Any) -> None:
            order.append(f"after {status} {retval} {heard[-1][0]}")

    @site.tasks.task(base=Base)
    async def add(x: int, y: int) -> int:
        order.append("run")
        return x + y

    job = await add.delay(1, y=2)
    await site.done(job)
    assert order == [
        "before [1] {'y': 2} task_prerun",
        "run",
        "success 3 False",
        "after SUCCESS 3 task_success",
    ]
    assert [name for name, _ in heard] == ["task_prerun", "task_success", "task_postrun"]
    assert heard[0][1]["task_id"] == job.id
    assert (heard[2][1]["state"], heard[2][1]["retval"]) == ("SUCCESS", 3)
    assert site.recorder.types == ["task-started", "task-succeeded"]
    assert site.recorder.events[0]["wait"] >= 0
    assert site.recorder.events[1]["runtime"] >= 0


async def test_hooks_and_receivers_that_fail_are_logged_and_change_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    class Base(site.tasks.Task):  # type: ignore[name-defined, misc]
        abstract = True

        def on_success(self, *args: Any) -> None:
            raise RuntimeError("a hook's")

        def after_return(self, *args: Any) -> None:
            raise RuntimeError("another hook's")

    async def receive(**kwargs: Any) -> None:
        raise RuntimeError("a receiver's")

    @site.tasks.task(base=Base)
    async def add(x: int) -> int:
        return x

    signals.task_prerun.connect(receive, sender=add)
    job = await add.delay(1)
    assert (await site.done(job)).state == "SUCCESS"
    assert "a hook's" in caplog.text
    assert "another hook's" in caplog.text
    assert "a receiver's" in caplog.text


async def test_a_failure_is_kept_with_its_traceback_and_logged(
    site: Site, heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []

    class Base(site.tasks.Task):  # type: ignore[name-defined, misc]
        abstract = True

        async def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            calls.append((type(exc), args, "in divide" in str(einfo)))

    @site.tasks.task(base=Base)
    async def divide(x: int) -> float:
        return 1 / x

    job = await divide.delay(0)
    assert (await site.done(job)).state == "FAILURE"
    error = await site.error(job)
    assert isinstance(error.exception, ZeroDivisionError)
    assert "in divide" in error.traceback
    assert calls == [(ZeroDivisionError, [0], True)]
    assert [name for name, _ in heard] == ["task_prerun", "task_failure", "task_postrun"]
    record = next(record for record in caplog.records if "failed" in record.message)
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert (record.job_id, record.attempt) == (job.id, 1)  # type: ignore[attr-defined]
    assert site.recorder.events[-1]["exception"] == "ZeroDivisionError: division by zero"


async def test_what_a_task_may_throw_is_logged_without_a_traceback(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "decant.tasks")

    @site.tasks.task(throws=(KeyError,))
    async def look() -> None:
        raise KeyError("nothing")

    assert (await site.done(await look.delay())).state == "FAILURE"
    record = next(record for record in caplog.records if "failed as it may" in record.message)
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


async def test_a_retry_waits_until_it_is_due_and_counts(site: Site, heard: list[Any]) -> None:
    tries: list[int] = []

    @site.tasks.task(bind=True, max_retries=2)
    async def fetch(self: Any, url: str) -> str:
        tries.append(self.request.retries)
        if len(tries) < 3:
            raise self.retry(exc=OSError("away"), countdown=60 if len(tries) == 1 else 0)
        return url

    job = await fetch.delay("here")
    again = await site.run(job)
    assert again is not None
    assert 30 < again <= 60
    record = await site.record(job)
    assert (record.state, record.retries, record.worker) == ("RETRY", 1, None)
    assert isinstance((await site.error(job)).exception, OSError)
    assert [name for name, _ in heard] == ["task_prerun", "task_retry", "task_postrun"]
    await site.sql("UPDATE decant_jobs SET eta = now()")
    assert await site.run(job) == 0
    assert await site.run(job) is None
    assert await site.value(job) == "here"
    assert tries == [0, 1, 2]
    assert site.recorder.types.count("task-retried") == 2
    assert await site.sql("SELECT count(*) FROM decant_attempts WHERE state = 'RETRY'") == 2


async def test_a_retry_may_have_other_arguments(site: Site) -> None:
    @site.tasks.task(bind=True)
    async def halve(self: Any, x: int, *, log: str = "") -> str:
        if x > 1:
            self.retry(args=[x // 2], kwargs={"log": log + str(x)}, countdown=0)
        return log

    job = await halve.delay(4)
    assert await site.run(job) == 0
    assert await site.run(job) == 0
    assert await site.run(job) is None
    assert await site.value(job) == "42"


async def test_after_the_last_retry_the_error_is_the_end(site: Site) -> None:
    @site.tasks.task(bind=True, max_retries=1)
    async def fetch(self: Any, told: bool) -> None:
        self.retry(exc=OSError("away") if told else None, countdown=0)

    for told, kind in ((True, OSError), (False, MaxRetriesExceededError)):
        job = await fetch.delay(told)
        assert await site.run(job) == 0
        assert await site.run(job) is None
        assert isinstance((await site.error(job)).exception, kind)


async def test_autoretry_retries_with_backoff_what_it_is_for(site: Site) -> None:
    @site.tasks.task(autoretry_for=(OSError,), retry_backoff=60, retry_jitter=False, max_retries=2)
    async def fetch(kind: str) -> None:
        raise ConnectionError("away") if kind == "os" else KeyError("other")

    job = await fetch.delay("os")
    waits = []
    for _ in range(2):
        waits.append(await site.run(job))
        await site.sql("UPDATE decant_jobs SET eta = now()")
    assert waits == [pytest.approx(60, abs=30), pytest.approx(120, abs=30)]
    assert await site.run(job) is None
    assert isinstance((await site.error(job)).exception, ConnectionError)
    other = await fetch.delay("key")
    assert (await site.done(other)).state == "FAILURE"


async def test_ignored_and_rejected_jobs_end_so(site: Site, heard: list[Any]) -> None:
    @site.tasks.task
    async def refuse(how: str) -> None:
        raise {"ignore": Ignore("no"), "reject": Reject("no"), "requeue": Reject("later", requeue=True)}[how]

    assert (await site.done(await refuse.delay("ignore"))).state == "IGNORED"
    rejected = await refuse.delay("reject")
    assert (await site.done(rejected)).state == "REJECTED"
    assert "task_rejected" in [name for name, _ in heard]
    again = await refuse.delay("requeue")
    assert await site.run(again) == 1
    record = await site.record(again)
    assert (record.state, record.attempt) == ("PENDING", 0)


async def test_an_unknown_task_fails_and_is_told(site: Site, heard: list[Any]) -> None:
    job = await site.tasks.send_task("nobody.knows", (1,))
    assert (await site.done(job)).state == "FAILURE"
    assert "nobody.knows" in (await site.error(job)).message
    assert heard[0][0] == "task_unknown"
    assert heard[0][1]["name"] == "nobody.knows"


async def test_a_job_that_has_expired_is_not_run(site: Site, heard: list[Any]) -> None:
    ran: list[bool] = []

    @site.tasks.task
    async def late() -> None:
        ran.append(True)

    job = await late.apply_async(expires=60)
    await site.sql("UPDATE decant_jobs SET expires = now() - interval '1 s'")
    assert (await site.done(job)).state == "REVOKED"
    assert not ran
    name, said = heard[0]
    assert (name, said["expired"], said["terminated"]) == ("task_revoked", True, False)
    assert isinstance((await site.error(job)).exception, TaskRevokedError)


async def test_what_is_not_to_be_had_is_left_alone(site: Site) -> None:
    """Somebody else's, unknown, not due, done: quietly."""

    @site.tasks.task
    async def add(x: int) -> int:
        return x

    job = await add.delay(1)
    claimed = await site.runtime.ledger.claim(UUID(job.id), "other", 10)
    assert await site.run(job) is None
    assert (await site.record(job)).worker == "other"
    assert claimed.attempt == 1
    await run_job(site.tasks, site.app, site.ctx(), add.name, str(uuid4()))
    later = await add.apply_async((1,), countdown=60)
    assert await site.run(later) is None
    assert (await site.record(later)).state == "PENDING"
    assert site.recorder.types == []


async def test_arguments_that_do_not_fit_fail_the_job(site: Site) -> None:
    @site.tasks.task
    async def add(x: int) -> int:
        return x

    wrong = Job(id=uuid4(), task=add.name, queue="default", payload=b"no envelope")
    await site.runtime.submit([wrong])
    assert (await site.done(wrong)).state == "FAILURE"
    assert isinstance((await site.error(wrong)).exception, InvalidTaskError)
    many = await _unchecked(site, add.name, (1, 2, 3))
    assert (await site.done(many)).state == "FAILURE"
    assert isinstance((await site.error(many)).exception, TypeError)


async def _unchecked(site: Site, name: str, args: tuple[Any, ...]) -> Job:
    from decant.tasks.codec import Envelope, encode_envelope

    job = Job(id=uuid4(), task=name, queue="default", payload=encode_envelope(Envelope(list(args)), limit_bytes=9999))
    await site.runtime.submit([job])
    return job


async def test_results_that_cannot_be_kept_fail_the_job_and_say_what_to_do(site: Site) -> None:
    @site.tasks.task
    async def odd() -> Any:
        return {"it": object()}

    @site.tasks.task
    async def large() -> Any:
        return b"x" * 300_000

    @site.tasks.task(ignore_result=True)
    async def ignored() -> Any:
        return object()

    job = await odd.delay()
    assert (await site.done(job)).state == "FAILURE"
    assert "object" in (await site.error(job)).message
    assert "ignore_result" in (await site.error(job)).message
    job = await large.delay()
    assert (await site.done(job)).state == "FAILURE"
    assert "TASKS_MAX_ARGUMENTS_KB" in (await site.error(job)).message
    record = await site.done(await ignored.delay())
    assert (record.state, record.result) == ("SUCCESS", None)


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_time_limits_end_a_job(site: Site, kind: str) -> None:
    async def sleep() -> str:
        try:
            await asyncio.sleep(30)
        except SoftTimeLimitExceeded:
            return "tidied up"
        return "to the end"

    def sleep_in_thread() -> str:
        try:
            wait(asyncio.sleep(30))
        except SoftTimeLimitExceeded:
            return "tidied up"
        return "to the end"

    task = site.tasks.task(sleep if kind == "async" else sleep_in_thread)
    job = await task.apply_async(soft_time_limit=0.1, time_limit=20)
    await site.done(job)
    assert await site.value(job) == "tidied up"
    job = await task.apply_async(time_limit=0.1)
    assert (await site.done(job)).state == "FAILURE"
    assert isinstance((await site.error(job)).exception, TimeLimitExceeded)


async def test_limits_set_at_run_time_count(site: Site) -> None:
    @site.tasks.task(time_limit=30)
    async def sleep() -> None:
        await asyncio.sleep(30)

    await site.run(await sleep.apply_async(time_limit=0.01))
    site.running.limits.set(sleep.name, None, 0.1)
    assert (await asyncio.wait_for(site.done(await sleep.delay()), 20)).state == "FAILURE"


async def test_a_rate_limit_puts_off_what_is_too_much_without_an_attempt(site: Site) -> None:
    @site.tasks.task(rate_limit="1/m")
    async def add(x: int) -> int:
        return x

    first, second = await add.delay(1), await add.delay(2)
    assert await site.run(first) is None
    again = await site.run(second)
    assert again == pytest.approx(60, abs=30)
    record = await site.record(second)
    assert (record.state, record.attempt) == ("PENDING", 0)
    site.running.rates.set(add.name, None)
    assert await site.run(second) is None
    assert await site.value(second) == 2


async def test_a_rate_limit_costs_no_job_while_redis_is_away(site: Site) -> None:
    @site.tasks.task(rate_limit="1/m", durable=False)
    async def add(x: int) -> int:
        return x

    first, second = await add.delay(1), await add.delay(2)
    assert await site.run(first) is None
    nowhere: Any = ArqRedis.from_url("redis://127.0.0.1:1")
    ctx = site.ctx() | {"redis": nowhere}
    definition = decode_arq(await site.redis.get(f"arq:job:{second.id}"))
    with pytest.raises(arq.Retry):
        await run_job(site.tasks, site.app, ctx, *definition["a"])
    await nowhere.aclose()


async def started(site: Site, job: Any, begun: Callable[[], object] = lambda: True) -> asyncio.Task[Any]:
    """A task that runs a job, once that is the worker's, and its function has ``begun``."""
    running = asyncio.create_task(site.run(job))
    async with asyncio.timeout(30):
        while "task-started" not in site.recorder.types or not site.running.active or not begun():
            await asyncio.sleep(0.01)
    return running


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_revoked_job_is_stopped_and_ends_so(site: Site, heard: list[Any], kind: str) -> None:
    begun = threading.Event()

    async def sleep() -> None:
        begun.set()
        await asyncio.sleep(30)

    def sleep_in_thread() -> None:
        begun.set()
        wait(asyncio.sleep(30))

    job = await site.tasks.task(sleep if kind == "async" else sleep_in_thread).delay()
    running = await started(site, job, begun.is_set)
    assert await site.running.stop(UUID(job.id), "revoked")
    assert await asyncio.wait_for(running, 20) is None
    assert (await site.record(job)).state == "REVOKED"
    assert [name for name, _ in heard] == ["task_prerun", "task_revoked", "task_postrun"]
    assert heard[1][1]["terminated"] is True
    assert not await site.running.stop(UUID(job.id), "revoked")


async def test_a_cancelled_job_is_given_back_and_costs_no_attempt(site: Site) -> None:
    runs: list[str] = []

    @site.tasks.task
    async def sleep() -> str:
        runs.append("begun")
        if len(runs) == 1:
            await asyncio.sleep(30)
        return "done"

    job = await sleep.delay()
    running = await started(site, job, lambda: runs)
    running.cancel("stopping")
    with pytest.raises(asyncio.CancelledError):
        await running
    record = await site.record(job)
    assert (record.state, record.attempt, record.worker, record.deaths) == ("PENDING", 0, None, 0)
    assert await site.run(job, "another") is None
    assert await site.value(job) == "done"
    assert (await site.record(job)).attempt == 1


@pytest.mark.parametrize(("message", "state"), [("revoked", "REVOKED"), ("lost", "STARTED")])
async def test_the_worker_says_why_it_cancels(site: Site, message: str, state: str) -> None:
    begun = asyncio.Event()

    @site.tasks.task
    async def sleep() -> None:
        begun.set()
        await asyncio.sleep(30)

    job = await sleep.delay()
    running = await started(site, job, begun.is_set)
    running.cancel(message)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await site.record(job)).state == state


async def test_a_job_that_another_worker_has_taken_over_writes_nothing(site: Site, caplog: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @site.tasks.task
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "mine"

    job = await slow.delay()
    running = await started(site, job, begun.is_set)
    await site.sql("UPDATE decant_jobs SET lease_until = now() - interval '1 s'")
    assert (await site.runtime.ledger.claim(UUID(job.id), "other", 10)).attempt == 2
    go_on.set()
    assert await running is None
    record = await site.record(job)
    assert (record.state, record.worker, record.result) == ("STARTED", "other", None)
    assert "no longer this worker's" in caplog.text


async def test_progress_reaches_the_ledger_and_those_who_listen(site: Site) -> None:
    seen: list[Any] = []

    @site.tasks.task(bind=True)
    async def count(self: Any) -> str:
        for done in range(200):
            await self.update_state(state="COUNTING", meta={"done": done})
        async with asyncio.timeout(20):
            while len(seen) < 2 or seen[-1] != ("COUNTING", {"done": 199}):
                await asyncio.sleep(0.01)
                record = await site.record(self.request.id)
                if record.progress is not None:
                    seen.append((record.shown_state, decode(record.progress)))
        await self.update_state(state="COUNTING", meta={"done": "all"})
        return "done"

    job = await count.delay()
    messages: list[Any] = []
    async with site.runtime.listener.subscribed([UUID(job.id)]) as told:
        await site.run(job)
        while (message := await told.next(20)) is not None:
            messages.append(message[1])
            if message[1]["state"] == "SUCCESS":
                break
    assert seen[0][0] == "COUNTING"
    assert seen[-1] == ("COUNTING", {"done": 199})
    assert [message["state"] for message in messages] == ["COUNTING"] * (len(messages) - 1) + ["SUCCESS"]
    assert len(messages) <= 4
    assert messages[-2]["meta"] == {"done": "all"}


async def test_progress_of_a_plain_function(site: Site) -> None:
    @site.tasks.task(bind=True)
    def count(self: Any) -> Any:
        self.update_state(state="HALF", meta={"done": 1})
        return self.request.id

    job = await count.delay()
    async with site.runtime.listener.subscribed([UUID(job.id)]) as told:
        await site.run(job)
        assert (await told.next(20))[1] == {"state": "HALF", "meta": {"done": 1}}
    assert await site.value(job) == job.id


async def test_jobs_sent_from_a_job_know_where_they_come_from(site: Site) -> None:
    children: list[Any] = []

    @site.tasks.task
    async def child() -> None: ...

    @site.tasks.task
    async def parent() -> None:
        children.append(await child.delay())

    job = await parent.delay()
    await site.done(job)
    record = await site.record(children[0])
    assert (str(record.parent), str(record.root)) == (job.id, job.id)


async def test_the_log_tells_of_jobs_and_their_request(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "decant.tasks")

    @site.tasks.task
    async def greet(name: str, password: str) -> str:
        return f"hello {name}"

    async with site.app.test_request_context("/", headers={"X-Request-ID": "req-7"}):
        job = await greet.delay("you", password="secret")
    await site.done(job)
    lines = [record for record in caplog.records if hasattr(record, "job_id")]
    assert [line.message.split(" (attempt")[0].split(" after")[0] for line in lines] == [
        f"task {greet.name}[{job.id}] started",
        f"task {greet.name}[{job.id}] succeeded",
    ]
    assert all("request req-7" in line.message for line in lines)
    assert {line.request_id for line in lines} == {"req-7"}  # type: ignore[attr-defined]
    assert lines[1].runtime_s >= 0  # type: ignore[attr-defined]
    assert "you" not in caplog.text
    assert "secret" not in caplog.text


async def test_arguments_are_logged_when_asked_for_but_no_secrets(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "decant.tasks")
    site = make_site(TASKS_LOG_ARGUMENTS=True)

    @site.tasks.task
    async def greet(name: str, password: str) -> None: ...

    await site.done(await greet.delay("you", password="secret"))
    assert "'you'" in caplog.text
    assert "secret" not in caplog.text


async def test_an_application_may_bind_its_log_to_the_job(site: Site) -> None:
    from contextlib import contextmanager

    bound: list[Any] = []

    @contextmanager
    def log_context(fields: Any) -> Any:
        bound.append(dict(fields))
        yield
        bound.append("over")

    @site.tasks.task
    async def add() -> None:
        assert bound[-1] != "over"

    site.tasks.log_context = log_context  # type: ignore[attr-defined]
    job = await add.delay()
    assert (await site.done(job)).state == "SUCCESS"
    assert bound == [{"job_id": job.id, "task": add.name, "attempt": 1, "request_id": None}, "over"]


async def test_a_cancelled_future_of_the_functions_own_is_a_failure(site: Site) -> None:
    @site.tasks.task
    async def odd() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert (await site.done(await odd.delay())).state == "FAILURE"


async def test_a_function_that_wants_to_exit_fails_and_the_worker_stays(site: Site) -> None:
    @site.tasks.task
    async def leave() -> None:
        raise SystemExit(3)

    @site.tasks.task
    def leave_thread() -> None:
        raise SystemExit(3)

    for task in (leave, leave_thread):
        assert (await site.done(await task.delay())).state == "FAILURE"


async def test_an_application_whose_teardown_fails_does_not_change_the_end(site: Site, caplog: Any) -> None:
    @site.app.teardown_appcontext
    async def fail(_: Any) -> None:
        raise RuntimeError("a teardown's")

    @site.tasks.task
    async def add() -> None: ...

    assert (await site.done(await add.delay())).state == "SUCCESS"
    assert "a teardown's" in caplog.text


async def test_a_mistake_of_ours_is_told_and_leaves_the_job_to_its_lease(
    site: Site, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decant.tasks.running import attempt

    async def broken(*_: Any) -> None:
        raise LookupError("ours")

    @site.tasks.task
    async def add() -> None: ...

    monkeypatch.setattr(attempt.Attempt, "_in_app", broken)
    job = await add.delay()
    assert await site.run(job) is None
    assert (await site.record(job)).state == "STARTED"
    assert "is left to the sweeper" in caplog.text
    assert not site.running.active


def test_arqs_retry_is_what_says_later() -> None:
    assert arq.Retry(defer=0.25).defer_score == 250
    assert arq.Retry(defer=timedelta(seconds=1)).defer_score == 1000
