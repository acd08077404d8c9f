"""Errors, as whoever asks can read them."""

from __future__ import annotations

from . import World, case, new_name


@case("404 as a page or as a problem, by Accept", quick=True)
async def by_accept(world: World) -> None:
    visitor, program = world.visitor(), await world.program()
    for path in ("/no/such/page", f"/{new_name()}"):
        page = await visitor.get(path)
        assert (page.status, page.type) == (404, "text/html")
        assert page.page.leads_to("/")
        (await visitor.get(path, headers={"Accept": "application/json"})).problem(404)
        (await visitor.get(path, headers={"Accept": "application/json;q=0.9, text/html;q=0.1"})).problem(404)
        assert (await visitor.get(path, headers={"Accept": "*/*"})).status == 404
    for path in ("/api/v1/no-such-thing", f"/api/v1/links/{new_name()}"):
        (await program.get(path)).problem(404)


@case("410 as a page or as a problem, by Accept")
async def gone(world: World) -> None:
    program, visitor, slug = await world.program(), world.visitor(), new_name()
    await program.link(slug, max_visits=1)
    assert (await visitor.get(f"/{slug}")).status == 302
    assert (await visitor.get(f"/{slug}")).type == "text/html"
    (await visitor.get(f"/{slug}", headers={"Accept": "application/json"})).problem(410)


@case("405 with the methods that there are", quick=True)
async def methods(world: World) -> None:
    program, user, slug = await world.program(), await world.user(), new_name()
    await program.link(slug)
    for method, path, allowed in (
        ("DELETE", "/add", "POST"),
        ("GET", "/add", "POST"),
        ("POST", "/me", "GET"),
        ("PUT", f"/links/{slug}", "PATCH"),
        ("BREW", "/me", "GET"),
    ):
        answer = await program.api(method, path)
        answer.problem(405)
        assert allowed in [name.strip() for name in answer.headers["Allow"].split(",")]
    data = {"csrf_token": await user.csrf_token()}
    answer = await user.ask("POST", f"/{slug}", data=data, headers={"Origin": world.url})
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]


@case("OPTIONS says which methods there are")
async def options(world: World) -> None:
    program = await world.program()
    answer = await program.api("OPTIONS", "/links")
    assert answer.status in (200, 204)
    assert {"GET", "POST"} <= {name.strip() for name in answer.headers["Allow"].split(",")}
