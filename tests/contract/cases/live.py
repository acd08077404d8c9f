"""Socket.IO: clicks and imports, told to the open pages of who they belong to."""

from __future__ import annotations

import asyncio

import pytest
from socketio.exceptions import ConnectionError as Refused

from ..visitor import Visitor
from . import World, case, new_name


async def _nothing_more(told: asyncio.Queue[object]) -> None:
    await asyncio.sleep(1)
    assert told.empty(), told.get_nowait()


@case("clicks are told to the owner's open page", quick=True)
async def clicks(world: World) -> None:
    user, slug, visitor = await world.user(), new_name(), world.visitor()
    await (await world.program(user)).link(slug)
    async with user.live("clicks") as page:
        assert await page.call("watch", [slug]) == [slug]
        await visitor.ask("HEAD", f"/{slug}")
        for _ in range(3):
            await visitor.get(f"/{slug}")
        assert await page.clicks(3) == {slug: 3}
        await visitor.get(f"/{slug}")
        assert await page.clicks(1) == {slug: 1}
        await _nothing_more(page.told)


@case("another's clicks are told to nobody else")
async def others(world: World) -> None:
    user, eve, visitor = await world.user(), await world.user(), world.visitor()
    mine, hers = new_name(), new_name()
    await (await world.program(user)).link(mine)
    await (await world.program(eve)).link(hers)
    async with eve.live("clicks") as page:
        assert await page.call("watch", [mine, hers, 7, None, "\0", new_name()]) == [hers]
        for wrong in ("x", 7, None, {}, []):
            assert await page.call("watch", wrong) == []
        await visitor.get(f"/{mine}")
        await visitor.get(f"/{hers}")
        assert await page.clicks(1) == {hers: 1}
        await _nothing_more(page.told)


@case("who is not logged in is refused")
async def refused(world: World) -> None:
    forged = world.visitor()
    forged.forge("session", "made-up")
    for visitor in (world.visitor(), forged):
        await _refused(visitor)


async def _refused(visitor: Visitor, origin: str = "") -> None:
    with pytest.raises(Refused):
        async with visitor.live("clicks", origin=origin):
            pass


@case("another site's page is refused")
async def foreign(world: World) -> None:
    user = await world.user()
    await _refused(user, "https://evil.example")
    async with user.live("clicks"):
        pass


@case("who has logged out is refused")
async def logged_out(world: World) -> None:
    user = await world.user()
    async with user.live("clicks"):
        pass
    (await user.log_out()).goes_to("/")
    await _refused(user)


@case("two processes: a click at one is told at the other")
async def two_processes(world: World) -> None:
    user, slug = await world.user(), new_name()
    await (await world.program(user)).link(slug)
    other = await world.other_url()
    async with user.live("clicks", url=other) as there, user.live("clicks") as here:
        for page in (there, here):
            assert await page.call("watch", [slug]) == [slug]
        for url in (world.url, other):
            await world.visitor(url).get(f"/{slug}")
        for page in (there, here):
            assert await page.clicks(2) == {slug: 2}


@case("twenty pages are told of fifty clicks")
async def many_pages(world: World) -> None:
    user, slug, visitor = await world.user(), new_name(), world.visitor()
    await (await world.program(user)).link(slug)

    async def look_on(started: asyncio.Semaphore) -> dict[str, int]:
        async with user.live("clicks") as page:
            assert await page.call("watch", [slug]) == [slug]
            started.release()
            return await page.clicks(50)

    started = asyncio.Semaphore(0)
    pages = [asyncio.ensure_future(look_on(started)) for _ in range(20)]
    for _ in pages:
        await asyncio.wait_for(started.acquire(), 30)
    await asyncio.gather(*(visitor.get(f"/{slug}") for _ in range(50)))
    assert await asyncio.gather(*pages) == [{slug: 50}] * 20


@case("an import is told to its end")
async def imports(world: World) -> None:
    user, eve = await world.user(), await world.user()
    program = await world.program(user)
    rows = "".join(f"https://example.com/{number}\n" for number in range(800))
    async with user.live("import") as page, eve.live("import") as hers:
        answer = await program.api("POST", "/imports", data=f"target\n{rows}", headers={"Content-Type": "text/csv"})
        identity = answer.json["id"]
        assert await hers.call("watch_import", identity) is None
        said = await page.call("watch_import", identity)
        assert said["id"] == identity
        async with asyncio.timeout(60):
            while said["state"] not in ("done", "failed"):
                before, said = said, await page.told.get()
                assert said["id"] == identity
                assert said["made"] >= before["made"]
        assert (said["state"], said["total"], said["made"], said["refused"]) == ("done", 800, 800, 0)
        for wrong in (0, -1, 10**30, "x", None, [identity]):
            assert await page.call("watch_import", wrong) is None
        assert hers.told.empty()
