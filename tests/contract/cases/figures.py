"""Clicks by day, and the QR code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from . import World, case, new_name


@case("clicks by day, days without any included", quick=True)
async def by_day(world: World) -> None:
    program, slug, visitor = await world.program(), new_name(), world.visitor()
    await program.link(slug)
    empty = await program.api("GET", f"/links/{slug}/clicks?from=2026-01-01&to=2026-01-31")
    assert empty.status == 200
    days = [{"day": f"2026-01-{day:02}", "clicks": 0} for day in range(1, 32)]
    assert empty.json == {"slug": slug, "from": "2026-01-01", "to": "2026-01-31", "total": 0, "days": days}
    before = datetime.now(UTC).date()
    for _ in range(3):
        await visitor.get(f"/{slug}")
    said = await program.until(f"/links/{slug}/clicks", lambda said: said["total"] >= 3)
    assert said["total"] == 3
    assert len(said["days"]) == 30
    last = datetime.fromisoformat(said["to"]).date()
    assert before <= last <= datetime.now(UTC).date()
    assert datetime.fromisoformat(said["from"]).date() == last - timedelta(days=29)
    assert [day["day"] for day in said["days"]] == [
        (last - timedelta(days=back)).isoformat() for back in range(29, -1, -1)
    ]
    assert sum(day["clicks"] for day in said["days"][-2:]) == 3  # the day may have ended meanwhile


@case("clicks by day: what is refused")
async def refused(world: World) -> None:
    program, slug = await world.program(), new_name()
    await program.link(slug)
    wrong = {
        "from=2026-02-01&to=2026-01-01": "from",
        "from=2024-01-01&to=2026-01-01": "from",
        "from=2026-02-30": "from",
        "to=yesterday": "to",
    }
    for query, parameter in wrong.items():
        (await program.api("GET", f"/links/{slug}/clicks?{query}")).problem(422, parameter)


@case("visits are shown on the pages")
async def on_the_page(world: World) -> None:
    user, slug, visitor = await world.user(), new_name(), world.visitor()
    program = await world.program(user)
    await program.link(slug)
    before = await user.page(f"/links/{slug}")
    for _ in range(12):
        await visitor.get(f"/{slug}")
    await program.until(f"/links/{slug}/clicks", lambda said: said["total"] == 12)
    after = await user.page(f"/links/{slug}")
    assert before.text.split().count("12") < after.text.split().count("12")
    assert "12" in (await user.page("/links")).text.split()


@case("the QR code, as SVG and PNG, with an ETag")
async def qr_code(world: World) -> None:
    user, slug = await world.user(), new_name()
    program = await world.program(user)
    await program.link(slug)
    for kind, media_type, begin in (("svg", "image/svg+xml", b"<"), ("png", "image/png", b"\x89PNG\r\n\x1a\n")):
        path = f"/links/{slug}/qr.{kind}"
        answer = await user.get(path)
        assert (answer.status, answer.type) == (200, media_type)
        assert answer.body.startswith(begin)
        assert "public" not in answer.headers.get("Cache-Control", "")
        again = await user.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == answer.headers["ETag"]
        other = await user.get(path, headers={"If-None-Match": '"another"'})
        assert (other.status, other.body) == (200, answer.body)
        head = await user.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        (await world.visitor().get(path)).goes_to("/login")
    assert b"<svg" in (await user.get(f"/links/{slug}/qr.svg")).body
    assert (await user.get(f"/links/{slug}/qr.gif")).status == 404
    assert (await user.get(f"/links/{new_name()}/qr.svg")).status == 404
