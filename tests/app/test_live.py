"""Clicks as they happen: who is told, by which process, and what it costs the redirect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio

from decant import Quart
from tests.serving import serve

from .conftest import AMPLE_S, Make, Person, until_ready


def cookie_of(person: Person) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.client.cookie_jar)


async def connect(client: socketio.AsyncClient, url: str, cookie: str, *, origin: str = "") -> None:
    headers = {"Cookie": cookie, "Origin": origin or url}
    await client.connect(url, headers=headers, transports=["websocket"], wait_timeout=AMPLE_S)


@asynccontextmanager
async def watching(
    url: str, cookie: str, *slugs: Any, origin: str = "", event: str = "clicks"
) -> AsyncIterator[tuple[list[str], asyncio.Queue[Any]]]:
    """A page that watches links: which of them it may, and what it is told."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    async with aiohttp.ClientSession() as http:  # its own stays open where it is refused
        client = socketio.AsyncClient(reconnection=False, http_session=http)
        client.on(event, told.put_nowait)
        await connect(client, url, cookie, origin=origin)
        try:
            yield await client.call("watch", list(slugs), timeout=AMPLE_S), told
        finally:
            await client.disconnect()


@asynccontextmanager
async def on_a_socket(app: Quart) -> AsyncIterator[str]:
    """An application that has been started already, as soon as it hears what others emit."""

    async def started(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
            return
        await app(scope, receive, send)

    await until_ready(app, socketio="ok")
    async with serve(started) as url:
        yield url


async def total(told: asyncio.Queue[Any], clicks: int) -> dict[str, int]:
    """What is told, until it is so many clicks."""
    counts: dict[str, int] = {}
    async with asyncio.timeout(AMPLE_S):
        while sum(counts.values()) < clicks:
            news = await told.get()
            counts[news["slug"]] = counts.get(news["slug"], 0) + news["clicks"]
    return counts


async def test_a_click_in_one_process_is_seen_in_another(make: Make) -> None:
    """Both on one Redis; a HEAD and a slug that leads nowhere are no clicks."""
    one, other = await make(), await make()
    ada = Person(one.test_client())
    await ada.register("ada")
    await ada.link(slug="mine")
    async with on_a_socket(other) as url, watching(url, cookie_of(ada), "mine") as (allowed, told):
        assert allowed == ["mine"]
        await one.test_client().head("/mine")
        await one.test_client().get("/none")
        for _ in range(3):
            assert (await one.test_client().get("/mine")).status_code == 302
        assert await total(told, 3) == {"mine": 3}
        assert (await other.test_client().get("/mine")).status_code == 302
        assert await total(told, 1) == {"mine": 1}
        assert told.empty()


async def test_only_the_owner_is_told(app: Quart, ada: Person, person: Any) -> None:
    """Somebody else may ask, and is told nothing; what is no list of names is no error."""
    await ada.link(slug="mine")
    eve = person()
    await eve.register("eve")
    await eve.link(slug="hers")
    async with on_a_socket(app) as url, watching(url, cookie_of(eve), "mine", "hers", 7, None, "\0") as (allowed, told):
        assert allowed == ["hers"]
        await app.test_client().get("/mine")
        await app.test_client().get("/hers")
        assert await total(told, 1) == {"hers": 1}


async def test_who_is_not_logged_in_is_refused(app: Quart) -> None:
    """At the connection."""
    async with on_a_socket(app) as url:
        with pytest.raises(socketio.exceptions.ConnectionError):
            async with watching(url, "session=forged", "mine"):
                pass


async def test_another_sites_page_is_refused(app: Quart, ada: Person) -> None:
    """A browser would send the cookie with it; the origin says whose page it is."""
    async with on_a_socket(app) as url:
        with pytest.raises(socketio.exceptions.ConnectionError):
            async with watching(url, cookie_of(ada), "mine", origin="https://evil.example"):
                pass


async def test_pages_say_which_figures_are_live(ada: Person) -> None:
    """The list and the link's page, with scripts of our own origin."""
    await ada.link(slug="mine")
    for path in ("/links", "/links/mine"):
        page = await (await ada.get(path)).get_data(as_text=True)
        assert 'data-live="mine" data-count="0">0<' in page
        assert "/static/vendor/socket.io/socket.io.min.js?t=" in page
