"""GET /<slug>, on real servers: where it leads, what it counts, what is cached and when that is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event, select, update

from app.extensions import db
from app.models import ClickDay, Link, User
from app.redirects.flights import Flights
from app.redirects.keys import SLOTS, keys_of
from app.redirects.rows import find_row
from decant import Quart
from decant.redis import Redis, client
from workers.jobs.drain import drain


class Queries(list[str]):
    """The statements that an application's database has been sent."""


@asynccontextmanager
async def queries_of(app: Quart) -> AsyncIterator[Queries]:
    async with app.app_context():
        engine = db.engine.sync_engine
    queries = Queries()

    def seen(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        queries.append(statement)

    event.listen(engine, "before_cursor_execute", seen)
    try:
        yield queries
    finally:
        event.remove(engine, "before_cursor_execute", seen)


@pytest.fixture
async def redis(app: Quart) -> Redis:
    """The application's own client, on an empty database."""
    redis = client(app)
    await redis.flushdb()
    return redis


async def add_link(app: Quart, slug: str, **fields: Any) -> int:
    """A link straight in the database, as of before the application was started; its id."""
    async with app.app_context():
        owner = await db.session.scalar(select(User).where(User.username == "owner"))
        if owner is None:
            owner = User(username="owner", password_hash="-")
            db.session.add(owner)
            await db.session.flush()
        link = Link(owner_id=owner.id, slug=slug, **{"target": "https://example.com/", **fields})
        db.session.add(link)
        await db.session.commit()
        return link.id


async def counted(app: Quart, link_id: int) -> tuple[int, int]:
    """After draining: ``links.visits`` and the sum of ``click_days``."""
    async with app.app_context():
        await drain(client(app))
        visits = await db.session.scalar(select(Link.visits).where(Link.id == link_id))
        days = (await db.session.scalars(select(ClickDay.clicks).where(ClickDay.link_id == link_id))).all()
        return visits or 0, sum(days)


async def follow(app: Quart, slug: str, method: str = "GET") -> Any:
    return await app.test_client().open(f"/{slug}", method=method)


async def test_it_leads_to_the_target(app: Quart, redis: Redis) -> None:
    """302 with the target as it was given, never cached."""
    await add_link(app, "abc", target="https://example.com/a?b=%C3%A9&c=1#d")
    response = await follow(app, "abc")
    assert response.status_code == 302
    assert response.headers["Location"] == "https://example.com/a?b=%C3%A9&c=1#d"
    assert response.headers["Cache-Control"] == "private, no-store"


async def test_a_hit_never_asks_the_database(app: Quart, redis: Redis) -> None:
    """The first visit asks it once, the next hundred do not, with a session cookie either."""
    await add_link(app, "abc")
    browser = app.test_client()
    async with browser.session_transaction() as session:
        session["user_id"], session["epoch"] = 1, 0
    async with queries_of(app) as queries:
        assert (await browser.get("/abc")).status_code == 302
        assert len(queries) == 1
        for _ in range(100):
            assert (await browser.get("/abc")).status_code == 302
        assert len(queries) == 1


async def test_one_round_trip_per_visit(app: Quart, redis: Redis) -> None:
    """A hit is one command to Redis: look-up, limit and click together."""
    names = ["decant_redis_commands_total", "decant_redis_batches_total"]

    def sent() -> list[float]:
        return [metric.samples[0].value for metric in REGISTRY.restricted_registry(names).collect()]

    await add_link(app, "abc", max_visits=10)
    await follow(app, "abc")
    before = sent()
    await follow(app, "abc")
    assert [after - count for after, count in zip(sent(), before, strict=True)] == [1, 1]


async def test_clicks_reach_the_database(app: Quart, redis: Redis) -> None:
    """Each GET is a click of today, in UTC, of its own link."""
    ids = [await add_link(app, slug) for slug in ("one", "two")]
    days = {datetime.now(UTC).date()}
    await asyncio.gather(*(follow(app, "one") for _ in range(30)), *(follow(app, "two") for _ in range(12)))
    days.add(datetime.now(UTC).date())
    assert await counted(app, ids[0]) == (30, 30)
    assert await counted(app, ids[1]) == (12, 12)
    async with app.app_context():
        assert set(await db.session.scalars(select(ClickDay.day))) <= days


async def test_head_is_no_visit(app: Quart, redis: Redis) -> None:
    """It answers as GET does, counts nothing and uses up nothing."""
    identity = await add_link(app, "abc", max_visits=1)
    for _ in range(3):
        assert (await follow(app, "abc", "HEAD")).status_code == 302
    assert (await follow(app, "abc")).status_code == 302
    assert (await follow(app, "abc", "HEAD")).status_code == 410
    assert await counted(app, identity) == (1, 1)


async def test_what_is_unknown(app: Quart, redis: Redis) -> None:
    """404, as a page or as a problem, and the database is asked once a minute."""
    async with queries_of(app) as queries:
        for _ in range(3):
            assert (await follow(app, "nobody")).status_code == 404
        assert len(queries) == 1
    response = await app.test_client().get("/nobody", headers={"Accept": "application/json"})
    assert (await response.get_json())["status"] == 404
    assert (await app.test_client().post("/nobody")).status_code in (400, 405)


async def test_unknown_slugs_are_bounded(app: Quart, redis: Redis) -> None:
    """However many are asked for, they share a fixed number of slots, and each is right all the same."""
    slugs = [f"nobody{number}" for number in range(100)]
    answers = await asyncio.gather(*(follow(app, slug) for slug in slugs))
    assert {answer.status_code for answer in answers} == {404}
    assert await redis.dbsize() == len({keys_of(slug)[2] for slug in slugs})
    assert all(int(keys_of(f"x{number}")[2].rpartition(":")[2]) < SLOTS for number in range(1000))
    assert 0 < await redis.ttl(keys_of("nobody1")[2]) <= 60
    await add_link(app, "known")
    await redis.set(keys_of("known")[2], "another")  # whose slot it is as well
    assert (await follow(app, "known")).status_code == 302


async def followed_while_it_lasted(app: Quart) -> tuple[str, int, datetime]:
    """A link that expires soon: so soon as this machine can follow it before."""
    for lasts_s in (1, 4, 16, 64):
        slug, expires_at = f"lasts-{lasts_s}", datetime.now(UTC) + timedelta(seconds=lasts_s)
        identity = await add_link(app, slug, expires_at=expires_at)
        if (await follow(app, slug)).status_code == 302:
            return slug, identity, expires_at
    raise AssertionError("it had expired from the beginning")


async def test_expired(app: Quart, redis: Redis) -> None:
    """410 from the moment on, also when the link is cached; such a visit is no click."""
    slug, identity, expires_at = await followed_while_it_lasted(app)
    await asyncio.sleep((expires_at - datetime.now(UTC)).total_seconds() + 0.01)
    async with queries_of(app) as queries:
        assert (await follow(app, slug)).status_code == 410
        assert queries == []
    assert await counted(app, identity) == (1, 1)
    await add_link(app, "old", expires_at=datetime.now(UTC) - timedelta(days=1))
    assert (await follow(app, "old")).status_code == 410


@pytest.mark.parametrize("limit", [1, 37])
async def test_the_limit_of_visits_is_exact(app: Quart, redis: Redis, limit: int) -> None:
    """Of 200 visits at once exactly as many get through as are left, from a cold cache."""
    identity = await add_link(app, "abc", max_visits=limit + 5, visits=5)
    responses = await asyncio.gather(*(follow(app, "abc") for _ in range(200)))
    assert sorted(response.status_code for response in responses) == [302] * limit + [410] * (200 - limit)
    assert await counted(app, identity) == (limit + 5, limit)


async def test_the_limit_holds_across_processes(make: Any, redis_url: str) -> None:
    """Two applications, as two processes would, on one Redis and one database."""
    one, two = await make(), await make()
    await client(one).flushdb()
    identity = await add_link(one, "abc", max_visits=50)
    responses = await asyncio.gather(*(follow(app, "abc") for _ in range(100) for app in (one, two)))
    assert sum(response.status_code == 302 for response in responses) == 50
    assert await counted(one, identity) == (50, 50)


async def test_the_limit_while_clicks_are_drained_and_the_cache_forgets(app: Quart, redis: Redis) -> None:
    """Visits that are in Redis, being counted or in the database are each counted once towards the limit."""
    identity = await add_link(app, "abc", max_visits=300)
    codes: list[int] = []

    async def visit() -> None:
        codes.append((await follow(app, "abc")).status_code)

    async def disturb() -> None:
        for number in range(40):
            await asyncio.sleep(0.005)
            if number % 2:
                await redis.delete(keys_of("abc")[0])  # evicted, or its time was over
            else:
                async with app.app_context():
                    await drain(redis)

    disturbing = asyncio.create_task(disturb())
    for _ in range(20):
        await asyncio.gather(*(visit() for _ in range(25)))
    await disturbing
    assert (codes.count(302), codes.count(410)) == (300, 200)
    assert await counted(app, identity) == (300, 300)


async def test_a_limit_given_later_counts_the_visits_before(app: Quart, redis: Redis) -> None:
    """Also those that the database does not know yet."""
    identity = await add_link(app, "abc")
    await asyncio.gather(*(follow(app, "abc") for _ in range(8)))
    redirects = app.extensions["redirects"]
    async with app.app_context(), redirects.changing("abc"):
        await db.session.execute(update(Link).where(Link.id == identity).values(max_visits=10))
        await db.session.commit()
    codes = [(await follow(app, "abc")).status_code for _ in range(4)]
    assert codes == [302, 302, 410, 410]


async def test_many_ask_once(app: Quart, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 visits of a link that is not cached ask the database once; so do 200 of one that does not exist."""
    await add_link(app, "abc")
    asked, join = 0, Flights.join

    async def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await join(*args)

    async def answered_late(*args: Any) -> Any:
        while asked % 200:  # the others would come later than the answer, and ask again
            await asyncio.sleep(0)
        return await find_row(*args)

    monkeypatch.setattr(Flights, "join", counted)
    monkeypatch.setattr("app.redirects.service.find_row", answered_late)
    async with queries_of(app) as queries:
        responses = await asyncio.gather(*(follow(app, "abc") for _ in range(200)))
        assert {response.status_code for response in responses} == {302}
        assert len(queries) == 1
        await asyncio.gather(*(follow(app, "nobody") for _ in range(200)))
        assert len(queries) == 2


async def test_a_visitor_who_leaves_does_not_take_the_others_along(app: Quart, redis: Redis) -> None:
    """The one whose request began the look-up is cancelled; the rest get their answer."""
    await add_link(app, "abc")
    visits = [asyncio.create_task(follow(app, "abc")) for _ in range(10)]
    async with queries_of(app) as queries:
        while not queries:
            await asyncio.sleep(0)
        visits[0].cancel()
        await asyncio.wait(visits)
        assert {visit.result().status_code for visit in visits[1:] if not visit.cancelled()} == {302}
        assert len(queries) == 1


async def test_edited_and_deleted_by_its_owner(app: Quart, redis: Redis, ada: Any) -> None:
    """The next visit goes to the new target, then to none, then to the new link of the same name."""
    visitor = app.test_client()
    assert (await visitor.get("/mine")).status_code == 404
    await ada.link("https://example.com/1", slug="mine")
    assert (await visitor.get("/mine")).headers["Location"] == "https://example.com/1"
    await ada.get("/links/mine/edit")
    await ada.post("/links/mine/edit", {"target": "https://example.com/2"})
    assert (await visitor.get("/mine")).headers["Location"] == "https://example.com/2"
    await ada.get("/links/mine/delete")
    await ada.post("/links/mine/delete")
    assert (await visitor.get("/mine")).status_code == 404
    await ada.link("https://example.com/3", slug="mine")
    assert (await visitor.get("/mine")).headers["Location"] == "https://example.com/3"


async def test_an_edit_during_a_look_up(app: Quart, redis: Redis) -> None:
    """What was read before an edit is not kept after it, in whatever order the two arrive."""
    identity = await add_link(app, "abc", target="https://example.com/0")
    redirects = app.extensions["redirects"]
    for number in range(1, 30):
        target = f"https://example.com/{number}"
        await redis.delete(keys_of("abc")[0])
        visits = [asyncio.create_task(follow(app, "abc")) for _ in range(5)]
        for _ in range(number):
            await asyncio.sleep(0)
        async with app.app_context(), redirects.changing("abc"):
            await db.session.execute(update(Link).where(Link.id == identity).values(target=target))
            await db.session.commit()
        await asyncio.gather(*visits)
        assert (await follow(app, "abc")).headers["Location"] == target


async def test_a_change_whose_client_has_gone(app: Quart, redis: Redis) -> None:
    """A request that is cancelled at its commit still has the cached link dropped."""
    await add_link(app, "abc")
    await follow(app, "abc")
    redirects = app.extensions["redirects"]
    committing = asyncio.Event()

    async def change() -> None:
        async with redirects.changing("abc"):
            committing.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(change())
    await committing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await redis.exists(keys_of("abc")[0])


async def test_a_click_of_a_deleted_link(app: Quart, redis: Redis) -> None:
    """It is dropped with the link, and the other clicks of its batch are counted."""
    gone, stays = await add_link(app, "gone"), await add_link(app, "stays")
    await asyncio.gather(follow(app, "gone"), follow(app, "stays"))
    async with app.app_context():
        await db.session.delete(await db.session.get_one(Link, gone))
        await db.session.commit()
    assert await counted(app, stays) == (1, 1)
    assert await counted(app, gone) == (0, 0)


async def test_full_batches(app: Quart, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clicks of many links are kept in several batches, and all are counted."""
    monkeypatch.setattr("app.redirects.service.MAX_FIELDS", 6)
    ids = [await add_link(app, f"link{number}") for number in range(10)]
    await asyncio.gather(*(follow(app, f"link{number}") for number in range(10) for _ in range(3)))
    assert await redis.llen("shortener:clicks:queue") >= 3
    assert [await counted(app, identity) for identity in ids] == [(3, 3)] * 10
    assert await redis.keys("shortener:clicks:batch:*") == []


async def test_after_a_flush(app: Quart, redis: Redis) -> None:
    """A Redis that forgets everything costs the clicks that were in it; then it goes on."""
    identity = await add_link(app, "abc", max_visits=5)
    await follow(app, "abc")
    assert await counted(app, identity) == (1, 1)
    await redis.flushdb()
    await redis.script_flush()
    codes = [(await follow(app, "abc")).status_code for _ in range(5)]
    assert codes == [302] * 4 + [410]
    assert await counted(app, identity) == (5, 5)


@pytest.mark.parametrize("path", ["/abc/", "/a.b", "/%00", "/%FF", "/" + "a" * 65, "/a%20b", "/ä"])
async def test_what_cannot_be_a_slug(app: Quart, redis: Redis, path: str) -> None:
    """404 without asking anybody."""
    async with queries_of(app) as queries:
        assert (await app.test_client().get(path)).status_code == 404
        assert queries == []
    assert await redis.dbsize() == 0
