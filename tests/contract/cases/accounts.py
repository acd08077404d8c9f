"""Accounts: made, logged in to, out of, and what is refused."""

from __future__ import annotations

import asyncio

from ..visitor import PASSWORD, Answer, Visitor
from . import World, case, new_name


async def _notices(visitor: Visitor, path: str) -> list[str]:
    return [text for text in (await visitor.page(path)).notices if text]


@case("the front page leads to log-in and registration")
async def front(world: World) -> None:
    anybody = world.visitor()
    page = await anybody.page("/")
    assert page.leads_to("/login")
    assert page.leads_to("/register")
    user = await world.user()
    (await user.get("/")).goes_to("/links")


@case("register, with a message that is shown once", quick=True)
async def register(world: World) -> None:
    visitor, name = world.visitor(), new_name()
    (await visitor.register(name)).goes_to("/links/new")
    assert await _notices(visitor, "/links/new")
    assert await _notices(visitor, "/links/new") == []
    assert name in (await visitor.page("/account")).text


@case("register: what is refused")
async def register_refused(world: World) -> None:
    taken = new_name()
    (await world.visitor().register(taken)).goes_to("/links/new")
    names = ["ab", "a b c d", "<b>bold</b>", "x" * 33, taken, taken.upper()]
    visitor = world.visitor()
    for name in names[:4]:
        page = (await world.visitor().register(name)).refuses(name)
        assert "b" not in page.elements
    for name in names[4:]:
        (await visitor.register(name)).refuses(name)
    name = new_name()
    for password in ("too short", f"{name}1", "password123", ""):
        page = (await world.visitor().register(name, password)).refuses(name)
        assert page.form("/register").fields["password"] == ""
    (await visitor.get("/account")).goes_to("/login")


@case("register: one of five gets a name")
async def register_at_once(world: World) -> None:
    name = new_name()
    visitors = [world.visitor() for _ in range(5)]
    answers = await asyncio.gather(*(visitor.register(name) for visitor in visitors))
    made = [answer for answer in answers if answer.status != 422]
    assert len(made) == 1, [answer.status for answer in answers]
    made[0].goes_to("/links/new")


@case("register: limited by address")
async def register_limit(world: World) -> None:
    """6 per hour."""
    visitor = world.visitor()
    for _ in range(6):
        (await visitor.register("ab")).refuses()
    _too_many(await visitor.register(new_name()))
    (await world.visitor().register(new_name())).goes_to("/links/new")


def _too_many(answer: Answer) -> None:
    assert answer.status == 429, f"{answer.status}: {answer.body[:300]!r}"
    assert answer.type == "text/html"
    assert int(answer.headers["Retry-After"]) >= 0


@case("log in, and back to where it was needed", quick=True)
async def log_in(world: World) -> None:
    name = new_name()
    (await world.visitor().register(name)).goes_to("/links/new")
    (await world.visitor().log_in(name)).goes_to("/links")
    (await world.visitor().log_in(name.upper())).goes_to("/links")
    visitor = world.visitor()
    (await visitor.log_in(name, path="/login?next=/account")).goes_to("/account")
    (await visitor.get("/login")).goes_to("/links")


@case("log in: nobody is sent to another site")
async def log_in_elsewhere(world: World) -> None:
    name = (await world.user()).name
    for after in (
        "//evil.example/",
        "https://evil.example/",
        "/%5Cevil.example/",
        "https:evil.example",
        "%09//evil.example",
    ):
        (await world.visitor().log_in(name, path=f"/login?next={after}")).goes_to("/links")


@case("log in: a wrong name and a wrong password are told alike")
async def log_in_wrong(world: World) -> None:
    name, visitor = (await world.user()).name, world.visitor()
    wrong = (await visitor.log_in(name, "not the password")).refuses(name)
    nobody = new_name()
    unknown = (await visitor.log_in(nobody, "not the password")).refuses(nobody)
    assert wrong.alerts == unknown.alerts
    assert wrong.form("/login").fields["password"] == ""
    (await visitor.log_in("", "")).refuses()
    (await visitor.get("/account")).goes_to("/login")


@case("log in: limited by account, from whatever address")
async def log_in_limit(world: World) -> None:
    """8 per 5 minutes."""
    name, other = (await world.user()).name, (await world.user()).name
    for _ in range(8):
        (await world.visitor().log_in(name, "not the password")).refuses(name)
    _too_many(await world.visitor().log_in(name, PASSWORD))
    (await world.visitor().log_in(other)).goes_to("/links")


@case("wrong passwords are counted together, at the log-in and where the password is changed")
async def log_in_limit_everywhere(world: World) -> None:
    """8 per 5 minutes."""
    user = await world.user()
    fields = {"current_password": "not the password", "new_password": "a quite different one"}
    for _ in range(4):
        (await world.visitor().log_in(user.name, "not the password")).refuses(user.name)
        (await user.send("/account", "/account/password", **fields)).refuses()
    _too_many(await user.send("/account", "/account/password", **{**fields, "current_password": PASSWORD}))
    _too_many(await world.visitor().log_in(user.name))
    await user.page("/links")


@case("who is not logged in is sent to the log-in, and back")
async def not_logged_in(world: World) -> None:
    name = (await world.user()).name
    for path in ("/links", "/links/new", "/account", "/imports", "/links.csv", "/links/abc/edit"):
        visitor = world.visitor()
        answer = await visitor.get(path)
        answer.goes_to("/login")
        assert [after.rpartition(world.url)[2] for after in answer.parameter("next")] == [path]
        (await visitor.log_in(name, path=answer.leads_to)).goes_to(path)


@case("log out", quick=True)
async def log_out(world: World) -> None:
    user = await world.user()
    (await user.log_out()).goes_to("/")
    assert await _notices(user, "/")
    (await user.get("/links")).goes_to("/login")


@case("a message waits for the next page, whichever that is")
async def notice_elsewhere(world: World) -> None:
    user, slug = await world.user(), new_name()
    program = await world.program(user)
    await program.link(slug)
    await user.page("/links")  # the welcome
    (await user.send(f"/links/{slug}/delete", f"/links/{slug}/delete")).goes_to("/links")
    assert await _notices(user, "/account")
    assert await _notices(user, "/links") == []
    identity = (await program.api("GET", "/tokens")).json["items"][0]["id"]
    (await user.send("/account", f"/account/tokens/{identity}/revoke")).goes_to("/account")
    assert await _notices(user, "/links")
    assert await _notices(user, "/account") == []


@case("change the password: other browsers are logged out")
async def change_password(world: World) -> None:
    user, elsewhere = await world.user(), world.visitor()
    (await elsewhere.log_in(user.name)).goes_to("/links")
    fields = {"current_password": PASSWORD, "new_password": "a quite different one"}
    refused = [{**fields, "current_password": "wrong one"}, {**fields, "new_password": "short"}]
    for wrong in refused:
        page = (await user.send("/account", "/account/password", **wrong)).refuses()
        assert page.form("/account/password").fields["new_password"] == ""
    await elsewhere.page("/links")
    (await user.send("/account", "/account/password", **fields)).goes_to("/account")
    await user.page("/links")
    (await elsewhere.get("/links")).goes_to("/login")
    (await world.visitor().log_in(user.name)).refuses(user.name)
    (await world.visitor().log_in(user.name, "a quite different one")).goes_to("/links")


@case("log out everywhere: tokens go on")
async def log_out_everywhere(world: World) -> None:
    user, elsewhere = await world.user(), world.visitor()
    program = await world.program(user)
    (await elsewhere.log_in(user.name)).goes_to("/links")
    (await user.send("/account", "/account/logout-everywhere")).goes_to("/login")
    for visitor in (user, elsewhere):
        (await visitor.get("/links")).goes_to("/login")
    assert (await program.api("GET", "/me")).json["username"] == user.name
