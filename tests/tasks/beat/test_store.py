"""The schedule in PostgreSQL and in Redis: a tick's job comes with the move of its next run, once, whoever looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from decant.redis import client
from decant.tasks.beat import ScheduleEntry, crontab
from decant.tasks.beat.entries import read
from decant.tasks.beat.redis_store import RedisStore
from decant.tasks.beat.store import LedgerStore, Row, Store
from decant.tasks.dispatch.names import Names
from decant.tasks.dispatch.pushing import Dispatcher
from decant.tasks.job import Job

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def make(entry: ScheduleEntry, tick: datetime) -> Job:
    return Job(id=uuid4(), task=entry.task, queue="default", payload=b"", durable=entry.options.get("durable", True))


def entries(**given: Any) -> dict[str, ScheduleEntry]:
    return read({name: {"task": "app.tick", "schedule": when} for name, when in given.items()})


async def row_of(store: Store, name: str) -> Row:
    return next(row for row in await store.rows() if row.name == name)


@dataclass
class Place:
    """A store, and where its jobs are found."""

    store: Store
    jobs: Callable[[], Awaitable[set[UUID]]]


@pytest.fixture
def in_ledger(ledger: Any) -> Place:
    async def jobs() -> set[UUID]:
        async with ledger.connection() as connection:
            return {row["id"] for row in await connection.fetch("SELECT id FROM decant_jobs")}

    return Place(LedgerStore(ledger), jobs)


@pytest.fixture
async def in_redis(redis_url: str) -> AsyncIterator[Place]:
    redis = client(url=redis_url, deadline_s=5)  # a busy machine keeps it
    names = Names("decant")

    async def jobs() -> set[UUID]:
        return {UUID(found.decode()) for found in await redis.zrange(names.queue("default"), 0, -1)}

    yield Place(RedisStore(SimpleNamespace(redis=redis, names=names, dispatcher=Dispatcher(redis, names))), jobs)
    await redis.aclose()


@pytest.fixture(params=["in_ledger", "in_redis"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(place: Place) -> Store:
    return place.store


async def test_a_new_entry_runs_first_at_its_next_time(store: Store) -> None:
    known = entries(every=60, nightly=crontab(0, 3))
    await store.sync(known, NOW, start=True)
    assert await store.rows() == [
        Row("every", "app.tick", "schedule(60) in UTC", NOW + timedelta(seconds=60)),
        Row("nightly", "app.tick", "crontab(minute=0, hour=3) in UTC", NOW + timedelta(hours=15)),
    ]
    assert (await store.tick(known, NOW, make)).jobs == []


async def test_a_tick_inserts_its_job_and_moves_the_next_run(store: Store, place: Place) -> None:
    known = entries(every=60)
    await store.sync(known, NOW, start=True)
    later = NOW + timedelta(seconds=61)
    ticked = await store.tick(known, later, make)
    assert await place.jobs() == {job.id for job in ticked.jobs}
    assert len(ticked.jobs) == 1
    row = await row_of(store, "every")
    assert (row.next_run, row.last_run, row.last_job) == (NOW + timedelta(seconds=120), later, ticked.jobs[0].id)
    assert (row.runs, row.skipped) == (1, 0)
    assert (await store.tick(known, later, make)).jobs == []


async def test_each_tick_runs_once_however_many_look_at_once(store: Store, place: Place) -> None:
    known = entries(**{f"e{number}": 1 for number in range(20)})
    await store.sync(known, NOW, start=True)
    ran = []
    for second in range(1, 6):
        now = NOW + timedelta(seconds=second)
        looked = await asyncio.gather(*(store.tick(known, now, make) for _ in range(4)))
        looked.append(await store.tick(known, now, make))  # what the others held while one skipped it
        ran += [job.id for ticked in looked for job in ticked.jobs]
    assert len(ran) == len(set(ran)) == 100
    assert await place.jobs() == set(ran)
    assert {row.runs for row in await store.rows()} == {5}


async def test_a_tick_that_fails_half_way_has_not_been(in_ledger: Place) -> None:
    store, place = in_ledger.store, in_ledger
    known = entries(every=60)
    await store.sync(known, NOW, start=True)
    later = NOW + timedelta(seconds=61)

    def wrong(entry: ScheduleEntry, tick: datetime) -> Job:
        job = make(entry, tick)
        job.queue = None  # type: ignore[assignment]
        return job

    with pytest.raises(Exception, match="null value"):
        await store.tick(known, later, wrong)
    assert await place.jobs() == set()
    assert (await row_of(store, "every")).next_run == NOW + timedelta(seconds=60)
    assert len((await store.tick(known, later, make)).jobs) == 1


async def test_more_than_fit_into_one_look_are_taken_one_look_after_the_other(store: Store, place: Place) -> None:
    known = entries(**{f"e{number:03}": 1 for number in range(150)})
    await store.sync(known, NOW, start=True)
    now = NOW + timedelta(seconds=1)
    first, second = [await store.tick(known, now, make) for _ in range(2)]
    assert (len(first.jobs), first.more, len(second.jobs), second.more) == (100, True, 50, False)


async def test_what_is_in_redis_only_moves_in_the_ledger_and_leaves_no_job_there(in_ledger: Place) -> None:
    store, place = in_ledger.store, in_ledger
    known = read({"e": {"task": "t", "schedule": 1, "options": {"durable": False}}})
    await store.sync(known, NOW, start=True)
    ticked = await store.tick(known, NOW + timedelta(seconds=1), make)
    assert [job.durable for job in ticked.jobs] == [False]
    assert await place.jobs() == set()
    assert (await row_of(store, "e")).last_job == ticked.jobs[0].id


async def test_the_next_run_outlives_a_restart(store: Store) -> None:
    known = entries(every=3600)
    await store.sync(known, NOW, start=True)
    await store.sync(known, NOW + timedelta(minutes=30), start=True)
    assert (await row_of(store, "every")).next_run == NOW + timedelta(hours=1)


async def test_a_changed_schedule_is_computed_anew_and_an_old_entry_deleted(store: Store) -> None:
    await store.sync(entries(changed=3600, old=60), NOW, start=True)
    await store.sync(entries(changed=60, new=5), NOW, start=True)
    found = {row.name: row.next_run - NOW for row in await store.rows()}
    assert found == {"changed": timedelta(seconds=60), "new": timedelta(seconds=5)}
    await store.sync({}, NOW, start=True)
    assert await store.rows() == []


async def test_code_of_another_version_neither_runs_nor_deletes_what_it_does_not_know(store: Store) -> None:
    newer, older = entries(shared=60, changed=60, added=60), entries(shared=60, changed=30)
    await store.sync(older, NOW, start=True)
    await store.sync(newer, NOW, start=True)
    await store.sync(older, NOW, start=False)
    ticked = await store.tick(older, NOW + timedelta(seconds=60), make)
    assert len(ticked.jobs) == 1
    assert {row.name: row.runs for row in await store.rows()} == {"shared": 1, "changed": 0, "added": 0}


async def test_a_disabled_entry_does_not_run_and_begins_anew_when_it_is_enabled(store: Store) -> None:
    known = entries(every=60)
    await store.sync(known, NOW, start=True)
    assert await store.enable("every", False, None)
    later = NOW + timedelta(hours=1)
    assert (await store.tick(known, later, make)).jobs == []
    await store.sync(known, later, start=True)
    assert not (await row_of(store, "every")).enabled
    assert await store.enable("every", True, later + timedelta(seconds=60))
    assert (await store.tick(known, later, make)).jobs == []
    assert len((await store.tick(known, later + timedelta(seconds=60), make)).jobs) == 1
    assert not await store.enable("nobody", True, None)


async def test_run_now_leaves_the_next_run_where_it_is(store: Store, place: Place) -> None:
    known = entries(every=3600)
    await store.sync(known, NOW, start=True)
    job = make(known["every"], NOW)
    assert await store.run_now("every", job, NOW)
    row = await row_of(store, "every")
    assert (row.next_run, row.last_job, row.last_run, row.runs) == (NOW + timedelta(hours=1), job.id, NOW, 1)
    assert await place.jobs() == {job.id}
    assert not await store.run_now("nobody", make(known["every"], NOW), NOW)
    assert await place.jobs() == {job.id}


async def test_missed_ticks_are_counted(store: Store) -> None:
    known = entries(every=60)
    await store.sync(known, NOW, start=True)
    ticked = await store.tick(known, NOW + timedelta(minutes=30), make)
    row = await row_of(store, "every")
    assert (len(ticked.jobs), row.runs, row.skipped) == (1, 1, 29)


async def test_a_job_that_cannot_be_made_does_not_stop_the_others(store: Store) -> None:
    known = entries(bad=60, good=60)
    await store.sync(known, NOW, start=True)
    ticked = await store.tick(known, NOW + timedelta(minutes=1), lambda e, t: make(e, t) if e.name == "good" else None)
    assert len(ticked.jobs) == 1
    assert {row.name: row.runs for row in await store.rows()} == {"bad": 0, "good": 1}
    assert {row.next_run for row in await store.rows()} == {NOW + timedelta(minutes=2)}
