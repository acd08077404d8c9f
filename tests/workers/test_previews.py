"""The job that looks at a link's target: when it is asked for, and what it notes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select, text, update

import decant.tasks.worker  # noqa: F401  its scripts are read here, not on the loop
from app.extensions import db
from app.links import service
from app.links.forms import LinkInput
from app.models import Link, User
from app.previews import Fetcher, TryAgain
from decant import Quart
from decant.redis import client
from decant.tasks.testing import start_worker
from tests.app.conftest import Person, text_of
from tests.app.test_live import cookie_of, on_a_socket, watching
from tests.app.test_previews_fetching import Handler, html, loopback, serving
from workers.jobs.previews import fetch_preview


@asynccontextmanager
async def target(app: Quart, handler: Handler) -> AsyncIterator[str]:
    """A site that the application's workers may look at."""
    async with serving(handler) as port:
        app.extensions["previews"].threads.close()
        app.extensions["previews"] = Fetcher(client(app), "Tests", guard=loopback(port))
        yield f"http://127.0.0.1:{port}/"


async def page(request: web.Request) -> web.Response:
    return html(f"<title>Page {request.path}</title><meta name=description content='About <it>'>")


@pytest.fixture
async def ada(app: Quart) -> Person:
    somebody = Person(app.test_client())
    await somebody.register("ada")
    return somebody


async def asked(app: Quart) -> list[str]:
    """The arguments of the jobs that wait."""
    async with app.app_context():
        query = text("SELECT summary FROM decant_jobs WHERE task = 'previews.fetch' ORDER BY id")
        return [summary for (summary,) in await db.session.execute(query)]


async def links(app: Quart) -> list[Link]:
    async with app.app_context():
        return list(await db.session.scalars(select(Link).order_by(Link.id)))


async def look(app: Quart, link: Link, **options: Any) -> None:
    async with app.app_context():
        await fetch_preview.apply((link.id,), throw=True, **options)


async def test_a_new_link_is_looked_at(ada: Person, app: Quart) -> None:
    """It is asked for in the transaction that makes the link; a link that is not made asks for nothing."""
    await ada.link(slug="mine")
    assert (await ada.link(slug="mine")).status_code == 422
    [link] = await links(app)
    assert await asked(app) == [str(link.id)]


async def test_a_link_that_leads_elsewhere_is_looked_at_again(ada: Person, app: Quart) -> None:
    """What was noted of the old target goes at once; a change of anything else asks for nothing."""
    async with target(app, page) as url:
        await ada.link(url, slug="mine")
        await look(app, (await links(app))[0])
        await ada.post("/links/mine/edit", {"target": url, "title": "Mine"})
        assert len(await asked(app)) == 1
        assert (await links(app))[0].preview_title == "Page /"
        await ada.post("/links/mine/edit", {"target": f"{url}other", "title": "Mine"})
        assert len(await asked(app)) == 2
        [link] = await links(app)
        assert (link.preview_title, link.preview_description, link.preview_at) == (None, None, None)


async def test_it_can_be_turned_off(make: Any) -> None:
    app = await make(PREVIEWS="off")
    somebody = Person(app.test_client())
    await somebody.register("ada")
    await somebody.link(slug="mine")
    assert await asked(app) == []


async def test_what_it_finds_is_shown(ada: Person, app: Quart) -> None:
    """On the link's page and in the API; under the link's own title, if it has one."""
    async with target(app, page) as url:
        await ada.link(url, slug="mine")
        await ada.link(f"{url}two", slug="titled", title="My <title>")
        for link in await links(app):
            await look(app, link)
        shown = await (await ada.get("/links/mine")).get_data(as_text=True)
        assert ">Page /</h1>" in shown
        assert "About &lt;it&gt;" in shown
        assert "<title>Page / · Decant</title>" in shown
        shown = await text_of(await ada.get("/links/titled"))
        assert ">My <title></h1>" in shown
        assert ">Page /two</p>" in shown
        listed = await text_of(await ada.get("/links"))
        assert '<span class="title">Page /</span>' in listed
        assert '<span class="title">My <title></span>' in listed
        answer = await (await ada.client.get("/api/v1/links/titled")).json
        assert answer["title"] == "My <title>"
        assert answer["preview"].pop("seen_at")
        assert answer["preview"] == {"title": "Page /two", "description": "About <it>", "problem": None}


async def test_open_pages_are_told(ada: Person, app: Quart) -> None:
    """Over Socket.IO, in whichever process they are."""
    async with target(app, page) as url, on_a_socket(app) as site:
        await ada.link(url, slug="mine")
        async with watching(site, cookie_of(ada), "mine", event="preview") as (allowed, told):
            assert allowed == ["mine"]
            await look(app, (await links(app))[0])
            news = await asyncio.wait_for(told.get(), 20)
            assert news == {"slug": "mine", "title": "Page /", "description": "About <it>", "problem": None}


async def test_a_target_that_may_not_be_looked_at(ada: Person, app: Quart) -> None:
    """A private address, say: the owner is told so, and it is not tried again."""
    await ada.link("http://10.0.0.1/", slug="mine")
    await look(app, (await links(app))[0])
    [link] = await links(app)
    assert link.preview_problem == "The address does not lead to a public site."
    assert link.preview_at is not None
    assert "No preview: " in await text_of(await ada.get("/links/mine"))


async def test_a_target_that_does_not_answer(ada: Person, app: Quart) -> None:
    """Is tried three times more; then its problem is noted."""
    times = 0

    async def fail(request: web.Request) -> web.Response:
        nonlocal times
        times += 1
        return web.Response(status=503)

    async with target(app, fail) as url:
        await ada.link(url, slug="mine")
        [link] = await links(app)
        async with app.app_context():
            with pytest.raises(TryAgain):
                await fetch_preview(link.id)
        assert (await links(app))[0].preview_at is None
        times = 0
        await look(app, link)  # with its retries, at once
        assert times == 4
        assert (await links(app))[0].preview_problem == "The page answered 503."


async def test_a_host_that_is_busy(ada: Person, app: Quart) -> None:
    """The job does not wait for it: another one comes in a few seconds."""
    ended, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(request: web.Request) -> web.Response:
        begun.release()
        await ended.wait()
        return html()

    async with target(app, slow) as url:
        await ada.link(url, slug="mine")
        [link] = await links(app)
        held = [asyncio.create_task(app.extensions["previews"].preview(url)) for _ in range(4)]
        for _ in held:
            await begun.acquire()
        await look(app, link)
        assert await asked(app) == [str(link.id)] * 2
        async with app.app_context():
            later = await db.session.execute(text("SELECT eta > now() FROM decant_jobs WHERE eta IS NOT NULL"))
            assert list(later) == [(True,)]
        ended.set()
        await asyncio.gather(*held)


async def test_what_has_changed_meanwhile_is_left_alone(ada: Person, app: Quart) -> None:
    """A link that was deleted, or leads elsewhere by now: that target has a job of its own."""
    moved = asyncio.Event()

    async def moving(request: web.Request) -> web.Response:
        if not moved.is_set():
            moved.set()
            async with app.app_context():
                await db.session.execute(update(Link).values(target="https://example.com/other"))
                await db.session.commit()
        return html()

    async with target(app, moving) as url:
        await ada.link(url, slug="mine")
        [link] = await links(app)
        await look(app, link)
        assert moved.is_set()
        assert (await links(app))[0].preview_at is None
        async with app.app_context():
            await service.delete(link)
        await look(app, link)


async def test_a_worker_does_it_and_says_for_whom(ada: Person, app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """What the job logs has its id, its task, its attempt, and the id of the request that made the link."""
    caplog.set_level(logging.INFO)
    async with target(app, page) as url:
        await ada.post("/links/new", {"target": url, "slug": "mine"}, headers={"X-Request-ID": "of-the-form"})
        async with start_worker(app), asyncio.timeout(60):
            while (await links(app))[0].preview_at is None:
                await asyncio.sleep(0.05)
    assert (await links(app))[0].preview_title == "Page /"
    [said] = [record.msg for record in caplog.records if record.name == "workers.previews"]
    assert isinstance(said, dict)
    assert said["event"] == "looked at a target"
    assert (said["request_id"], said["task"], said["attempt"]) == ("of-the-form", "previews.fetch", 1)
    assert len(said["job_id"]) == 36


async def test_owners_links_are_theirs(app: Quart) -> None:
    """A link that a job makes is looked at too: it is the service that asks, whoever makes the link."""
    async with app.app_context():
        owner = User(username="owner", password_hash="-")
        db.session.add(owner)
        await db.session.commit()
        link = await service.create(owner, LinkInput("https://example.com/"))
        assert await asked(app) == [str(link.id)]
