"""Tasks: how they are declared, asked for, and what they do while they run."""

from __future__ import annotations

import asyncio
import enum
import random
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import quart

from decant.errors import ConfigError, Unavailable
from decant.tasks import (
    AlreadyRegistered,
    InvalidTaskError,
    MaxRetriesExceededError,
    NotRegistered,
    OperationalError,
    PayloadTooLarge,
    QueueNotFound,
    Retry,
    Task,
    Tasks,
    current_app,
    current_task,
    shared_task,
    signals,
)
from decant.tasks.backoff import countdown
from decant.tasks.codec import decode_envelope
from decant.tasks.ids import new_id
from tests.tasks.apps import Site
from tests.tasks.worker.toys import until


@pytest.fixture
def made(ledger_url: str, redis_url: str) -> Site:
    return Site(ledger_url, redis_url)


@pytest.fixture
async def idle(made: Site) -> AsyncIterator[Site]:
    """A site without a worker."""
    yield made
    await made.aclose()


@pytest.fixture
async def site(made: Site) -> AsyncIterator[Site]:
    async with made.working():
        yield made
    await made.aclose()


async def row(site: Site, result: Any) -> Any:
    """The ledger's record of a job."""
    return await site.tasks.runtime().record(UUID(result.id))


# -- declaring ---------------------------------------------------------------------------------------------------------


@pytest.mark.parity("celery", "name, bind, base, ignore_result")
def test_options_are_attributes(made: Site) -> None:
    @made.tasks.task(bind=True, max_retries=5, default_retry_delay=7, rate_limit="10/m", queue="slow", priority=3)
    async def one(self: Any) -> None:
        """What it does."""

    assert one.name == f"{__name__}.one"
    assert (one.max_retries, one.default_retry_delay, one.rate_limit, one.queue, one.priority) == (
        5,
        7,
        "10/m",
        "slow",
        3,
    )
    assert one.__doc__ == "What it does."
    assert (one.retry_backoff_max, one.retry_jitter, one.typing, one.kind) == (600, True, True, "async")
    one.max_retries = None
    assert one.options.max_retries is None
    assert made.double.kind == "thread"
    assert made.tasks.task(name="p", process=True)(sum).kind == "process"


class Counted(Task):
    """A base with options and hooks of its own."""

    max_retries = 9
    queue = "counted"
    seen: list[Any] = []

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.seen.append((self.name, retval))


def test_options_of_a_class_are_inherited_and_overridden(made: Site) -> None:
    class Narrow(Counted):
        max_retries = 2

    assert (Counted.max_retries, Narrow.max_retries, Narrow.queue, Task.max_retries) == (9, 2, "counted", 3)

    @made.tasks.task(base=Narrow, queue="own")
    async def one() -> None: ...

    assert (one.max_retries, one.queue) == (2, "own")
    assert isinstance(one, Counted)
    with pytest.raises(TypeError, match="base is a class derived from"):
        made.tasks.task(base=dict)(len)


async def test_a_class_with_run_is_a_task(site: Site) -> None:
    class Adder(Counted):
        name = "adder"

        def run(self, x: int, y: int) -> int:
            assert isinstance(self, Adder)
            return self.helped(x) + y + int(self.request.retries)

        def helped(self, x: int) -> int:
            return x

    adder = site.tasks.register_task(Adder)
    async with site.working(queues="counted"):
        assert await (await adder.delay(1, 2)).get(timeout=10) == 3
        await until(lambda: ("adder", 3) in Counted.seen)
    assert adder(4, 5) == 9
    with pytest.raises(NotImplementedError, match="must define the run method"):
        site.tasks.register_task(Task(), queue="x")()


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"max_retrys": 3}, TypeError, "unknown option: max_retrys=3"),
        ({"max_retries": -1}, ConfigError, "max_retries of bad = -1"),
        ({"time_limit": "x"}, ConfigError, "time_limit of bad"),
        ({"priority": 11}, ConfigError, "9 comes first"),
        ({"autoretry_for": "OSError"}, ConfigError, "classes of exceptions"),
        ({"process": True, "transaction": True}, ConfigError, "no part in the worker's database session"),
    ],
)
def test_a_wrong_option_is_refused_at_once(
    made: Site, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        made.tasks.task(name="bad", **options)(len)


def test_options_of_celerys_brokers_are_taken_and_have_no_effect(made: Site) -> None:
    made.tasks.task(name="old", serializer="json", compression="gzip", routing_key="x", acks_on_failure=True)(len)


def test_two_functions_cannot_have_one_name_but_one_may_be_defined_anew(made: Site) -> None:
    def one() -> None: ...

    made.tasks.task(name="twice")(one)
    made.tasks.task(name="twice")(one)
    with pytest.raises(AlreadyRegistered, match="two tasks are named 'twice'"):
        made.tasks.task(name="twice")(len)


def test_the_registry_knows_the_tasks(made: Site) -> None:
    assert made.tasks.tasks["add"] is made.add
    assert made.tasks.registry.get("add") is made.add
    assert "add" in made.tasks.registry.regular()
    with pytest.raises(NotRegistered, match="no task is registered as 'nothing': import the module"):
        made.tasks.tasks["nothing"]
    made.tasks.tasks.unregister("add")
    with pytest.raises(NotRegistered):
        made.tasks.tasks.unregister("add")


@pytest.mark.parity("celery", "__call__, run, delay")
async def test_calling_a_task_calls_its_function(made: Site) -> None:
    @made.tasks.task(bind=True)
    def who(self: Any) -> Any:
        return self.request.called_directly, self.request.id, current_task.name

    assert await made.add(1, 2) == 3
    assert made.double(4) == 8
    assert who() == (True, None, who.name)
    assert not current_task
    assert made.tasks.current_task is None


# -- asking ------------------------------------------------------------------------------------------------------------


async def test_delay_and_apply_async_ask_for_a_job(site: Site) -> None:
    assert await (await site.add.delay(1, y=2)).get(timeout=10) == 3
    assert await (await site.add.apply_async((1,), {"y": 2})).get(timeout=10) == 3
    assert await (await site.tasks.send_task("add", (1, 2))).get(timeout=10) == 3


async def test_arguments_are_checked_before_anything_is_sent(idle: Site) -> None:
    with pytest.raises(TypeError, match=r"add\(\) cannot be called like this: too many positional"):
        await idle.add.delay(1, 2, 3)
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        await idle.add.delay(1)
    with pytest.raises(TypeError, match="object at args"):
        await idle.add.delay(object(), 1)
    with pytest.raises(TypeError, match="unknown option: cuontdown=3"):
        await idle.add.apply_async((1, 2), cuontdown=3)

    @idle.tasks.task(name="untyped", typing=False)
    async def untyped(x: int) -> None: ...

    assert await (await untyped.delay(1, 2)).state == "PENDING"


async def test_what_is_too_large_is_refused_and_says_how_to_pass_it(idle: Site) -> None:
    with pytest.raises(PayloadTooLarge, match="pass its id or path"):
        await idle.add.delay("x" * 300_000, 1)


async def test_options_of_a_call_are_in_its_job(idle: Site) -> None:
    when = datetime.now(UTC) + timedelta(hours=1)
    result = await idle.add.apply_async(
        (1, 2),
        eta=when,
        expires=7200,
        queue="slow",
        priority=7,
        time_limit=5,
        soft_time_limit=4,
        headers={"own": 1},
        shadow="shown",
        max_attempts=2,
        ignore_result=True,
    )
    found = await row(idle, result)
    assert (found.eta, found.queue, found.priority, found.max_attempts) == (when, "slow", 7, 2)
    assert abs(found.expires - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    envelope = decode_envelope(found.payload)
    assert envelope.headers == {"own": 1}
    assert envelope.options == {"time_limit": 5, "soft_time_limit": 4, "ignore_result": True, "shadow": "shown"}
    assert found.summary == "1, 2"


async def test_times_are_seconds_or_datetimes_and_naive_ones_in_the_zone_of_the_settings(idle: Site) -> None:
    await asyncio.to_thread(idle.tasks.conf.update, timezone="Asia/Tokyo")
    naive = datetime(2030, 1, 1, 12, 0)
    assert (await row(idle, await idle.add.apply_async((1, 2), eta=naive))).eta == datetime(2030, 1, 1, 3, tzinfo=UTC)
    soon = await row(idle, await idle.add.apply_async((1, 2), countdown=60, expires=timedelta(minutes=2)))
    assert abs(soon.eta - datetime.now(UTC) - timedelta(minutes=1)) < timedelta(seconds=30)
    assert soon.expires - soon.eta == timedelta(minutes=1)
    with pytest.raises(ValueError, match="two ways to say when"):
        await idle.add.apply_async((1, 2), countdown=1, eta=naive)
    with pytest.raises(ValueError, match="expires is True: seconds, a timedelta or a datetime"):
        await idle.add.apply_async((1, 2), expires=True)
    with pytest.raises(ValueError, match="soft_time_limit is 3 s, but must be at most"):
        await idle.add.apply_async((1, 2), soft_time_limit=3, time_limit=2)


async def test_an_id_of_ones_own_asks_for_one_job_only(site: Site) -> None:
    first = await site.note.apply_async(("once",), task_id="import-42")
    again = await site.note.apply_async(("twice",), task_id="import-42")
    assert first.id == again.id
    assert await first.get(timeout=10) == ("once",)
    assert site.called == [("once",)]


@pytest.mark.parity("celery", "task_routes")
async def test_routes_choose_queues(idle: Site) -> None:
    def router(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
        return {"queue": "large"} if name == "add" and args[0] > 100 else None

    idle.tasks.conf.task_routes = [router, {"a*": {"queue": "sums", "priority": 4}, "note": "notes"}]
    assert (await row(idle, await idle.add.delay(101, 1))).queue == "large"
    found = await row(idle, await idle.add.delay(1, 1))
    assert (found.queue, found.priority) == ("sums", 4)
    assert (await row(idle, await idle.note.delay())).queue == "notes"
    assert (await row(idle, await idle.double.delay(1))).queue == "default"
    assert (await row(idle, await idle.add.apply_async((1, 1), queue="own"))).queue == "own"
    assert (await row(idle, await idle.tasks.send_task("away.too", ()))).queue == "sums"


async def test_only_known_queues_if_none_are_to_be_made(idle: Site) -> None:
    idle.tasks.conf.update(task_queues=["slow"], task_create_missing_queues=False)
    await idle.add.apply_async((1, 2), queue="slow")
    with pytest.raises(QueueNotFound, match="'typo' is not in task_queues: slow"):
        await idle.add.apply_async((1, 2), queue="typo")


@pytest.mark.parity("celery", "task_acks_late")
async def test_how_often_a_worker_may_die_with_it(idle: Site) -> None:
    @idle.tasks.task(name="once", acks_late=False)
    async def once() -> None: ...

    assert (await row(idle, await once.delay())).max_attempts == 1
    assert (await row(idle, await idle.add.delay(1, 2))).max_attempts == 3
    idle.tasks.conf.task_acks_late = False
    assert (await row(idle, await idle.add.delay(1, 2))).max_attempts == 1


async def test_enumerations_arrive_as_such(site: Site) -> None:
    class Size(enum.Enum):
        S = 1
        L = 2

    async def sized(size: Size) -> str:
        return size.name

    sized.__annotations__["size"] = Size
    task = site.tasks.task(name="sized")(sized)
    assert await (await task.delay(Size.L)).get(timeout=10) == "L"
    with pytest.raises(TypeError, match="annotate the task's parameter"):
        await site.add.delay(Size.L, 1)
    result = await (site.add.s(1, 1) | task.s()).apply_async()
    assert await result.get(timeout=10) == "L"


@pytest.fixture
def away(redis_url: str) -> Site:
    return Site("postgresql://nobody@127.0.0.1:1/none?sslmode=disable", redis_url)


async def test_a_database_that_is_away_is_told_as_unavailable(away: Site) -> None:
    tasks, one = away.tasks, away.note
    with pytest.raises(OperationalError, match="not accepted") as caught:
        await one.apply_async(retry=False)
    assert isinstance(caught.value, Unavailable)
    tries = 0
    submit = tasks.runtime().submit

    async def counted(*args: Any, **kwargs: Any) -> None:
        nonlocal tries
        tries += 1
        await submit(*args, **kwargs)

    tasks.runtime().submit = counted  # type: ignore[method-assign]
    with pytest.raises(OperationalError):
        await one.apply_async(retry_policy={"max_retries": 2, "interval_step": 0, "interval_max": 0})
    assert tries == 3
    await tasks.runtime().aclose()


def test_the_ledger_needs_postgresql() -> None:
    app = quart.Quart(__name__)
    app.config |= {"SQLALCHEMY_DATABASE_URI": "sqlite+aiosqlite://", "REDIS_URL": "redis://127.0.0.1:1"}
    with pytest.raises(ConfigError, match=r"needs PostgreSQL.*TASKS_DURABLE = False"):
        Tasks(set_as_current=False).init_app(app)
    app.config["TASKS_DURABLE"] = False
    Tasks(app, set_as_current=False)
    with pytest.raises(RuntimeError, match="has a Tasks already"):
        Tasks(app, set_as_current=False)


@pytest.mark.parity("celery", "task_prerun task_postrun")
async def test_signals_of_publishing_are_sent_and_headers_may_be_added(idle: Site) -> None:
    seen: list[Any] = []

    @signals.before_task_publish.connect(sender="add")
    def before(sender: Any = None, headers: Any = None, body: Any = None, **kwargs: Any) -> None:
        seen.append((sender, body[0], kwargs["routing_key"]))
        headers["tenant"] = "t1"

    @signals.after_task_publish.connect
    async def after(sender: Any = None, headers: Any = None, **kwargs: Any) -> None:
        seen.append(("after", headers["id"]))

    result = await idle.add.delay(1, 2)
    assert seen == [("add", [1, 2], "default"), ("after", result.id)]
    assert decode_envelope((await row(idle, result)).payload).headers == {"tenant": "t1"}
    del before, after


async def test_the_request_that_asks_is_known_to_the_job(idle: Site) -> None:
    async with idle.app.test_request_context("/", headers={"X-Request-ID": "r-1"}):
        result = await idle.add.delay(1, 2)
    assert (await row(idle, result)).request_id == "r-1"


def test_ids_grow_with_time_and_are_version_7() -> None:
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert {one.version for one in ids} == {7}
    assert {one.variant for one in ids} == {uuid4().variant}
    assert ids[0].int >> 80 <= ids[-1].int >> 80


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.mark.parity("celery", "request` Context")
async def test_a_task_knows_its_job(site: Site) -> None:
    @site.tasks.task(name="knows", bind=True)
    async def knows(self: Any, x: int) -> dict[str, Any]:
        r = self.request
        assert current_task.name == self.name == "knows"
        assert current_app.tasks is site.tasks.tasks
        return {
            "id": r.id,
            "args": r.args,
            "retries": r.retries,
            "queue": r.delivery_info["routing_key"],
            "headers": r.headers,
            "eager": r.is_eager,
            "direct": r.called_directly,
            "root": r.root_id,
            "got": r.get("nothing", 5),
        }

    result = await knows.apply_async((1,), headers={"own": 1})
    assert await result.get(timeout=10) == {
        "id": result.id,
        "args": [1],
        "retries": 0,
        "queue": "default",
        "headers": {"own": 1},
        "eager": False,
        "direct": False,
        "root": result.id,
        "got": 5,
    }


async def test_a_plain_function_needs_no_await_for_what_self_does(site: Site) -> None:
    @site.tasks.task(name="plain", bind=True)
    def plain(self: Any, x: int) -> Any:
        assert isinstance(self, Task)
        assert threading.current_thread() is not threading.main_thread()
        assert self.update_state(state="PROGRESS", meta={"x": x}) is True
        child = self.app.tasks["add"].s(1, 2)
        result = self.AsyncResult(self.request.id)
        return self.request.id, result.id, child["task"]

    result = await plain.delay(1)
    assert await result.get(timeout=10) == (result.id, result.id, "add")


async def test_retry_runs_it_again_with_other_arguments(site: Site) -> None:
    @site.tasks.task(name="again", bind=True, max_retries=2)
    async def again(self: Any, x: int) -> Any:
        if x < 3:
            raise self.retry(args=(x + 1,), countdown=0, exc=ValueError("more"))
        return x, self.request.retries

    assert await (await again.delay(1)).get(timeout=10) == (3, 2)
    result = await again.delay(0)
    with pytest.raises(ValueError, match="more"):
        await result.get(timeout=10)
    assert await result.retries == 2


async def test_too_many_retries_raise_celerys_error(site: Site) -> None:
    @site.tasks.task(name="never", bind=True, max_retries=1)
    def never(self: Any) -> None:
        self.retry(countdown=0)

    with pytest.raises(MaxRetriesExceededError, match=r"Can't retry never\["):
        await (await never.delay()).get(timeout=10)


async def test_autoretry_retries_what_it_names(site: Site) -> None:
    tries: list[int] = []

    @site.tasks.task(
        name="auto", bind=True, autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), default_retry_delay=0
    )
    async def auto(self: Any, kind: str) -> int:
        tries.append(self.request.retries)
        if kind == "missing":
            raise FileNotFoundError(kind)
        if self.request.retries < 2:
            raise OSError(kind)
        return int(self.request.retries)

    assert await (await auto.delay("flaky")).get(timeout=10) == 2
    assert tries == [0, 1, 2]
    with pytest.raises(FileNotFoundError):
        await (await auto.delay("missing")).get(timeout=10)
    assert len(tries) == 4


@pytest.mark.parity("celery", "retry_backoff")
def test_the_pause_grows_as_celerys() -> None:
    assert [countdown(2, n, 600) for n in range(10)] == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
    assert countdown(1, 10_000, 600) == 600
    assert countdown(0, 5, 600) == 0
    random.seed(1)
    drawn = {countdown(1, 3, 600, full_jitter=True) for _ in range(500)}
    assert drawn == set(range(9))


def test_retrying_what_was_called_directly_raises_what_went_wrong(made: Site) -> None:
    @made.tasks.task(bind=True)
    def one(self: Any) -> None:
        try:
            raise ValueError("first")
        except ValueError as error:
            raise self.retry(exc=error) from None

    with pytest.raises(ValueError, match="first"):
        one()

    @made.tasks.task(bind=True)
    def two(self: Any) -> None:
        self.retry()

    with pytest.raises(Retry, match="Task can be retried"):
        two()


@pytest.mark.parity("celery", "before_start on_success")
async def test_hooks_are_called_plain_and_async(idle: Site) -> None:
    seen: list[Any] = []

    class Hooked(Task):
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            seen.append(("before", args))

        async def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            seen.append(("success", retval))

        async def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append(("retry", str(exc)))

        def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append(("failure", str(exc), "Traceback" in str(einfo)))

        def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append(("after", status))

    @idle.tasks.task(name="hooked", base=Hooked, bind=True, max_retries=1)
    async def hooked(self: Any, x: int) -> int:
        if x:
            raise self.retry(countdown=0, exc=ValueError("no"))
        return x

    async with idle.working():
        await (await hooked.delay(0)).get(timeout=10)
        await until(lambda: ("after", "SUCCESS") in seen)  # hooks are called once the result can be had
        with pytest.raises(ValueError, match="no"):
            await (await hooked.delay(1)).get(timeout=10)
        await until(lambda: ("after", "FAILURE") in seen)
    assert seen[:3] == [("before", [0]), ("success", 0), ("after", "SUCCESS")]
    assert [one for one in seen[3:] if one[0] != "before"] == [
        ("retry", "no"),
        ("after", "RETRY"),
        ("failure", "no", True),
        ("after", "FAILURE"),
    ]


async def test_only_the_own_job_can_be_updated(site: Site) -> None:
    @site.tasks.task(name="meddles", bind=True)
    async def meddles(self: Any) -> None:
        await self.update_state(task_id=str(uuid4()), state="X")

    with pytest.raises(ValueError, match="only the job that runs here can be updated"):
        await (await meddles.delay()).get(timeout=10)


async def test_meta_that_cannot_be_handed_over_fails_where_it_is_said(site: Site) -> None:
    @site.tasks.task(name="objects", bind=True)
    async def objects(self: Any) -> None:
        await self.update_state(meta=object())

    with pytest.raises(TypeError, match="object cannot be handed"):
        await (await objects.delay()).get(timeout=10)


async def test_jobs_of_a_job_know_where_they_come_from(site: Site) -> None:
    @site.tasks.task(name="parent")
    async def parent() -> Any:
        return (await site.add.delay(1, 2)).id

    result = await parent.delay()
    child = await site.tasks.runtime().record(UUID(await result.get(timeout=10)))
    assert str(child.parent) == str(child.root) == result.id


async def test_a_result_that_cannot_be_kept_fails_the_job(site: Site) -> None:
    @site.tasks.task(name="unkept")
    async def unkept() -> Any:
        return object()

    with pytest.raises(InvalidTaskError, match="cannot be kept: a object"):
        await (await unkept.delay()).get(timeout=10)


# -- shared tasks ------------------------------------------------------------------------------------------------------


@pytest.mark.parity("celery", "Celery shared_task")
async def test_shared_tasks_belong_to_every_tasks_before_and_after(made: Site) -> None:
    @shared_task(name=f"{__name__}.shared", max_retries=7)
    async def shared(x: int) -> int:
        return x + 1

    later = Tasks(durable=False, set_as_current=False)
    assert made.tasks.tasks[f"{__name__}.shared"].max_retries == 7
    assert later.tasks[f"{__name__}.shared"].max_retries == 7
    async with made.app.app_context():
        assert shared.name == f"{__name__}.shared"
        assert shared.app is made.tasks
        assert await shared(1) == 2
        assert shared.s(1)["task"] == shared.name
    with pytest.raises(TypeError, match="takes options by keyword"):
        shared_task("name")


def test_whose_tasks_are_meant_is_asked_of_the_application(made: Site) -> None:
    assert current_app.tasks is made.tasks.tasks  # the one made last
    other = Tasks(set_as_current=False)
    assert current_app.tasks is made.tasks.tasks
    other.set_current()
    assert current_app.tasks is other.tasks
    made.tasks.set_default()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_limit": "10 per minute"},
        {"expires": "soon"},
        {"max_attempts": 0},
        {"time_limit": 1, "soft_time_limit": 2},
    ],
)
def test_a_wrong_option_of_a_task_is_refused_where_it_is_declared_or_changed(wrong: dict[str, Any]) -> None:
    tasks = Tasks(set_as_current=False)
    name, value = list(wrong.items())[-1]
    with pytest.raises(ConfigError, match=f"{name} of one"):
        tasks.task(name="one", **wrong)(lambda: None)
    if len(wrong) == 1:
        with pytest.raises(ConfigError, match=f"{name} of two"):
            setattr(tasks.task(name="two")(lambda: None), name, value)


@pytest.mark.parametrize("wrong", ["5", "soon", 1e20, float("nan"), True, [1]])
@pytest.mark.parametrize("name", ["countdown", "expires"])
async def test_what_is_no_time_is_refused_by_name(idle: Site, name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*: seconds, a timedelta or a datetime are allowed"):
        await idle.add.apply_async((1, 2), **{name: wrong})


@pytest.mark.parametrize("wrong", [{"time_limit": "long"}, {"soft_time_limit": -1}, {"max_attempts": 0}])
async def test_a_wrong_limit_of_a_call_is_refused_by_name(idle: Site, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        await idle.add.apply_async((1, 2), **wrong)


async def test_a_job_knows_what_it_has_asked_for_and_a_direct_call_its_arguments(site: Site) -> None:
    @site.tasks.task(name="called", bind=True)
    async def called(self: Any, x: int) -> Any:
        return self.request.args, self.request.called_directly

    @site.tasks.task(name="asks", bind=True)
    async def asks(self: Any) -> Any:
        return (await site.note.delay()).id, self.request.children, await called(3)

    asked, children, direct = await (await asks.delay()).get(timeout=10)
    assert children == [asked]
    assert direct == ([3], True)


async def test_a_meta_that_is_too_large_is_refused(site: Site) -> None:
    @site.tasks.task(name="tells", bind=True)
    async def tells(self: Any) -> None:
        await self.update_state(meta="x" * 300_000)

    with pytest.raises(PayloadTooLarge, match="meta of update_state takes 300,005 bytes"):
        await (await tells.delay()).get(timeout=10)
