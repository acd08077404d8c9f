"""Tasks run on the spot, without a worker, a ledger or a Redis."""

from __future__ import annotations

from typing import Any

import pytest
import quart

from decant.tasks import EagerResult, Ignore, PayloadTooLarge, Reject, Task, Tasks, chord, group, signals


class Site:
    def __init__(self, **conf: Any) -> None:
        self.app = quart.Quart(__name__)
        self.app.config |= {"REDIS_URL": "redis://127.0.0.1:1", "TASKS_DURABLE": False}
        self.tasks = Tasks(set_as_current=False, **conf)
        self.seen: list[Any] = []

        @self.tasks.task(name="add")
        async def add(x: Any, y: Any) -> Any:
            return x + y

        @self.tasks.task(name="double")
        def double(x: Any) -> Any:
            return 2 * x

        @self.tasks.task(name="fail")
        async def fail() -> None:
            raise ValueError("no")

        @self.tasks.task(name="note")
        async def note(*args: Any) -> Any:
            self.seen.append(args)
            return args

        self.tasks.init_app(self.app)

    def __getattr__(self, name: str) -> Any:
        return self.tasks.tasks[name]


@pytest.fixture
def site() -> Site:
    return Site(task_always_eager=True)


@pytest.mark.parity("celery", "task_always_eager")
async def test_delay_runs_the_task_here_and_now(site: Site) -> None:
    result = await site.add.delay(1, 2)
    assert isinstance(result, EagerResult)
    assert await result.get() == 3
    assert await result.state == await result.status == "SUCCESS"
    assert (await result.result, await result.info) == (3, 3)
    assert await result.ready()
    assert await result.successful()
    assert not await result.failed()
    assert (await result.name, await result.args, await result.kwargs) == ("add", [1, 2], {})
    assert await (await site.double.delay(4)).get() == 8
    assert await (await site.add.s(1).delay(2)).get() == 3


async def test_a_failure_is_in_the_result_or_raised_at_once(site: Site) -> None:
    result = await site.fail.delay()
    assert await result.state == "FAILURE"
    assert 'raise ValueError("no")' in str(await result.traceback)
    with pytest.raises(ValueError, match="no"):
        await result.get()
    assert isinstance(await result.get(propagate=False), ValueError)
    site.tasks.conf.task_eager_propagates = True
    with pytest.raises(ValueError, match="no"):
        await site.fail.delay()
    assert await (await site.fail.apply(throw=False)).failed()


async def test_what_a_worker_could_not_be_handed_fails_here_too(site: Site) -> None:
    with pytest.raises(TypeError, match="cannot be handed to a worker"):
        await site.add.delay(object(), 1)
    assert await (await site.note.delay({1}, (2,))).get() == ({1}, (2,))


async def test_retries_run_at_once(site: Site) -> None:
    tries: list[Any] = []

    @site.tasks.task(bind=True, max_retries=3, autoretry_for=(OSError,))
    def flaky(self: Any, x: int) -> int:
        tries.append((x, self.request.retries, self.request.is_eager))
        if self.request.retries == 0:
            raise OSError
        if x < 5:
            self.retry(args=(x + 4,), countdown=100)
        return x

    result = await flaky.delay(1)
    assert await result.get() == 5
    assert tries == [(1, 0, True), (1, 1, True), (5, 2, True)]
    assert await result.retries == 2


async def test_ignore_and_reject_are_ends_of_their_own(site: Site) -> None:
    @site.tasks.task
    def ignored() -> None:
        raise Ignore

    @site.tasks.task
    def rejected() -> None:
        raise Reject("why")

    assert await (await ignored.delay()).state == "IGNORED"
    assert await (await rejected.delay()).state == "REJECTED"


async def test_callbacks_hooks_and_signals_are_called(site: Site) -> None:
    class Hooked(Task):
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            site.seen.append("before")

        async def after_return(self, status: str, *args: Any) -> None:
            site.seen.append(status)

    @site.tasks.task(base=Hooked)
    async def hooked() -> int:
        site.seen.append("run")
        return 5

    @signals.task_success.connect(sender=hooked)
    async def told(sender: Any = None, result: Any = None, **kwargs: Any) -> None:
        site.seen.append((sender.name, result))

    result = await hooked.apply_async(link=site.note.s("linked"))
    assert site.seen == ["before", "run", (hooked.name, 5), "SUCCESS", (5, "linked")]
    assert [await one.get() for one in await result.children] == [(5, "linked")]
    failed = await site.fail.apply_async(link_error=site.note.s("failed"))
    assert site.seen[-1] == (failed.id, "failed")
    del told


async def test_a_hook_that_fails_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Task):
        def on_success(self, *args: Any) -> None:
            raise RuntimeError("hook")

    @site.tasks.task(base=Broken)
    async def one() -> int:
        return 1

    assert await (await one.delay()).get() == 1
    assert "on_success of the task" in caplog.text


async def test_the_whole_canvas_runs_here(site: Site) -> None:
    assert await (await (site.add.s(1, 2) | site.double.s()).delay()).get() == 6
    result = await group(site.add.s(i, i) for i in range(3)).apply_async()
    assert await result.get() == [0, 2, 4]
    assert await result.successful()
    assert await result.completed_count() == 3
    assert [value async for value in result.iterate()] == [0, 2, 4]
    flow = chord([site.add.s(1, 1), site.double.s(2)], site.note.s("end"))
    chorded = await flow.apply_async()
    assert await chorded.get() == ([2, 4], "end")
    assert await chorded.parent.get() == [2, 4]
    assert await (await site.double.map([1, 2]).apply_async()).get() == [2, 4]
    assert await (await site.add.chunks([(1, 1), (2, 2), (3, 3)], 2).apply_async()).get() == [[2, 4], [6]]
    stopped = await (site.fail.si() | site.note.s("never")).apply_async()
    assert await stopped.state == "FAILURE"


async def test_replace_goes_on_with_the_other(site: Site) -> None:
    @site.tasks.task(bind=True)
    async def outer(self: Any, x: int) -> None:
        await self.replace(site.add.s(x, 1))

    result = await outer.delay(1)
    assert await result.get() == 2


async def test_apply_runs_here_whatever_the_settings_say() -> None:
    site = await quart.utils.run_sync(Site)()
    result = await site.add.apply((1,), {"y": 2})
    assert await result.get() == 3
    assert await (await site.add.s(1, 2).apply()).get() == 3


@pytest.fixture
def stored(ledger_url: str, redis_url: str) -> Any:
    from tests.tasks.apps import Site as Real

    return Real(ledger_url, redis_url, TASKS_TASK_ALWAYS_EAGER=True, TASKS_TASK_STORE_EAGER_RESULT=True)


@pytest.mark.parity("celery", "task_store_eager_result")
async def test_a_result_may_be_stored(stored: Any) -> None:
    result = await stored.add.delay(1, 2)
    again = stored.tasks.AsyncResult(result.id)
    assert await again.get(timeout=20) == 3
    failed = await stored.fail.delay()
    with pytest.raises(ValueError, match="as it should"):
        await stored.tasks.AsyncResult(failed.id).get(timeout=20)
    await stored.aclose()


async def test_what_a_worker_would_not_be_given_is_refused_here_too(site: Site) -> None:
    with pytest.raises(TypeError, match="unknown option: countdwn"):
        await site.add.s(1, 2).apply_async(countdwn=5)
    with pytest.raises(PayloadTooLarge):
        await site.note.delay("x" * 300_000)


async def test_what_is_linked_to_a_chain_follows_it(site: Site) -> None:
    await (site.add.s(1, 2) | site.double.s()).apply(link=[site.note.s()])
    assert site.seen == [(6,)]
