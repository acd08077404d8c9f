"""The session's cookie, and the token that forms need."""

from __future__ import annotations

from ..visitor import PASSWORD
from . import CSRF_HEADERS, World, case, new_name


@case("the cookie is HttpOnly and SameSite=Lax, and cannot be forged")
async def cookie(world: World) -> None:
    name, visitor = (await world.user()).name, world.visitor()
    answer = await visitor.log_in(name)
    (said,) = [line for line in answer.headers.getall("Set-Cookie") if line.startswith("session=")]
    attributes = {part.strip().lower() for part in said.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    await visitor.page("/links")
    value = visitor.cookies["session"]
    for forged in (value[:-2] + ("AA" if value[-2:] != "AA" else "BB"), value[1:], "x", value + "A" * 3000):
        stranger = world.visitor()
        stranger.forge("session", forged)
        (await stranger.get("/links")).goes_to("/login")


@case("a log-in begins a new session")
async def renewed(world: World) -> None:
    name, visitor = (await world.user()).name, world.visitor()
    before = (await visitor.page("/login")).form("/login").fields["csrf_token"]
    (await visitor.log_in(name)).goes_to("/links")
    answer = await visitor.ask("POST", "/logout", data={"csrf_token": before}, headers={"Origin": world.url})
    assert answer.status == 400, "the token of the session before the log-in is taken after it"
    await visitor.page("/links")


@case("forms are taken with the session's own token only", quick=True)
async def forms(world: World) -> None:
    user, other = await world.user(), await world.user()
    foreign = await other.csrf_token()
    slug = new_name()
    for data in ({}, {"csrf_token": ""}, {"csrf_token": "made up"}, {"csrf_token": foreign}):
        headers = {"Origin": world.url}
        for path, fields in (
            ("/links/new", {"target": "https://example.com/", "slug": slug}),
            ("/account/tokens", {"name": "planted"}),
            ("/account/logout-everywhere", {"x": "y"}),
            ("/logout", {"x": "y"}),
        ):
            answer = await user.ask("POST", path, data={**fields, **data}, headers=headers)
            assert answer.status == 400, f"{path} with {data}: {answer.status}"
    visitor = world.visitor()
    answer = await visitor.ask("POST", "/login", data={"username": user.name, "password": PASSWORD})
    assert answer.status == 400
    (await visitor.get("/links")).goes_to("/login")
    await user.page("/links")
    assert (await user.get(f"/links/{slug}")).status == 404
    assert "planted" not in (await user.page("/account")).text


@case("a session may use the API, with the token of its forms", quick=True)
async def in_the_api(world: World) -> None:
    user, slug = await world.user(), new_name()
    assert (await user.api("GET", "/me")).json["username"] == user.name
    body = {"target": "https://example.com/", "slug": slug}
    for headers in ({}, dict.fromkeys(CSRF_HEADERS, "made up")):
        answer = await user.api("POST", "/links", body, headers=headers)
        assert answer.status in (400, 403), answer.text
        answer.problem(answer.status)
    headers = dict.fromkeys(CSRF_HEADERS, await user.csrf_token())
    assert (await user.api("POST", "/links", body, headers=headers)).status == 201
    assert (await user.api("DELETE", f"/links/{slug}")).status in (400, 403)
    assert (await user.api("DELETE", f"/links/{slug}", headers=headers)).status == 204
    file = {"data": "target\nhttps://example.com/\n"}
    answer = await user.api("POST", "/imports", headers={"Content-Type": "text/csv"}, **file)
    assert answer.status in (400, 403), answer.text
    answer.problem(answer.status)
    answer = await user.api("POST", "/imports", headers={"Content-Type": "text/csv", **headers}, **file)
    assert answer.status == 202, answer.text
    said = await user.until(answer.leads_to, lambda said: said["state"] not in ("waiting", "running"))
    assert (said["state"], said["made"]) == ("done", 1)


@case("two web processes: one session, one database")
async def two_processes(world: World) -> None:
    user = await world.user()
    there = world.visitor(await world.other_url())
    there.forge("session", user.cookies["session"])
    slug = new_name()
    answer = await there.send("/links/new", "/links/new", target="https://example.com/there", slug=slug)
    answer.goes_to(f"/links/{slug}")
    assert "https://example.com/there" in (await user.page(f"/links/{slug}")).text
    assert (await user.get(f"/{slug}")).leads_to == "https://example.com/there"
    user.forge("session", there.cookies["session"])
    answer = await user.send(f"/links/{slug}/edit", f"/links/{slug}/edit", target="https://example.com/here")
    answer.goes_to(f"/links/{slug}")
    assert (await there.get(f"/{slug}")).leads_to == "https://example.com/here"
    (await there.send("/account", "/account/logout-everywhere")).goes_to("/login")
    (await user.get("/links")).goes_to("/login")
