"""GET /<slug> while Redis, PostgreSQL or both are away, and when they come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event, select, update

from app.extensions import db
from app.models import ClickDay, Link, User
from app.redirects import outbox as outbox_module
from app.redirects import rows
from app.redirects.outbox import Outbox
from decant import Quart
from decant.errors import RedisUnavailable
from decant.redis import Redis, client
from tests.valkey import Server, running
from workers.jobs.drain import drain

from .conftest import AMPLE_S, in_service
from .proxy import Proxy

GIVING_UP_S = 2.0  # that SQLAlchemy takes to close a connection which hangs
SLACK_S = 20.0  # for a busy machine; without deadlines nothing would end at all, or only with asyncpg's own 30 s
FAST = {"REDIS_BREAKER_RESET_S": 0.1}
HASTY = {**FAST, "REDIS_DEADLINE_S": 1.0}  # where Redis is frozen, and each visit waits for so long


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


@pytest.fixture
async def app(make: Any, server: Server) -> Quart:
    """The application on a Redis of its own."""
    app: Quart = await make(REDIS_URL=server.url, **FAST)
    return app


@pytest.fixture
async def hasty_app(make: Any, server: Server) -> Quart:
    """The same, which waits for a second."""
    app: Quart = await make(REDIS_URL=server.url, **HASTY)
    return app


@pytest.fixture
async def database(app_database_url: str) -> AsyncIterator[Proxy]:
    """The way to the database, to be closed."""
    proxy = Proxy.to_database(app_database_url)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def far_app(make: Any, server: Server, database: Proxy, app_database_url: str) -> Quart:
    """The application on a Redis of its own, and on a database behind ``database``."""
    name = urlsplit(app_database_url).path
    url = f"postgresql://postgres@127.0.0.1:{database.port}{name}?ssl=disable"
    app: Quart = await make(REDIS_URL=server.url, DATABASE_URL=url, **FAST)
    return app


async def add_link(app: Quart, slug: str, **fields: Any) -> int:
    async with app.app_context():
        owner = User(username=f"owner-{slug}", password_hash="-")
        db.session.add(owner)
        await db.session.flush()
        link = Link(owner_id=owner.id, slug=slug, **{"target": "https://example.com/", **fields})
        db.session.add(link)
        await db.session.commit()
        return link.id


async def counted(app: Quart, link_id: int) -> tuple[int, int]:
    async with app.app_context():
        await drain(client(app, deadline_s=AMPLE_S))
        visits = await db.session.scalar(select(Link.visits).where(Link.id == link_id))
        days = (await db.session.scalars(select(ClickDay.clicks).where(ClickDay.link_id == link_id))).all()
        return visits or 0, sum(days)


async def follow(app: Quart, slug: str) -> Any:
    return await app.test_client().get(f"/{slug}")


async def codes_of(app: Quart, slug: str, visits: int) -> list[int]:
    responses = await asyncio.gather(*(follow(app, slug) for _ in range(visits)))
    return sorted(response.status_code for response in responses)


async def pushed(app: Quart) -> None:
    """Until the application has told Redis everything, and asks it again."""
    async with asyncio.timeout(AMPLE_S):
        while app.extensions["redirects"].outbox.waiting:
            await asyncio.sleep(0.02)
        while True:
            with suppress(RedisUnavailable):
                await client(app, deadline_s=AMPLE_S).ping()
                return
            await asyncio.sleep(0.02)


def metric(name: str) -> float:
    [found] = REGISTRY.restricted_registry([name]).collect()
    return float(found.samples[0].value)


async def test_without_redis_the_database_answers(app: Quart, server: Server) -> None:
    """302, 410 and 404 as ever; the clicks are kept and pushed when Redis is back, each once."""
    identity = await add_link(app, "abc")
    await add_link(app, "used", max_visits=1, visits=1)
    assert await codes_of(app, "abc", 10) == [302] * 10
    assert await counted(app, identity) == (10, 10)
    await asyncio.to_thread(server.kill)
    assert await codes_of(app, "abc", 40) == [302] * 40
    assert await codes_of(app, "used", 1) == [410]
    assert await codes_of(app, "nobody", 1) == [404]
    assert app.extensions["redirects"].outbox.waiting == 40
    assert metric("shortener_clicks_waiting") >= 40
    await asyncio.to_thread(server.start)
    await pushed(app)
    assert await counted(app, identity) == (50, 50)


async def test_the_limit_holds_without_redis(app: Quart, server: Server) -> None:
    """The database counts the visits of limited links itself: exactly as many get through as are left."""
    identity = await add_link(app, "abc", max_visits=30)
    assert await codes_of(app, "abc", 10) == [302] * 10
    assert await counted(app, identity) == (10, 10)
    await asyncio.to_thread(server.kill)
    assert await codes_of(app, "abc", 100) == [302] * 20 + [410] * 80
    await asyncio.to_thread(server.start)
    await pushed(app)
    assert await counted(app, identity) == (30, 30)
    assert await codes_of(app, "abc", 5) == [410] * 5


async def test_a_limited_visit_without_redis_is_one_statement(app: Quart, server: Server) -> None:
    """Besides the look-up: visits of one link queue for its row, so none holds it while it waits for an answer."""
    await add_link(app, "abc", max_visits=3)
    await asyncio.to_thread(server.kill)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    async with app.app_context():
        event.listen(db.engine.sync_engine, "before_cursor_execute", note)
        assert await codes_of(app, "abc", 1) == [302]
        event.remove(db.engine.sync_engine, "before_cursor_execute", note)
    assert statements == ["SELECT", "WITH"]


async def test_visits_without_redis_count_when_it_is_back(hasty_app: Quart, server: Server) -> None:
    """A cached link whose visits the database counted in the meantime is looked up anew."""
    app = hasty_app
    identity = await add_link(app, "abc", max_visits=5)
    assert await codes_of(app, "abc", 1) == [302]
    server.freeze()
    assert await codes_of(app, "abc", 1) == [302]
    assert await codes_of(app, "abc", 1) == [302]
    server.thaw()
    async with asyncio.timeout(30):
        while app.extensions["redirects"].outbox._slugs:
            await asyncio.sleep(0.02)
    later = await codes_of(app, "abc", 5)
    assert later.count(302) <= 2, "2 or less: one whose answer was lost may have been counted twice"
    assert await counted(app, identity) == (5, 5)


async def test_a_frozen_redis(hasty_app: Quart, server: Server) -> None:
    """Each visit is answered within the deadline and what the database takes; no click is counted twice."""
    app = hasty_app
    identity = await add_link(app, "abc")
    before = metric("shortener_clicks_uncertain_total")
    assert await codes_of(app, "abc", 1) == [302]
    server.freeze()
    async with asyncio.timeout(HASTY["REDIS_DEADLINE_S"] + SLACK_S):
        assert await codes_of(app, "abc", 50) == [302] * 50
    assert await codes_of(app, "abc", 50) == [302] * 50
    uncertain = metric("shortener_clicks_uncertain_total") - before
    server.thaw()
    await pushed(app)
    visits, clicks = await counted(app, identity)
    assert visits == clicks
    assert 101 - uncertain <= clicks <= 101


async def test_a_push_whose_answer_is_lost(make: Any, server: Server) -> None:
    """It is made again, and counted once."""
    proxy = Proxy.to_port(server.port)
    await proxy.start()
    app = await make(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **FAST)
    identity = await add_link(app, "abc")
    await asyncio.to_thread(server.kill)
    with pytest.raises(RedisUnavailable):  # so that no visit is sent on Socket.IO's connection, to an unknown end
        await client(app).ping()
    assert await codes_of(app, "abc", 7) == [302] * 7
    proxy.losing = b"\r\nEVAL\r\n"  # the script's source, which the server does not know yet
    await asyncio.to_thread(server.start)
    await pushed(app)
    assert proxy.losing is None, "the answer was lost"
    assert await counted(app, identity) == (7, 7)
    await proxy.stop()


async def test_an_edit_while_redis_is_away(hasty_app: Quart, server: Server) -> None:
    """The cached link is dropped when Redis is back."""
    app = hasty_app
    identity = await add_link(app, "abc", target="https://example.com/old")
    await follow(app, "abc")
    server.freeze()
    redirects = app.extensions["redirects"]
    async with app.app_context(), redirects.changing("abc"):
        await db.session.execute(update(Link).where(Link.id == identity).values(target="https://example.com/new"))
        await db.session.commit()
    assert (await follow(app, "abc")).headers["Location"] == "https://example.com/new"
    server.thaw()
    async with asyncio.timeout(30):
        while redirects.outbox._slugs:
            await asyncio.sleep(0.02)
        while redirects._redis.degraded:
            await follow(app, "abc")
    assert (await follow(app, "abc")).headers["Location"] == "https://example.com/new"


async def test_what_is_kept_is_bounded(app: Quart, server: Server) -> None:
    """Clicks of more links than fit are dropped and counted as dropped; more clicks of a link that fits are kept."""
    redis: Redis = client(app)
    outbox = Outbox(redis, 3)
    before = metric("shortener_clicks_dropped_total")
    for link in (1, 2, 3, 4, 5, 1, 1):
        outbox.click(link)
    for slug in "abcdef":
        outbox.forget(slug)
    assert outbox.waiting == 5
    assert metric("shortener_clicks_dropped_total") - before == 2
    await outbox.flush()
    assert outbox.waiting == 0
    [batch] = await redis.keys("shortener:clicks:batch:*")
    fields: Any = await redis.hgetall(batch)
    assert {key: int(value) for key, value in fields.items() if b":" not in key} == {b"1": 3, b"2": 1, b"3": 1}


async def test_a_flush_that_fails_keeps_everything(app: Quart, server: Server) -> None:
    """Nothing is lost, and nothing is pushed twice, however often it fails."""
    redis: Redis = client(app)
    outbox = Outbox(redis, 10)
    outbox.click(1)
    outbox.forget("abc")
    await asyncio.to_thread(server.kill)
    for _ in range(3):
        with pytest.raises(RedisUnavailable):
            await outbox.flush()
        outbox.click(1)
    assert outbox.waiting == 4
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(30):
        while outbox.waiting:
            try:
                await outbox.flush()
            except RedisUnavailable:
                await asyncio.sleep(0.05)
    [batch] = await redis.keys("shortener:clicks:batch:*")
    assert await redis.hget(batch, "1") == b"4"


async def test_a_click_during_a_flush_is_pushed(app: Quart, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A click that comes while Redis is told of changed links does not wait for the next one."""
    redis: Redis = client(app)
    outbox = Outbox(redis, 10)
    delete = redis.delete

    async def delete_slowly(*keys: str) -> int:
        outbox.click(1)
        count: int = await delete(*keys)
        return count

    monkeypatch.setattr(redis, "delete", delete_slowly)
    outbox.start()
    outbox.forget("abc")
    try:
        async with asyncio.timeout(30):
            while outbox._slugs or outbox.waiting or not await redis.exists("shortener:clicks:queue"):
                await asyncio.sleep(0.01)
    finally:
        await outbox.aclose()


async def test_the_end_of_the_application_pushes(
    settings: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept in memory when the application stops serving reaches Redis if it is there."""
    from app import create_app

    monkeypatch.setattr(outbox_module, "_CLOSE_S", AMPLE_S)
    app = await asyncio.to_thread(create_app, {**settings, "REDIS_URL": server.url, "REDIS_BREAKER_FAILURES": 1})
    async with in_service(app):
        identity = await add_link(app, "abc")
        await asyncio.to_thread(server.kill)
        assert await codes_of(app, "abc", 3) == [302] * 3
        await asyncio.to_thread(server.start)
    async with in_service(app):
        assert await counted(app, identity) == (3, 3)


async def test_without_the_database(far_app: Quart, database: Proxy) -> None:
    """Cached links go on, and clicks are kept; everything else is 503 with Retry-After; later all is well."""
    identity = await add_link(far_app, "cached")
    await add_link(far_app, "cold")
    assert await codes_of(far_app, "cached", 1) == [302]
    assert await codes_of(far_app, "nobody", 1) == [404]
    await database.stop()
    assert await codes_of(far_app, "cached", 20) == [302] * 20
    assert await codes_of(far_app, "nobody", 1) == [404], "known as unknown, and its page needs no database"
    response = await follow(far_app, "cold")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    await database.start()
    assert await codes_of(far_app, "cold", 3) == [302] * 3
    assert await counted(far_app, identity) == (21, 21)


async def test_a_hung_database(far_app: Quart, database: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs it is 503 in time; cached links do not notice."""
    await add_link(far_app, "cached")
    assert await codes_of(far_app, "cached", 1) == [302]
    database.flowing.clear()
    with monkeypatch.context() as hasty:
        hasty.setattr(rows, "DEADLINE_S", 2.0)
        cold = asyncio.create_task(codes_of(far_app, "cold", 30))
        await asyncio.sleep(0)
        assert await codes_of(far_app, "cached", 3) == [302] * 3
        assert not cold.done(), "cached links have not waited for what the others wait for"
        async with asyncio.timeout(rows.DEADLINE_S + GIVING_UP_S + SLACK_S):
            assert await cold == [503] * 30
    database.flowing.set()
    assert await codes_of(far_app, "cold", 1) == [404]


async def test_without_both(far_app: Quart, database: Proxy, server: Server) -> None:
    """503 with Retry-After, at once."""
    await add_link(far_app, "abc")
    await codes_of(far_app, "abc", 1)
    await database.stop()
    await asyncio.to_thread(server.kill)
    response = await follow(far_app, "abc")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    await database.start()
    assert await codes_of(far_app, "abc", 1) == [302]
