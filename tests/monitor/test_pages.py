"""What the pages show, and what they say when something is away."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from decant.monitor import charts, pages_of_jobs
from decant.monitor.charts import Series
from decant.monitor.history import PERIODS, busiest_tasks, history
from decant.monitor.rendering import environment
from decant.tasks import codec

from ..valkey import Server, running
from . import sample
from .test_acting import sent, until, worker


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.mark.parity("flower", "Pages")
@pytest.mark.parametrize(
    "path", ["/", "/?period=7d", "/?period=nonsense", "/workers", "/tasks", "/schedules", "/queues"]
)
async def test_pages_of_an_application_that_has_done_nothing(site: Any, path: str) -> None:
    page = await site.text(path)
    assert page.startswith("<!doctype html>")


@pytest.mark.parity("flower", "Pages")
async def test_the_overview(site: Any) -> None:
    await site.fill(400)
    page = await site.text("/")
    said = words(page)
    assert "Workers online 2" in said
    assert "Running 1" in said
    assert "Waiting 1" in said
    assert page.count('<svg class="chart"') == 3
    assert re.search(
        r'role="img" aria-label="Jobs that ended: [\d,]+ succeeded and \d+ failed in the last hour\."', page
    )
    assert "The same figures as a table" in said
    assert re.search(r"app\.mail\.send [\d,]+ \d+ \d+", said)
    assert "mail 3" in said


async def test_one_worker(site: Any) -> None:
    await site.fill()
    said = words(await site.text(f"/worker/{sample.WORKER}"))
    for text in ("online", "1 of 100", "mail (weight 3)", "1.2 ms", "92 MiB", "app.links.import_csv"):
        assert text in said
    await site.text("/worker/nobody", 404)


async def test_a_worker_that_has_gone_is_still_known_by_its_work(site: Any) -> None:
    await site.fill()
    await site.tasks.runtime(site.app).redis.delete(f"decant:worker:{sample.WORKER}")
    page = await site.text(f"/worker/{sample.WORKER}")
    assert "It is not there any more" in page
    assert page.count('<svg class="chart"') == 2


@pytest.mark.parity("flower", "/tasks")
async def test_the_list_of_jobs(site: Any) -> None:
    await site.fill(120)
    page = await site.text("/tasks")
    assert page.count('id="job-') == 50
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older
    second = await (await site.client.get(older[1].replace("&amp;", "&"))).get_data(as_text=True)
    assert second.count('id="job-') == 50
    assert set(re.findall('id="job-([^"]+)"', page)).isdisjoint(re.findall('id="job-([^"]+)"', second))
    assert 'rel="prev"' in second
    failed = await site.text("/tasks?state=failure&task=app.mail.send")
    assert str(sample.FAILED) in failed
    assert str(sample.SUCCEEDED) not in failed
    assert "No job matches" in await site.text("/tasks?text=nobody")
    answer = await site.client.get(f"/jobs/tasks?text={sample.FAILED}")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/jobs/task/{sample.FAILED}")
    for query in ("text=(", "state=DONE", "since=soon", "before=x", f"task={'x' * 301}"):
        assert 'role="alert"' in await site.text(f"/tasks?{query}", 400), query


async def test_more_to_search_is_offered(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from decant.monitor import listing

    monkeypatch.setattr(listing, "WINDOW", 20)
    await site.fill(60)
    page = await site.text("/tasks?text=number+55")
    assert "Search older jobs" in page


@pytest.mark.parity("flower", "/task/<id>")
async def test_one_job(site: Any) -> None:
    await site.fill()
    said = words(await site.text(f"/task/{sample.FAILED}"))
    for text in (
        "app.mail.send FAILURE", "3 (2 retried)", "[&#39;ada@example.com&#39;]", "ConnectionRefusedError",
        "Attempt 1 failed, and is tried again", "Attempt 2 was lost with its worker", "Attempt 3 began", "Failed",
    ):  # fmt: skip
        assert text in said, text
    said = words(await site.text(f"/task/{sample.SUCCEEDED}"))
    assert "message_id" in said
    assert "app.mail.log" in said
    assert "datetime.datetime(" in said
    page = await site.text(f"/task/{sample.CHILD}")
    assert f'href="/jobs/task/{sample.SUCCEEDED}"' in page
    assert "1 of 2 ended" in words(await site.text(f"/task/{sample.GROUPED}"))
    assert "42,000 of 100,000" in await site.text(f"/task/{sample.PROGRESSING}")
    assert "Due" in await site.text(f"/task/{sample.WAITING}")
    await site.text(f"/task/{uuid.uuid4()}", 404)


async def test_a_job_that_cannot_be_read_is_shown_all_the_same(site: Any) -> None:
    """Its bytes may be from another version, or broken; a huge result is cut."""
    await site.fill()
    async with site.tasks.runtime(site.app).ledger.connection() as connection:
        await connection.execute(
            "UPDATE decant_jobs SET payload = '\\xc1', result = '\\xc1', error = '\\xc1', progress = '\\xc1'"
        )
        await connection.execute("UPDATE decant_attempts SET error = '\\xc1'")
    for id_ in (sample.FAILED, sample.SUCCEEDED, sample.PROGRESSING, sample.WAITING):
        assert "cannot be read" in await site.text(f"/task/{id_}")
    assert len(pages_of_jobs.told(codec.encode("x" * 300_000))) < 21_000


async def test_secrets_are_not_shown(site: Any) -> None:
    """Arguments that are named like secrets, wherever they are."""
    async with site.app.app_context():
        options = {"password": "hunter2", "who": {"api_key": "hunter2", "name": "ada"}, "token": "hunter2"}
        sent_ = await site.tasks.send_task("elsewhere.log_in", kwargs=options)
    page = await site.text(f"/task/{sent_.id}")
    assert "hunter2" not in page
    assert "ada" in page
    assert "hunter2" not in await site.text("/tasks")


@pytest.mark.parametrize("durable", [True, False])
async def test_without_a_ledger_workers_queues_and_schedules_are_shown(make_site: Any, durable: bool) -> None:
    """And jobs by their ids, as Redis keeps them."""
    async with make_site({"TASKS_DURABLE": durable}) as site, worker(site):
        id_ = await sent(site, "app.add", 20, 3)

        async def ended() -> bool:
            record = await site.tasks.runtime(site.app).record(UUID(id_))
            return record is not None and record.state == "SUCCESS"

        await until(ended)
        assert "23" in words(await site.text(f"/task/{id_}"))
        for path in ("/", "/workers", "/queues", "/schedules"):
            await site.text(path)
        await site.text("/tasks", 200 if durable else 503)
        if not durable:
            assert "keeps no ledger" in await site.text("/")
            answer = await site.post(f"/task/{id_}/retry")
            assert answer.headers["Location"].endswith("done=ended")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


async def test_while_redis_is_away_the_ledger_is_shown(make_site: Any, valkey: Server) -> None:
    """What is only in Redis is answered with 503 and Retry-After; nothing is answered with 500, nothing hangs."""
    async with make_site({"REDIS_URL": valkey.url, "REDIS_DEADLINE_S": 0.5}) as site:
        await site.fill()
        token = await site.token()
        await asyncio.to_thread(valkey.kill)
        for path in ("/", "/tasks", f"/task/{sample.FAILED}", f"/task/{sample.PROGRESSING}", "/schedules", "/queues",
                     f"/worker/{sample.WORKER}"):  # fmt: skip
            async with asyncio.timeout(30):
                page = await site.text(path)
            if path in ("/", "/queues"):
                assert "Redis does not answer" in page
        for path in ("/workers", "/api/workers", "/api/queues/length", "/metrics"):
            answer = await site.client.get(f"/jobs{path}")
            assert answer.status_code == 503, path
            assert int(answer.headers["Retry-After"]) >= 1
        await site.text("/api/tasks")
        form = {"monitor_token": token}
        answer = await site.client.post(f"/jobs/worker/{sample.WORKER}/pause", form=form)
        assert answer.status_code == 503
        answer = await site.client.post(f"/jobs/task/{sample.FAILED}/retry", form=form)
        assert answer.status_code == 303
        answer = await site.client.post(f"/jobs/task/{sample.WAITING}/revoke", form=form)
        assert answer.status_code == 303


async def test_while_postgresql_is_away_redis_is_shown(make_site: Any) -> None:
    away = {"TASKS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing?sslmode=disable"}
    async with make_site(away) as site:
        await asyncio.to_thread(_beat, site.redis_url)
        for path in ("/", "/queues", f"/worker/{sample.WORKER}"):
            assert "PostgreSQL does not answer" in await site.text(path), path
        assert sample.WORKER in await site.text("/workers")
        for path in ("/tasks", f"/task/{sample.FAILED}", "/schedules", "/api/tasks", f"/api/task/info/{sample.FAILED}",
                     f"/api/task/result/{sample.FAILED}", "/api/task/types"):  # fmt: skip
            answer = await site.client.get(f"/jobs{path}")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), path
        await site.text("/api/workers")
        token = re.search('name="monitor_token" value="([^"]+)"', await site.text("/workers"))
        assert token
        for path in (f"/task/{sample.FAILED}/retry", f"/task/{sample.FAILED}/abort", "/queues/purge", "/schedules/run"):
            form = {"monitor_token": token[1], "queue": "default", "name": "sum"}
            assert (await site.client.post(f"/jobs{path}", form=form)).status_code == 503, path
        assert (await site.client.post("/jobs/api/task/async-apply/app.add", json={"args": [1, 2]})).status_code == 503


async def test_with_both_away_it_is_all_not_available(make_site: Any, valkey: Server) -> None:
    await asyncio.to_thread(valkey.kill)
    away = {"TASKS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing?sslmode=disable", "REDIS_URL": valkey.url}
    async with make_site(away) as site:
        for path in ("/", "/queues", "/workers", "/tasks", "/schedules", f"/worker/{sample.WORKER}"):
            await site.text(path, 503)
        assert await site.text("/healthcheck") == "OK"


def _beat(redis_url: str) -> None:
    from redis import Redis

    with Redis.from_url(redis_url) as redis:
        sample.beat(redis)


async def test_before_the_tables_are_migrated_that_is_said(make_site: Any) -> None:
    async with make_site() as site:
        async with site.tasks.runtime(site.app).ledger.connection() as connection:
            await connection.execute("DROP TABLE decant_jobs")
        assert "decant_jobs" in await site.text("/tasks", 503)


# -- figures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
async def test_history_has_every_slot_and_loses_nothing(connection: Any, period: Any) -> None:
    """From the first minute of the first slot to now; averages are of attempts."""
    now = datetime(2026, 11, 26, 6, 31, 12, tzinfo=UTC)
    minutes = period.length // timedelta(minutes=1) + 200
    await connection.execute(
        "INSERT INTO decant_stats (minute, task, worker, succeeded, failed, retried, run_s, run_max_s, wait_s)"
        " SELECT date_trunc('minute', $1::timestamptz) - n * interval '1 minute', task, 'w', 2, 1, 1, 8, n, 2"
        " FROM generate_series(0, $2::int) AS n, unnest(ARRAY['a', 'b']) AS task",
        *(now, minutes),
    )
    past = await history(connection, period, now)
    assert len(past.slots) == period.slots
    assert past.slots[-1].start <= now < past.slots[-1].start + period.step
    assert all(
        after.start - before.start == period.step for before, after in zip(past.slots, past.slots[1:], strict=False)
    )
    per_minute = period.step // timedelta(minutes=1)
    assert {slot.succeeded for slot in past.slots[:-1]} == {4 * per_minute}
    assert (past.slots[0].failed, past.slots[0].retried) == (2 * per_minute, 2 * per_minute)
    assert (past.slots[0].run_s, past.slots[0].wait_s) == (2.0, 0.5)
    assert past.total.succeeded == 2 * past.total.failed > 0
    assert (await history(connection, period, now, "other")).total.ended == 0
    busiest = await busiest_tasks(connection, period, now)
    assert [one.task for one in busiest] == ["a", "b"]
    assert sum(one.figures.succeeded for one in busiest) == past.total.succeeded


def test_charts_of_nothing_and_of_much() -> None:
    """Heights are to scale; nothing is drawn outside of the picture."""
    period = PERIODS["1h"]
    starts = [datetime(2026, 11, 26, 6, minute, tzinfo=UTC) for minute in range(60)]
    empty = charts.bars("t", "s", period, starts, [Series("A", "a", [0] * 60)])
    assert "<rect" not in empty
    values = [0.0] * 30 + [1_000_000.0] + [500_000.0] + [1.0] * 28
    drawn = charts.bars("<t>", "s", period, starts, [Series("A", "a", values), Series("B", "b", values)])
    assert "<t>" not in drawn.replace("<title>", "")
    heights = [float(height) for height in re.findall(r'class="a".*?height="([\d.]+)"', drawn)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert min(heights) >= 1
    assert all(float(y) >= 0 for y in re.findall(r' y="([\d.-]+)"', drawn))
    line = charts.lines("t", "s", period, starts, [Series("A", "a", [float("nan")] * 59 + [1.0])], str)
    assert line.count("M") == 1


def test_every_template_is_compiled_before_the_first_request() -> None:
    assert len(environment().list_templates()) == 11


@pytest.mark.parametrize(
    ("home", "link"), [("/", "/below/"), ("/start", "/below/start"), ("https://example.com/a", "https://example.com/a")]
)
async def test_a_link_leads_back_to_the_application(make_site: Any, home: str, link: str) -> None:
    """A path is below the application's root path."""
    async with make_site(home=home) as site:
        page = await (await site.client.get("/below/jobs/workers", root_path="/below")).get_data(as_text=True)
        assert f'href="{link}">Back to the site</a>' in page


async def test_without_a_home_there_is_no_link_back(site: Any) -> None:
    assert "Back to the site" not in await site.text("/workers")
