"""Pages of jobs: complete, in order, without repetition; where not all rows were looked at, that is said."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from decant.monitor import listing
from decant.monitor.filters import Cursor, JobFilter
from decant.monitor.listing import Page, find, sort_newest
from decant.monitor.searching import SearchError

from .conftest import HISTORY

COUNT = 500


@pytest.fixture
async def jobs(connection: Any) -> Any:
    """A ledger of 500 jobs."""
    await connection.execute(HISTORY.format(rows=COUNT, waiting=10))
    return connection


async def _forth(connection: Any, wanted: JobFilter, size: int) -> list[Page]:
    pages = [await find(connection, wanted, size=size)]
    while pages[-1].older is not None:
        pages.append(await find(connection, wanted, size=size, before=pages[-1].older))
    return pages


@pytest.mark.parametrize("size", [1, 7, 50, 500, 501])
async def test_forth_and_back_every_job_is_on_one_page(jobs: Any, size: int) -> None:
    """Also those that were made in the same microsecond."""
    await jobs.execute("UPDATE decant_jobs SET created = date_trunc('minute', created)")
    expected = [row["id"] for row in await jobs.fetch("SELECT id FROM decant_jobs ORDER BY created DESC, id DESC")]
    if size == 1:
        expected = expected[:20]
        await jobs.execute("DELETE FROM decant_jobs WHERE NOT id = ANY($1)", expected)
    pages = await _forth(jobs, JobFilter(), size)
    assert [row["id"] for page in pages for row in page.rows] == expected
    assert pages[0].newer is None
    back = [pages[-1]]
    while back[-1].newer is not None:
        back.append(await find(jobs, JobFilter(), size=size, after=back[-1].newer))
    back.reverse()
    assert [row["id"] for page in back for row in page.rows] == expected


@pytest.mark.parametrize(
    ("wanted", "sql"),
    [
        (JobFilter(state="FAILURE"), "state = 'FAILURE'"),
        (JobFilter(state="SUCCESS"), "state = 'SUCCESS'"),
        (JobFilter(task="app.task3"), "task = 'app.task3'"),
        (JobFilter(worker="web1:1:ab"), "worker = 'web1:1:ab'"),
        (JobFilter(queue="slow"), "queue = 'slow'"),
        (JobFilter(state="SUCCESS", queue="slow", worker="web2:1:ab"),
         "state = 'SUCCESS' AND queue = 'slow' AND worker = 'web2:1:ab'"),
        (JobFilter(text="user=11"), "summary LIKE '%user=11%'"),
        (JobFilter(task="app.task3", text="user=11"), "task = 'app.task3' AND summary LIKE '%user=11%'"),
    ],
)  # fmt: skip
async def test_a_filter_finds_exactly_what_it_asks_for(jobs: Any, wanted: JobFilter, sql: str) -> None:
    expected = await jobs.fetch(f"SELECT id FROM decant_jobs WHERE {sql} ORDER BY created DESC, id DESC")
    assert expected
    pages = await _forth(jobs, wanted, 9)
    assert [row["id"] for page in pages for row in page.rows] == [row["id"] for row in expected]
    assert not any(page.cut for page in pages)


async def test_a_range_of_time_has_its_begin_and_not_its_end(jobs: Any) -> None:
    times = [row["created"] for row in await jobs.fetch("SELECT created FROM decant_jobs ORDER BY created")]
    page = await find(jobs, JobFilter(since=times[10], until=times[20]))
    assert [row["created"] for row in page.rows] == times[19:9:-1]


async def test_beyond_the_window_a_search_says_so_and_leads_on(jobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rarest job is found all the same, page after page, and so it is on the way back."""
    monkeypatch.setattr(listing, "WINDOW", 100)
    wanted = JobFilter(text='"user=450"')
    pages = await _forth(jobs, wanted, 50)
    assert [len(page.rows) for page in pages] == [0, 0, 0, 0, 1, 0] or [len(p.rows) for p in pages] == [0, 0, 0, 0, 1]
    assert [page.cut for page in pages[:4]] == [True] * 4
    back = [await find(jobs, wanted, after=Cursor(datetime.now(UTC) - timedelta(days=1), uuid.UUID(int=0)))]
    while back[-1].newer is not None:
        back.append(await find(jobs, wanted, after=back[-1].newer))
    assert sum(len(page.rows) for page in back) == 1


@pytest.mark.parametrize(("window", "counts"), [(60, [17]), (30, [10, 7])])
async def test_the_index_is_used_that_has_the_fewest_rows_of_them(
    jobs: Any, monkeypatch: pytest.MonkeyPatch, window: int, counts: list[int]
) -> None:
    """A third of the jobs are the worker's and a tenth are in the queue, so the queue's rows reach back farther."""
    monkeypatch.setattr(listing, "WINDOW", window)
    wanted = JobFilter(worker="web1:1:ab", queue="slow")
    pages = await _forth(jobs, wanted, 50)
    assert [len(page.rows) for page in pages] == counts
    assert [page.cut for page in pages] == [True] * (len(counts) - 1) + [False]
    oldest = Cursor(datetime.now(UTC) - timedelta(days=1), uuid.UUID(int=0))
    back = await find(jobs, wanted, after=oldest)
    assert len(back.rows) == counts[0]
    assert (back.newer is not None) is (len(counts) > 1)
    found = await sort_newest(jobs, wanted, sort_by="name", descending=False, limit=50, offset=0)
    assert len(found) == counts[0]


async def test_a_full_page_is_not_cut(jobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its rows before the window ends; the next one begins after them."""
    monkeypatch.setattr(listing, "WINDOW", 100)
    page = await find(jobs, JobFilter(text="user"), size=50)
    assert (len(page.rows), page.cut) == (50, False)


@pytest.mark.parametrize("column", ["name", "state", "received", "started"])
@pytest.mark.parametrize("descending", [True, False])
async def test_sorting_as_flower_does(jobs: Any, column: str, descending: bool) -> None:
    field = {"name": "task", "received": "created"}.get(column, column)
    rows = await sort_newest(jobs, JobFilter(), sort_by=column, descending=descending, limit=1000, offset=0)
    assert len(rows) == COUNT
    assert [row[field] for row in rows] == sorted((row[field] for row in rows), reverse=descending)
    part = await sort_newest(jobs, JobFilter(), sort_by="received", descending=True, limit=5, offset=7)
    newest = await find(jobs, JobFilter(), size=12)
    assert [row["id"] for row in part] == [row["id"] for row in newest.rows[7:]]


def test_a_cursor_comes_back_as_it_was() -> None:
    cursor = Cursor(datetime(2026, 11, 26, 6, 30, 1, 123457, tzinfo=UTC), uuid.uuid4())
    assert Cursor.read(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", "12", "12.", "zz.00", f"{'f' * 40}.{uuid.UUID(int=1).hex}", "1.\0"])
def test_a_broken_cursor_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="incomplete"):
        Cursor.read(text)


@pytest.mark.parametrize(
    "given", [{"state": "DONE"}, {"since": "yesterday"}, {"until": "2026-13-01"}, {"task": "x" * 301}]
)
def test_a_filter_that_means_nothing_says_so(given: dict[str, str]) -> None:
    with pytest.raises(SearchError):
        JobFilter.read(given)


def test_a_filter_comes_back_from_its_parameters() -> None:
    given = {
        "state": "failure",
        "task": " app.x ",
        "since": "2026-11-26T06:30",
        "text": "a b",
        "queue": "",
        "other": "1",
    }
    wanted = JobFilter.read(given)
    assert (wanted.state, wanted.task, wanted.since) == ("FAILURE", "app.x", datetime(2026, 11, 26, 6, 30, tzinfo=UTC))
    assert JobFilter.read(wanted.parameters()) == wanted
