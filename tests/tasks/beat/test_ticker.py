"""The clock: what is due becomes jobs, whoever else looks, whatever is away, and however the clocks are changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import time_machine
from flask import Flask

from decant import Quart
from decant.errors import CommandError, ConfigError
from decant.tasks import Tasks
from decant.tasks.beat import crontab, schedule
from decant.tasks.beat.ticker import Ticker
from decant.tasks.codec import decode_envelope
from decant.tasks.worker import worker_settings
from decant.tasks.worker.service import working

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


class Setting:
    """An application with one task, and tickers by a clock."""

    def __init__(self, database_url: str, redis_url: str, durable: bool, kind: Any = Quart) -> None:
        self.app = kind("ticks")
        urls = {"SQLALCHEMY_DATABASE_URI": database_url, "REDIS_URL": redis_url}
        self.app.config.update(urls, REDIS_DEADLINE_S=5, TASKS_DURABLE=durable)  # a busy machine keeps it
        self.tasks = Tasks()
        self.tasks.task(name="app.tick")(tick)
        self.tasks.init_app(self.app)
        self.clock = Clock()

    @property
    def runtime(self) -> Any:
        return self.tasks.runtime(self.app)

    def schedules(self, **entries: Any) -> None:
        self.tasks.conf.beat_schedule = {
            name: {"task": "app.tick", **(given if isinstance(given, dict) else {"schedule": given})}
            for name, given in entries.items()
        }

    def ticker(self) -> Ticker:
        return Ticker(self.tasks, self.app, clock=self.clock)

    async def queued(self) -> set[UUID]:
        """The jobs that workers see."""
        await self.runtime.dispatcher.aclose()
        found = await self.runtime.redis.zrange(self.runtime.names.queue("default"), 0, -1)
        return {UUID(one.decode()) for one in found}


async def tick(name: str = "") -> None:
    """Runs on a schedule."""


@pytest.fixture
def make_setting(ledger_url: str, redis_url: str) -> Any:
    return lambda durable=True, kind=Quart: Setting(ledger_url, redis_url, durable, kind)


@pytest.fixture
def made(make_setting: Any) -> Setting:
    found: Setting = make_setting()
    return found


@pytest.fixture
async def setting(made: Setting) -> AsyncIterator[Setting]:
    yield made
    await made.runtime.aclose()


@pytest.fixture(params=[True, False], ids=["ledger", "Redis"])
def made_either(make_setting: Any, request: pytest.FixtureRequest) -> Setting:
    found: Setting = make_setting(request.param)
    return found


@pytest.fixture
async def either(made_either: Setting) -> AsyncIterator[Setting]:
    yield made_either
    await made_either.runtime.aclose()


@pytest.mark.parity("celery", "beat_schedule")
async def test_what_is_due_becomes_a_job_that_workers_see(either: Setting) -> None:
    either.schedules(every=60)
    ticker = either.ticker()
    assert await ticker.tick() == []
    either.clock.forward(seconds=60)
    ids = await ticker.tick()
    assert len(ids) == 1
    assert await either.queued() == set(ids)
    assert await ticker.tick() == []


async def test_the_job_has_the_arguments_and_says_when_it_was_due(setting: Setting) -> None:
    setting.schedules(
        every={"schedule": 60, "args": ["a"], "options": {"queue": "slow", "priority": 3, "headers": {"x": 1}}}
    )
    ticker = setting.ticker()
    await ticker.tick()
    setting.clock.forward(seconds=75)
    (id_,) = await ticker.tick()
    record = await setting.runtime.record(id_)
    envelope = decode_envelope(record.payload)
    assert (record.task, record.queue, record.priority, envelope.args) == ("app.tick", "slow", 3, ["a"])
    assert envelope.headers == {
        "periodic_task_name": "every",
        "scheduled_for": NOW + timedelta(seconds=60),
        "x": 1,
    }


async def test_each_tick_runs_once_however_many_clocks_there_are(either: Setting) -> None:
    either.schedules(every=1, other=2)
    tickers = [either.ticker() for _ in range(4)]
    ran: list[UUID] = []
    for _ in range(7):
        for ids in await asyncio.gather(*(ticker.tick() for ticker in tickers)):
            ran += ids
        ran += await tickers[0].tick()
        either.clock.forward(seconds=1)
    assert len(ran) == len(set(ran)) == 9
    assert await either.queued() == set(ran)


async def test_a_job_that_is_not_durable_is_in_redis_only(setting: Setting) -> None:
    setting.schedules(every={"schedule": 1, "options": {"durable": False}})
    ticker = setting.ticker()
    await ticker.tick()
    setting.clock.forward(seconds=1)
    (id_,) = await ticker.tick()
    assert await setting.queued() == {id_}
    assert await setting.runtime.record(id_) is None


async def test_a_flask_application_has_a_schedule_too(make_setting: Any) -> None:
    setting = await asyncio.to_thread(make_setting, kind=Flask)
    setting.schedules(every=60)
    ticker = setting.ticker()
    await ticker.check()
    await ticker.tick()
    setting.clock.forward(seconds=60)
    ids = await ticker.tick()
    assert len(ids) == 1
    assert await setting.queued() == set(ids)
    await setting.runtime.aclose()


async def test_without_entries_the_schedule_is_emptied_and_nothing_is_asked(setting: Setting) -> None:
    setting.schedules(every=1)
    await setting.ticker().tick()
    setting.schedules()
    ticker = setting.ticker()
    assert await ticker.tick() == []
    assert await ticker.rows() == []


async def test_entries_that_are_changed_while_it_runs_count_from_then_on(setting: Setting) -> None:
    setting.schedules(every=3600)
    ticker = setting.ticker()
    await ticker.tick()
    setting.schedules(every=60, other=30)
    await ticker.tick()
    assert {row.name: row.next_run for row in await ticker.rows()} == {
        "every": NOW + timedelta(seconds=60),
        "other": NOW + timedelta(seconds=30),
    }


async def test_after_a_flush_of_redis_a_schedule_without_a_ledger_begins_anew(make_setting: Any) -> None:
    setting = await asyncio.to_thread(make_setting, False)
    setting.schedules(every=60)
    ticker = setting.ticker()
    await ticker.tick()
    await setting.runtime.redis.flushdb()
    setting.clock.forward(seconds=70)
    assert await ticker.tick() == []
    setting.clock.forward(seconds=60)
    assert len(await ticker.tick()) == 1
    await setting.runtime.aclose()


async def test_one_that_cannot_be_made_is_logged_and_the_others_run(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.schedules(bad={"schedule": 1, "args": [object()]}, good=1)
    ticker = setting.ticker()
    await ticker.tick()
    setting.clock.forward(seconds=1)
    assert len(await ticker.tick()) == 1
    assert "bad cannot run: no job of app.tick can be made" in caplog.text


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"task": "app.tock", "schedule": 1}, r"\['task'\] = 'app.tock' is not valid: .* did you mean 'app.tick'"),
        ({"task": "zzz", "schedule": 1}, "is its module imported"),
        ({"schedule": 1, "args": [object()]}, r"beat_schedule\['every'\] = 'app.tick'"),
        ({"schedule": 1, "options": {"priority": 12}}, "priority"),
        ({"schedule": 1, "options": {"qeue": "x"}}, "qeue"),
    ],
)
async def test_an_entry_that_cannot_run_stops_the_start(setting: Setting, entry: dict[str, Any], told: str) -> None:
    setting.schedules(every=entry)
    with pytest.raises(ConfigError, match=told):
        await setting.ticker().check()


async def test_run_now_is_one_more_run_and_moves_nothing(either: Setting) -> None:
    either.schedules(every=60)
    ticker = either.ticker()
    id_ = await ticker.run_now("every")  # also where no worker has ever run
    assert await either.queued() == {id_}
    (row,) = await ticker.rows()
    assert (row.next_run, row.last_job, row.runs) == (NOW + timedelta(seconds=60), id_, 1)
    with pytest.raises(LookupError, match="no entry 'evry': every"):
        await ticker.run_now("evry")


async def test_an_entry_can_be_switched_off_and_on(either: Setting) -> None:
    either.schedules(every=60)
    ticker = either.ticker()
    await ticker.tick()
    await ticker.enable("every", False)
    either.clock.forward(minutes=10)
    assert await ticker.tick() == []
    await ticker.enable("every")
    assert await ticker.tick() == []
    either.clock.forward(minutes=1)
    assert len(await ticker.tick()) == 1
    with pytest.raises(LookupError):
        await ticker.enable("evry")


@pytest.mark.parametrize(
    ("begin", "ran"),
    [
        ("2026-03-28T12:00:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("2026-10-24T12:00:00+02:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    ],
)
async def test_a_night_in_which_clocks_are_changed_has_one_tick(setting: Setting, begin: str, ran: list[str]) -> None:
    await asyncio.to_thread(setattr, setting.tasks.conf, "timezone", "Europe/Berlin")  # reads a file
    setting.schedules(nightly=crontab(30, 2))
    ticker = Ticker(setting.tasks, setting.app)  # by the real clock, which is another one here
    found = []
    moment = datetime.fromisoformat(begin)
    for quarters in range(160):
        with time_machine.travel(moment.astimezone(UTC) + timedelta(minutes=15 * quarters), tick=False):
            if await ticker.tick():
                found.append(datetime.now(UTC))
    assert found == [datetime.fromisoformat(text) for text in ran]


async def test_missed_ticks_are_caught_up_with_as_the_settings_say(setting: Setting) -> None:
    setting.tasks.conf.beat_catch_up = "all"
    setting.schedules(every=schedule(3600), once={"schedule": 3600, "catch_up": "one"})
    await setting.ticker().tick()
    setting.clock.forward(hours=3)
    ticker = setting.ticker()
    assert len(await ticker.tick()) == 4
    assert {row.name: row.runs for row in await ticker.rows()} == {"every": 3, "once": 1}


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not await true():
            await asyncio.sleep(0.02)


async def runs(ticker: Ticker) -> int:
    return sum(row.runs for row in await ticker.rows())


async def test_it_runs_by_itself_and_wakes_for_new_entries(setting: Setting) -> None:
    ticker = Ticker(setting.tasks, setting.app)
    running = asyncio.create_task(ticker.run())
    setting.schedules(every=0.1)
    ticker.wake()

    async def three() -> bool:
        return await runs(ticker) >= 3

    await until(three)
    running.cancel()
    await asyncio.wait([running])


async def test_a_database_that_is_away_is_waited_for_and_told_once(
    setting: Setting, ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def allow(answer: str) -> None:
        name = ledger_url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(ledger_url.replace(name, "postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {answer}")  # type: ignore[arg-type]
            if answer == "false":
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [name]
                )

    caplog.set_level(logging.INFO, "decant.tasks")
    setting.schedules(every=0.1)
    ticker = Ticker(setting.tasks, setting.app)
    running = asyncio.create_task(ticker.run())

    async def one() -> bool:
        return await runs(ticker) >= 1

    async def noticed() -> bool:
        return ticker.failures >= 2

    await until(one)
    try:
        await asyncio.to_thread(allow, "false")
        await until(noticed)
    finally:
        await asyncio.to_thread(allow, "true")
    before = await until_answer(ticker)

    async def more() -> bool:
        return await runs(ticker) > before

    await until(more)
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert "beat: no task is scheduled for now" in caplog.text
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


async def until_answer(ticker: Ticker) -> int:
    async with asyncio.timeout(20):
        while True:
            try:
                return await runs(ticker)
            except Exception:
                await asyncio.sleep(0.05)


async def test_a_worker_does_not_start_with_a_schedule_that_cannot_run(setting: Setting) -> None:
    setting.schedules(every={"task": "app.tock", "schedule": 60})
    settings = await asyncio.to_thread(worker_settings, setting.tasks, setting.app)
    with pytest.raises(CommandError, match=r"there is no such task; did you mean 'app\.tick'"):
        async with working(settings):
            pytest.fail("it works")


async def test_a_worker_runs_its_schedule(either: Setting) -> None:
    either.schedules(every=0.2)
    settings = await asyncio.to_thread(worker_settings, either.tasks, either.app)
    async with working(settings):
        ticker, jobs = Ticker(either.tasks, either.app), set[UUID]()

        async def succeeded() -> bool:
            jobs.update(row.last_job for row in await ticker.rows() if row.last_job is not None)
            records = [await either.runtime.record(job) for job in jobs]
            return any(record is not None and record.state == "SUCCESS" for record in records)

        await until(succeeded)
