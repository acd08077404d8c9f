"""Results, read from a real ledger while a real worker runs the jobs."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from decant.tasks import (
    AsyncResult,
    GroupResult,
    RemoteError,
    ResultSet,
    TaskRevokedError,
    group,
    result_from_tuple,
)
from decant.tasks import TimeoutError as TasksTimeoutError
from tests.tasks.apps import Site


class Custom(Exception):
    """One that only the task's ``throws`` makes known."""


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


@pytest.mark.parity("celery", "AsyncResult(id, backend")
async def test_a_result_tells_what_became_of_its_job(site: Site) -> None:
    result = await site.add.delay(1, y=2)
    assert await result.get(timeout=10) == 3
    assert await result.state == await result.status == "SUCCESS"
    assert await result.result == await result.info == 3
    assert await result.ready()
    assert await result.successful()
    assert not await result.failed()
    assert await result.exists()
    assert (await result.name, await result.args, await result.kwargs) == ("add", [1], {"y": 2})
    assert await result.queue == "default"
    assert await result.retries == 0
    assert await result.traceback is None
    assert not await result.ignored
    assert ":" in str(await result.worker)
    done = await result.date_done
    assert abs(datetime.now(UTC) - done) < timedelta(minutes=1)
    assert await result.maybe_throw() == 3
    assert await result.get_leaf() == 3
    assert await result.wait(timeout=10) == 3
    assert [value async for value in result.iterate()] == [3]


async def test_a_job_that_nobody_has_asked_for_is_pending(idle: Site) -> None:
    result = idle.tasks.AsyncResult(str(uuid4()))
    assert await result.state == "PENDING"
    assert await result.result is None
    assert not await result.ready()
    assert not await result.exists()
    assert await result.children == []


async def test_get_ends_after_its_timeout_and_the_job_goes_on(site: Site) -> None:
    result = await site.wait_for_gate.delay()
    with pytest.raises(TasksTimeoutError, match=r"had not ended within 0\.05 s"):
        await result.get(timeout=0.05)
    with pytest.raises(TimeoutError):  # Python's own
        await result.get(timeout=0)
    site.gate.set()
    assert await result.get(timeout=10) == "passed"


async def test_get_is_told_and_does_not_poll(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    records = site.tasks.runtime().records

    async def counted(ids: Any) -> Any:
        nonlocal reads
        reads += 1
        return await records(ids)

    result = await site.wait_for_gate.delay()
    monkeypatch.setattr(site.tasks.runtime(), "records", counted)
    waiting = asyncio.create_task(result.get(timeout=20))
    await asyncio.sleep(1.5)
    site.gate.set()
    assert await waiting == "passed"
    assert reads <= 3


async def test_builtin_exceptions_come_back_as_they_were_with_the_traceback_as_cause(site: Site) -> None:
    result = await site.fail.delay()
    with pytest.raises(ValueError, match="as it should") as caught:
        await result.get(timeout=10)
    assert 'raise ValueError("as it should")' in str(caught.value.__cause__)
    assert await result.failed()
    assert await result.state == "FAILURE"
    assert isinstance(await result.result, ValueError)
    assert 'raise ValueError("as it should")' in str(await result.traceback)
    assert isinstance(await result.get(timeout=10, propagate=False), ValueError)
    with pytest.raises(ValueError, match="as it should"):
        await result.maybe_throw()


async def test_other_exceptions_are_remote_unless_the_task_names_them(site: Site) -> None:
    @site.tasks.task(name="hidden")
    async def hidden() -> None:
        raise Custom("one", 2)

    @site.tasks.task(name="declared", throws=(Custom,))
    async def declared() -> None:
        raise Custom("one", 2)

    with pytest.raises(RemoteError, match="Custom: ") as caught:
        await (await hidden.delay()).get(timeout=10)
    assert caught.value.type == f"{__name__}.Custom"
    assert 'raise Custom("one", 2)' in caught.value.traceback
    with pytest.raises(Custom) as own:
        await (await declared.delay()).get(timeout=10)
    assert own.value.args == ("one", 2)


async def test_callbacks_are_called_plain_and_async(site: Site) -> None:
    seen: list[Any] = []

    async def later(id: str, value: Any) -> None:  # noqa: A002
        seen.append((id, value))

    result = await site.add.delay(1, 2)
    await result.get(timeout=10, callback=later, on_message=seen.append)
    assert seen[0]["status"] == "SUCCESS"
    assert seen[1] == (result.id, 3)
    assert await result.then(lambda r: seen.append(r.id)) is result
    assert seen[2] == result.id
    failed = await site.fail.delay()
    await failed.then(seen.append, on_error=lambda r: seen.append("failed"))
    assert seen[3:] == ["failed"]


async def test_revoke_ends_a_job_that_waits(idle: Site) -> None:
    result = await idle.add.delay(1, 2)
    await result.revoke()
    assert await result.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        await result.get(timeout=10)


async def test_revoke_with_terminate_stops_one_that_runs(site: Site) -> None:
    result = await site.wait_for_gate.delay()
    async with asyncio.timeout(10):
        while await result.state != "STARTED":
            await asyncio.sleep(0.01)
    await result.revoke(terminate=True, wait=True, timeout=10)
    assert await result.state == "REVOKED"


async def test_forget_deletes_the_record(site: Site) -> None:
    result = await site.add.delay(1, 2)
    await result.get(timeout=10)
    await result.forget()
    assert not await result.exists()


async def test_children_are_what_the_job_asked_for(site: Site) -> None:
    @site.tasks.task(name="asks")
    async def asks() -> None:
        await site.add.delay(1, 2)

    result = await asks.apply_async(link=site.note.s())
    await result.get(timeout=10)
    children = await result.children
    assert sorted([await one.name for one in children]) == ["add", "note"]
    assert children[0].parent == result
    pairs = await result.collect(timeout=10)
    assert [pair[0] for pair in pairs] == [result, *children]
    assert len(await result.iterdeps()) == 3


async def test_results_are_made_of_ids_in_any_form(idle: Site) -> None:
    id_ = uuid4()
    one = AsyncResult(id_, app=idle.tasks)
    assert one == AsyncResult(str(id_), app=idle.tasks)
    assert hash(one) == hash(idle.tasks.AsyncResult(id_))
    assert str(one) == one.id == one.task_id == str(id_)
    own = AsyncResult("import-42", app=idle.tasks)
    assert own.id == AsyncResult("import-42", app=idle.tasks).id != "import-42"
    with pytest.raises(TypeError, match="a UUID or a text"):
        AsyncResult(42, app=idle.tasks)  # type: ignore[arg-type]


async def test_a_result_survives_pickling_and_tuples(idle: Site) -> None:
    parent = AsyncResult(uuid4(), app=idle.tasks)
    result = AsyncResult(uuid4(), app=idle.tasks, parent=parent)
    again = pickle.loads(pickle.dumps(result))
    assert (again, again.parent, again.app) == (result, parent, idle.tasks)
    again = result_from_tuple(result.as_tuple(), idle.tasks)
    assert (again, again.parent) == (result, parent)
    both = GroupResult(None, [result, parent], app=idle.tasks)
    assert result_from_tuple(both.as_tuple(), idle.tasks) == both
    assert result.as_list() == [result.id, parent.id]


# -- groups ------------------------------------------------------------------------------------------------------------


@pytest.mark.parity("celery", "ResultSet/GroupResult")
async def test_a_group_is_waited_for_as_one(site: Site) -> None:
    result = await group(site.add.s(i, i) for i in range(5))()
    seen: list[Any] = []
    assert await result.join(timeout=10, callback=lambda id, value: seen.append(value)) == [0, 2, 4, 6, 8]  # noqa: A006
    assert sorted(seen) == [0, 2, 4, 6, 8]
    assert await result.join_native(timeout=10) == [0, 2, 4, 6, 8]
    assert await result.ready()
    assert await result.successful()
    assert not await result.failed()
    assert not await result.waiting()
    assert await result.completed_count() == len(result) == 5
    assert [one.id for one in await result.children] == [one.id for one in result.results]
    assert [await one.get(timeout=10) for one in result] == [0, 2, 4, 6, 8]
    await result.forget()
    assert not await result[0].exists()


async def test_the_first_failure_of_a_group_is_raised_at_once(site: Site) -> None:
    result = await group(site.wait_for_gate.s(), site.fail.s())()
    with pytest.raises(ValueError, match="as it should"):
        await result.get(timeout=10)
    assert await result.failed()
    assert await result.waiting()
    with pytest.raises(ValueError, match="as it should"):
        await result.maybe_throw()
    site.gate.set()
    values = await result.get(timeout=10, propagate=False)
    assert values[0] == "passed"
    assert isinstance(values[1], ValueError)


async def test_iterate_yields_values_as_they_come(site: Site) -> None:
    result = await group(site.wait_for_gate.s(), site.add.s(1, 2))()
    values = []
    async for value in result.iterate(timeout=10):
        values.append(value)
        site.gate.set()
    assert values == [3, "passed"]
    pairs = [pair async for pair in result.iter_native(timeout=10)]
    assert {meta["result"] for _, meta in pairs} == {3, "passed"}


async def test_a_group_that_is_saved_can_be_restored(site: Site) -> None:
    result = await group(site.add.s(i, i) for i in range(3))()
    await result.save()
    again = await GroupResult.restore(result.id, app=site.tasks)
    assert again == result
    assert await again.get(timeout=10) == [0, 2, 4]
    await result.delete()
    from_ledger = await GroupResult.restore(result.id, app=site.tasks)
    assert from_ledger is not None
    assert await from_ledger.get(timeout=10) == [0, 2, 4]
    assert await GroupResult.restore(str(uuid4()), app=site.tasks) is None


async def test_a_group_is_revoked_as_one(idle: Site) -> None:
    result = await group(idle.add.s(1, 1), idle.add.s(2, 2))()
    await result.revoke()
    assert [await one.state for one in result] == ["REVOKED", "REVOKED"]


async def test_a_set_of_results_is_added_to_and_taken_from(site: Site) -> None:
    one, two = await site.add.delay(1, 1), await site.add.delay(2, 2)
    results = ResultSet([one])
    results.add(two)
    results.add(two)
    assert await results.get(timeout=10) == [2, 4]
    results.remove(one)
    with pytest.raises(KeyError):
        results.remove(one)
    results.discard(one)
    results.update([one, two])
    assert list(results) == [two, one]
    results.clear()
    assert await results.get(timeout=10) == []


# -- what is not in the ledger -----------------------------------------------------------------------------------------


async def test_a_job_that_is_not_durable_has_a_result_too(site: Site) -> None:
    result = await site.add.apply_async((1, 2), durable=False)
    assert await result.get(timeout=10) == 3
    assert await result.state == "SUCCESS"
    await result.forget()
    assert await result.state == "PENDING"


async def test_progress_is_seen_while_the_job_runs(site: Site) -> None:
    @site.tasks.task(name="steps", bind=True)
    async def steps(self: Any) -> str:
        assert await self.update_state(state="PROGRESS", meta={"done": 1})
        await site.gate.wait()
        return "end"

    result = await steps.delay()
    async with asyncio.timeout(10):
        while await result.state != "PROGRESS":
            await asyncio.sleep(0.01)
    assert await result.info == {"done": 1}
    site.gate.set()
    assert await result.get(timeout=10) == "end"
