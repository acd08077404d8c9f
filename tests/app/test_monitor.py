"""The monitor of jobs, as the application mounts it: for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import update

from app.extensions import db
from app.models import User
from decant import Quart

from .conftest import Person, text_of

People = Callable[[], Person]


async def promote(app: Quart) -> None:
    async with app.app_context():
        await db.session.execute(update(User).values(is_admin=True))
        await db.session.commit()


async def test_strangers_are_sent_to_log_in_and_users_are_refused(ada: Person, person: People, app: Quart) -> None:
    """Neither sees a page, a figure or a stream; users see no link to it."""
    for path in ("/jobs/", "/jobs/workers", "/jobs/api/workers", "/jobs/metrics"):
        stranger = await person().get(path)
        assert stranger.status_code == 303, path
        assert stranger.headers["Location"].startswith("/login?next="), path
        assert (await ada.get(path)).status_code == 403, path
    assert "/jobs/" not in await text_of(await ada.get("/links"))


async def test_administrators_see_it(ada: Person, app: Quart) -> None:
    """By a link in the navigation; jobs are listed with the page's own headers around them."""
    await ada.link("https://example.com/", slug="mine")
    await promote(app)
    assert 'href="/jobs/"' in await text_of(await ada.get("/links"))
    response = await ada.get("/jobs/")
    assert response.status_code == 200
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "previews.fetch" in await text_of(await ada.get("/jobs/tasks"))


async def test_its_name_is_no_slug(ada: Person, app: Quart) -> None:
    """Nobody's link hides it, and without its slash it is found too."""
    response = await ada.link(slug="jobs")
    assert response.status_code == 422
    assert "needed by this site itself" in await text_of(response)
    await promote(app)
    response = await ada.get("/jobs")
    assert response.status_code == 308
    assert response.headers["Location"].endswith("/jobs/")


async def test_its_forms_are_checked(ada: Person, app: Quart) -> None:
    """With a token of its own: ours is none of its; and another site's are refused, also those to its API."""
    await promote(app)
    await ada.get("/account")
    for path in ("/jobs/worker/w1/pause", "/jobs/queues/purge", "/jobs/schedules/run"):
        assert (await ada.post(path)).status_code == 400, path
    elsewhere = {"Origin": "https://evil.example"}
    for path in ("/jobs/worker/w1/pause", "/jobs/api/task/send-task/add", "/jobs/api/worker/shutdown/w1"):
        assert (await ada.post(path, headers=elsewhere)).status_code == 403, path
    assert (await ada.post("/jobs/api/worker/shutdown/w1")).status_code == 404, "there is no such worker"


async def test_an_open_page_holds_no_connection_to_the_database(ada: Person, app: Quart) -> None:
    """Who asks is looked up before the stream begins, and that is over by then."""
    await promote(app)
    async with ada.client.request("/jobs/live") as connection, asyncio.timeout(20):
        await connection.send_complete()
        assert b"event: hello" in await connection.receive()
        async with app.app_context():
            assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        await connection.disconnect()
