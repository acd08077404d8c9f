"""What everybody sees: the redirect."""

from __future__ import annotations

import asyncio
import collections
from datetime import UTC, datetime, timedelta

from . import World, case, new_name

TARGET = "https://example.com/a/long/path?with=parameters&more=%C3%A4"


@case("302, not to be kept; HEAD is no visit")
async def follow(world: World) -> None:
    program, slug = await world.program(), new_name()
    await program.link(slug, TARGET)
    visitor, user = world.visitor(), await world.user()
    for somebody in (visitor, user):
        for method in ("GET", "HEAD"):
            answer = await somebody.ask(method, f"/{slug}")
            assert answer.status == 302
            assert answer.headers["Location"] == TARGET
            assert "no-store" in answer.headers["Cache-Control"]
            assert somebody is user or "Set-Cookie" not in answer.headers
            assert answer.body == b"" or method == "GET"
    await program.until(f"/links/{slug}", lambda said: said["visits"] == 2)
    assert (await visitor.get(f"/{slug}?ref=1")).headers["Location"] == TARGET
    await program.until(f"/links/{slug}", lambda said: said["visits"] == 3)


@case("404 for what is no link")
async def none(world: World) -> None:
    program, slug = await world.program(), "low" + new_name()
    await program.link(slug)
    visitor = world.visitor()
    for path in (
        new_name(),
        "%ff",
        "a%00b",
        "x" * 300,
        slug.upper(),
        f"{slug}/",
        f"{slug}%0d%0aX-Header:1",
        "%F0%9F%98%80",
    ):
        answer = await visitor.get(f"/{path}")
        assert answer.status == 404, f"{path}: {answer.status}"
    for path in (new_name(), "%ff"):
        assert (await visitor.ask("HEAD", f"/{path}")).status == 404


@case("a new link works at once where it was unknown before")
async def unknown_before(world: World) -> None:
    program, slug, visitor = await world.program(), new_name(), world.visitor()
    assert (await visitor.get(f"/{slug}")).status == 404
    await program.link(slug, TARGET)
    assert (await visitor.get(f"/{slug}")).headers["Location"] == TARGET
    await program.api("PATCH", f"/links/{slug}", {"target": "https://example.org/"})
    assert (await visitor.get(f"/{slug}")).headers["Location"] == "https://example.org/"
    await program.api("DELETE", f"/links/{slug}")
    assert (await visitor.get(f"/{slug}")).status == 404


@case("expired: 410")
async def expired(world: World) -> None:
    program, slug, visitor = await world.program(), new_name(), world.visitor()
    end = datetime.now(UTC) + timedelta(seconds=3)
    await program.link(slug, TARGET, expires_at=end.isoformat())
    assert (await visitor.get(f"/{slug}")).status == 302 or datetime.now(UTC) >= end
    await asyncio.sleep((end - datetime.now(UTC)).total_seconds() + 0.1)
    for method in ("GET", "HEAD"):
        assert (await visitor.ask(method, f"/{slug}")).status == 410
    assert (await visitor.get(f"/{slug}")).type == "text/html"
    assert (await program.api("GET", f"/links/{slug}")).json["expired"] is True
    changed = await program.api("PATCH", f"/links/{slug}", {"expires_at": None})
    assert changed.json["expired"] is False
    assert (await visitor.get(f"/{slug}")).status == 302


@case("visits used up: 410", quick=True)
async def used_up(world: World) -> None:
    program, slug, visitor = await world.program(), new_name(), world.visitor()
    await program.link(slug, TARGET, max_visits=2)
    statuses = [(await visitor.get(f"/{slug}")).status for _ in range(4)]
    assert statuses == [302, 302, 410, 410]
    said = await program.until(f"/links/{slug}", lambda said: said["visits"] == 2)
    assert said["expired"] is True
    await program.api("PATCH", f"/links/{slug}", {"max_visits": 3})
    assert [(await visitor.get(f"/{slug}")).status for _ in range(2)] == [302, 410]


@case("fifty at once are counted exactly", quick=True)
async def fifty(world: World) -> None:
    program, slug = await world.program(), new_name()
    await program.link(slug, TARGET)
    visitors = [world.visitor() for _ in range(5)]
    answers = await asyncio.gather(*(visitor.get(f"/{slug}") for visitor in visitors for _ in range(10)))
    assert collections.Counter(answer.status for answer in answers) == {302: 50}
    await program.until(f"/links/{slug}", lambda said: said["visits"] >= 50)
    await asyncio.sleep(1)
    assert (await program.api("GET", f"/links/{slug}")).json["visits"] == 50


@case("of fifty at once, at two processes, ten are let through")
async def ten_of_fifty(world: World) -> None:
    program, slug = await world.program(), new_name()
    await program.link(slug, TARGET, max_visits=10)
    visitors = [world.visitor(url) for url in (world.url, await world.other_url())]
    answers = await asyncio.gather(*(visitor.get(f"/{slug}") for visitor in visitors for _ in range(25)))
    assert collections.Counter(answer.status for answer in answers) == {302: 10, 410: 40}
    said = await program.until(f"/links/{slug}", lambda said: said["visits"] >= 10)
    assert (said["visits"], said["expired"]) == (10, True)


@case("two processes: a change is seen by both at once")
async def two_processes(world: World) -> None:
    program, slug = await world.program(), new_name()
    visitors = [world.visitor(url) for url in (world.url, await world.other_url())]
    for visitor in visitors:
        assert (await visitor.get(f"/{slug}")).status == 404
    await program.link(slug, TARGET)
    for target in (TARGET, "https://example.org/1", "https://example.org/2"):
        await program.api("PATCH", f"/links/{slug}", {"target": target})
        for visitor in visitors:
            assert (await visitor.get(f"/{slug}")).headers["Location"] == target
    await program.api("DELETE", f"/links/{slug}")
    for visitor in visitors:
        assert (await visitor.get(f"/{slug}")).status == 404
    await program.link(slug, TARGET)
    for visitor in visitors:
        assert (await visitor.get(f"/{slug}")).status == 302
    await program.until(f"/links/{slug}", lambda said: said["visits"] == 2)
