"""The buttons do what they say, to a real worker and a real ledger; the pages show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from decant.tasks.worker import worker_settings
from decant.tasks.worker.service import working

from . import sample


@asynccontextmanager
async def worker(site: Any, **options: Any) -> AsyncIterator[Any]:
    """A worker in this loop, whose heartbeat is there and who hears what it is told."""
    settings = await asyncio.to_thread(worker_settings, site.tasks, site.app)
    async with working(settings, starts_app=False, grace_s=0.2, **options) as service:
        await until(lambda: found(site, service.id))
        await asyncio.wait_for(service.ears.subscribed.wait(), 30)
        yield service


async def found(site: Any, name: str) -> Any:
    runtime = site.tasks.runtime(site.app)
    return await runtime.redis.zscore("decant:workers", name)


async def until(question: Any, timeout_s: float = 30.0) -> Any:
    """Ask until the answer is true."""
    async with asyncio.timeout(timeout_s):
        while not (answer := await question()):
            await asyncio.sleep(0.02)
        return answer


async def state(site: Any, id_: Any) -> str:
    record = await site.tasks.runtime(site.app).record(UUID(str(id_)))
    return str(record.shown_state)


async def sent(site: Any, name: str, *args: Any) -> str:
    async with site.app.app_context():
        return str((await site.tasks.tasks[name].delay(*args)).id)


@pytest.mark.parity("flower", "/worker/<name>")
async def test_a_worker_is_paused_resumed_and_shut_down(site: Any) -> None:
    async with worker(site) as service:
        page = await site.text("/workers")
        assert service.id in page
        assert ">online<" in page

        answer = await site.post(f"/worker/{service.id}/pause")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs/workers?done=pause")

        async def is_paused() -> bool:
            return service.worker.paused

        await until(is_paused)

        async def shown() -> bool:
            return ">paused<" in await site.text(f"/worker/{service.id}")

        await until(shown)
        await site.post(f"/worker/{service.id}/resume")

        async def goes_on() -> bool:
            return not service.worker.paused

        await until(goes_on)
        assert "Shut down" in await site.text(f"/worker/{service.id}/shutdown")
        await site.post(f"/worker/{service.id}/shutdown")

        async def is_gone() -> bool:
            return "No worker is online" in await site.text("/workers")

        await until(is_gone)


async def test_a_worker_that_is_not_there_is_not_told_anything(site: Any) -> None:
    for action in ("pause", "resume", "shutdown"):
        answer = await site.post(f"/worker/nobody:1:a/{action}")
        assert answer.status_code == 404
        assert "Unknown worker" in await answer.get_data(as_text=True)


@pytest.mark.parity("flower", "/task/<id>")
async def test_a_job_that_failed_runs_again(site: Any) -> None:
    async with worker(site):
        id_ = await sent(site, "app.fail", "the reason")
        await until(lambda: _is(site, id_, "FAILURE"))
        page = await site.text(f"/task/{id_}")
        assert "ValueError" in page
        assert "the reason" in page
        assert "Traceback (most recent call last)" in page
        before = (await site.tasks.runtime(site.app).record(UUID(id_))).finished
        answer = await site.post(f"/task/{id_}/retry")
        assert answer.headers["Location"] == f"/jobs/task/{id_}?done=retry"

        async def again() -> bool:
            record = await site.tasks.runtime(site.app).record(UUID(id_))
            return record.state == "FAILURE" and record.finished > before

        await until(again)


async def _is(site: Any, id_: str, wanted: str) -> bool:
    return await state(site, id_) == wanted


async def test_a_job_that_waits_is_revoked(site: Any) -> None:
    id_ = await sent(site, "app.add", 1, 2)
    page = await site.text(f"/task/{id_}")
    assert ">Revoke<" in page
    await site.post(f"/task/{id_}/revoke")
    assert await state(site, id_) == "REVOKED"
    assert ">Run again<" in await site.text(f"/task/{id_}?done=revoke")


async def test_a_job_that_runs_shows_its_progress_and_is_aborted(site: Any) -> None:
    async with worker(site):
        id_ = await sent(site, "app.hang")
        await until(lambda: _is(site, id_, "PROGRESS"))
        page = await site.text(f"/task/{id_}")
        assert '<progress max="4" value="1"' in page
        assert f'href="/jobs/task/{id_}/abort"' in page
        assert "cancelled where it runs" in await site.text(f"/task/{id_}/abort")
        await site.post(f"/task/{id_}/abort")
        await until(lambda: _is(site, id_, "REVOKED"))


async def test_what_has_ended_cannot_be_stopped(site: Any) -> None:
    await site.fill()
    for action in ("revoke", "abort"):
        answer = await site.post(f"/task/{sample.SUCCEEDED}/{action}")
        assert answer.headers["Location"].endswith("done=ended")
    assert await state(site, sample.SUCCEEDED) == "SUCCESS"
    answer = await site.post(f"/task/{sample.WAITING}/retry")
    assert answer.headers["Location"].endswith("done=ended")


@pytest.mark.parity("flower", "/broker")
async def test_a_queue_is_purged_after_a_question(site: Any) -> None:
    """What waits there is revoked, what waits elsewhere is not."""
    ids = [await sent(site, "app.add", 1, number) for number in range(3)]
    async with site.app.app_context():
        other = await site.tasks.tasks["app.add"].apply_async((1, 2), queue="other")
    page = await site.text("/queues/purge?queue=default")
    assert "3 jobs wait there" in page
    answer = await site.post("/queues/purge", queue="default")
    assert answer.headers["Location"] == "/jobs/queues?done=purged"
    assert {await state(site, id_) for id_ in ids} == {"REVOKED"}
    assert await state(site, other.id) == "PENDING"
    assert (await site.post("/queues/purge")).status_code == 400
    answer = await site.client.get("/jobs/broker")
    assert (answer.status_code, answer.headers["Location"]) == (301, "/jobs/queues")


async def test_a_schedule_runs_now_and_is_switched(site: Any) -> None:
    async with worker(site) as service:

        async def is_listed() -> bool:
            return 'id="schedule-sum"' in await site.text("/schedules")

        await until(is_listed)
        answer = await site.post("/schedules/run", name="sum")
        assert answer.status_code == 303

        async def has_run() -> Any:
            row = await _schedule(site)
            return row["runs"] and row["last_job"]

        id_ = await until(has_run)
        await until(lambda: _is(site, id_, "SUCCESS"))
        await site.post("/schedules/disable", name="sum")
        assert not (await _schedule(site))["enabled"]
        assert ">disabled<" in await site.text("/schedules")
        await site.post("/schedules/enable", name="sum")
        assert (await _schedule(site))["enabled"]
        assert (await site.post("/schedules/run", name="nonsense")).status_code == 404
        assert service.id


async def _schedule(site: Any) -> Any:
    async with site.tasks.runtime(site.app).ledger.connection() as connection:
        return await connection.fetchrow("SELECT * FROM decant_schedule WHERE name = 'sum'")
