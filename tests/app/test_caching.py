"""What the pages keep in the cache, and when it is dropped."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from app.extensions import cache, db, link_tag
from app.models import ClickDay, Link
from decant import Quart
from decant.redis import client
from tests.valkey import Server, running
from workers.jobs.clicks import take_batch
from workers.jobs.drain import count, drain

from .conftest import AMPLE_S, Make, Person, text_of
from .proxy import Proxy


@asynccontextmanager
async def statements(app: Quart) -> AsyncIterator[list[str]]:
    """What the application's database is asked meanwhile."""
    async with app.app_context():
        engine = db.engine.sync_engine
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def figures(app: Quart) -> str:
    response = await app.test_client().get("/")
    assert response.status_code == 200
    page = await text_of(response)
    return page.split('class="totals">')[1].split("</p>")[0] if 'class="totals"' in page else ""


async def test_the_front_page_says_how_many_there_are_and_asks_once_a_minute(
    app: Quart, person: Callable[[], Person]
) -> None:
    """Users and links; the database is asked for the first visitor, and the figures are kept for 60 seconds."""
    ada = person()
    await ada.register("ada")
    await ada.link()
    await ada.link("https://example.org/")
    async with statements(app) as asked:
        assert await figures(app) == "1 person has an account here, and 2 links are in use."
        assert len(asked) == 1
        await person().register("grace")
        asked.clear()
        assert await figures(app) == "1 person has an account here, and 2 links are in use."
        assert asked == []
    redis = client(app)
    [key] = [key async for key in redis.scan_iter("shortener:cache:totals*")]
    assert 30 < await redis.ttl(key) <= 60
    await redis.delete(key)
    assert await figures(app) == "2 people have an account here, and 2 links are in use."


async def test_many_first_visitors_ask_the_database_once(app: Quart) -> None:
    """Of fifty at the same time, one computes."""
    async with statements(app) as asked:
        shown = await asyncio.gather(*(figures(app) for _ in range(50)))
    assert set(shown) == {"0 people have an account here, and 0 links are in use."}
    assert len(asked) == 1


async def test_counting_that_takes_too_long_is_tried_once_a_minute(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front page goes without its figures; who comes next does not wait for them again."""
    monkeypatch.setattr("app.stats.totals._DEADLINE_S", 0)
    assert await figures(app) == ""
    monkeypatch.undo()
    async with statements(app) as asked:
        assert await figures(app) == ""
    assert asked == []


async def link_id(app: Quart, slug: str) -> int:
    async with app.app_context():
        found = await db.session.scalar(select(Link.id).where(Link.slug == slug))
        assert found is not None
        return found


async def add_clicks(app: Quart, link: int, clicks: int) -> None:
    """Behind the cache's back."""
    async with app.app_context():
        row = await db.session.get(ClickDay, (link, datetime.now(UTC).date()))
        if row is None:
            db.session.add(ClickDay(link_id=link, day=datetime.now(UTC).date(), clicks=clicks))
        else:
            row.clicks = clicks
        await db.session.commit()


async def clicks_shown(person: Person, slug: str) -> str:
    page = await text_of(await person.get(f"/links/{slug}"))
    figure = page.split("In 30 days</dt><dd>")[1].split("</dd>")[0]
    return re.sub("<[^>]*>", "", figure)


async def test_statistics_are_cached_until_clicks_are_counted(app: Quart, ada: Person) -> None:
    """The page does not ask again, until the worker has counted: then it is right at once, and so is the API."""
    await ada.link(slug="mine")
    link = await link_id(app, "mine")
    assert await clicks_shown(ada, "mine") == "0"
    await add_clicks(app, link, 7)
    async with statements(app) as asked:
        assert await clicks_shown(ada, "mine") == "0"
    assert not [statement for statement in asked if "click_days" in statement]
    assert (await ada.get("/mine")).status_code == 302
    async with app.app_context():
        assert await drain(client(app)) == 1
    assert await clicks_shown(ada, "mine") == "8"
    clicks = await (await ada.get("/api/v1/links/mine/clicks")).get_json()
    assert clicks["total"] == 8


async def test_other_links_stay_cached(app: Quart, ada: Person) -> None:
    """Counting one link's clicks drops nothing of another's."""
    for slug in ("mine", "other"):
        await ada.link(slug=slug)
        assert await clicks_shown(ada, slug) == "0"
    await ada.get("/mine")
    async with app.app_context():
        await drain(client(app))
    async with statements(app) as asked:
        assert await clicks_shown(ada, "other") == "0"
        assert not [statement for statement in asked if "click_days" in statement]
        assert await clicks_shown(ada, "mine") == "1"
        assert [statement for statement in asked if "click_days" in statement]


async def test_an_edit_drops_what_is_cached(app: Quart, ada: Person) -> None:
    """By its tag: the next page is computed."""
    await ada.link(slug="mine")
    link = await link_id(app, "mine")
    assert await clicks_shown(ada, "mine") == "0"
    await add_clicks(app, link, 5)
    await ada.get("/links/mine/edit")
    assert (await ada.post("/links/mine/edit", {"target": "https://example.org/"})).status_code == 303
    assert await clicks_shown(ada, "mine") == "5"


async def test_a_deleted_link_leaves_nothing_valid_in_the_cache(app: Quart, ada: Person) -> None:
    """Its tag has another version afterwards."""
    await ada.link(slug="mine")
    link = await link_id(app, "mine")
    assert await clicks_shown(ada, "mine") == "0"
    async with app.app_context():
        before = await cache.get(f"_decant_tag_{link_tag(link)}")
    await ada.get("/links/mine/delete")
    assert (await ada.post("/links/mine/delete")).status_code == 303
    async with app.app_context():
        assert before is not None
        assert await cache.get(f"_decant_tag_{link_tag(link)}") not in (None, before)


async def test_a_worker_that_died_before_it_could_say_so(app: Quart, ada: Person) -> None:
    """Clicks that were counted by a worker which then died are shown as soon as the next one removes their batch."""
    await ada.link(slug="mine")
    await ada.get("/mine")
    assert await clicks_shown(ada, "mine") == "0"
    async with app.app_context():
        batch = await take_batch(client(app))
        assert batch is not None
        assert await count(batch) == 1  # and here it dies
        assert await clicks_shown(ada, "mine") == "0"
        await drain(client(app))
    assert await clicks_shown(ada, "mine") == "1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


async def test_without_redis_the_pages_compute(make: Make, server: Server) -> None:
    """Front page, statistics, editing and deleting work; what they show is not a minute old."""
    app = await make(REDIS_URL=server.url, REDIS_BREAKER_RESET_S=0.1)
    ada = Person(app.test_client())
    await ada.register("ada")
    await ada.link(slug="mine")
    link = await link_id(app, "mine")
    assert await clicks_shown(ada, "mine") == "0"
    assert (await figures(app)).startswith("1 person")
    await asyncio.to_thread(server.kill)
    await add_clicks(app, link, 3)
    assert await clicks_shown(ada, "mine") == "3"
    assert (await figures(app)).startswith("1 person has an account here, and 1 link is")
    await ada.get("/links/mine/edit")
    assert (await ada.post("/links/mine/edit", {"target": "https://example.org/"})).status_code == 303
    await ada.get("/links/mine/delete")
    assert (await ada.post("/links/mine/delete")).status_code == 303
    assert (await figures(app)).endswith("0 links are in use.")


async def test_without_the_database_the_front_page_has_no_figures(
    make: Make, app_database_url: str, redis_url: str
) -> None:
    """It is shown soon all the same, and that there are none is not cached."""
    proxy = Proxy.to_database(app_database_url)
    await proxy.start()
    name = app_database_url.partition("?")[0].rpartition("/")[2]
    app = await make(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}?ssl=disable")
    await proxy.stop()
    async with asyncio.timeout(AMPLE_S):
        assert await figures(app) == ""
    await proxy.start()
    async with asyncio.timeout(30):
        while not await figures(app):
            await asyncio.sleep(0.1)
    assert (await figures(app)).startswith("0 people")
    await proxy.stop()
