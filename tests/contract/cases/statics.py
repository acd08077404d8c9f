"""Static files, what browsers ask for unasked, and what may be kept."""

from __future__ import annotations

from . import World, case


@case("style sheets, with an ETag", quick=True)
async def sheets(world: World) -> None:
    visitor = world.visitor()
    found = [sheet for sheet in (await visitor.page("/")).sheets if not sheet.startswith("http")]
    assert found
    for path in found:
        answer = await visitor.get(path)
        assert (answer.status, answer.type) == (200, "text/css")
        assert answer.body
        again = await visitor.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        head = await visitor.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert "Set-Cookie" not in answer.headers


@case("no other file is served")
async def outside(world: World) -> None:
    visitor = world.visitor()
    paths = ("nothing.css", "../config.py", "..%2fconfig.py", "%2e%2e/config.py", "", "css/", "a%00b", "%ff")
    for path in paths:
        answer = await visitor.get(f"/static/{path}")
        assert answer.status in (400, 403, 404), f"{path}: {answer.status}"


@case("somebody's pages are kept by nobody else")
async def private(world: World) -> None:
    user = await world.user()
    for path in ("/links", "/account", "/links/new"):
        headers = (await user.get(path)).headers
        cached = headers.get("Cache-Control", "")
        assert "public" not in cached
        varies = {name.strip().lower() for name in ", ".join(headers.getall("Vary", [])).split(",")}
        assert "cookie" in varies or "no-store" in cached or "private" in cached, path


@case("the front page is for everybody, and nobody's name is in it")
async def front_twice(world: World) -> None:
    user, visitor = await world.user(), world.visitor()
    await user.get("/")
    page = await visitor.get("/")
    assert page.status == 200
    assert user.name not in page.text


@case("health, robots, icon", quick=True)
async def small(world: World) -> None:
    visitor = world.visitor()
    for path, media_type in (("/healthz", "text/plain"), ("/robots.txt", "text/plain")):
        answer = await visitor.get(path)
        assert (answer.status, answer.type) == (200, media_type)
        assert "Set-Cookie" not in answer.headers
    assert (await visitor.get("/healthz")).text.strip() == "ok"
    icon = await visitor.get("/favicon.ico")
    assert icon.status == 200
    assert icon.type.startswith("image/")
