"""API tokens, and who may ask how often."""

from __future__ import annotations

import asyncio

from ..visitor import Answer
from . import World, case

_FIELDS = {"id", "name", "hint", "created_at", "last_used_at"}


@case("a token is made on the page, shown once, revoked", quick=True)
async def on_the_page(world: World) -> None:
    user, program = await world.user(), world.visitor()
    answer = await user.send("/account", "/account/tokens", name="Backup <b>script</b>")
    assert answer.status in (200, 201)
    assert answer.page.secret
    assert "b" not in answer.page.elements
    program.token = answer.page.secret
    assert (await program.api("GET", "/me")).json["username"] == user.name
    later = await user.get("/account")
    assert program.token not in later.text
    assert "Backup <b>script</b>" in later.page.text
    identity = (await program.api("GET", "/tokens")).json["items"][0]["id"]
    (await user.send(later.page, f"/account/tokens/{identity}/revoke")).goes_to("/account")
    (await program.api("GET", "/me")).problem(401)


@case("tokens with the API: made, listed, revoked")
async def with_the_api(world: World) -> None:
    program = await world.program()
    made = await program.api("POST", "/tokens", {"name": "second"})
    assert made.status == 201
    assert made.json.keys() >= {*_FIELDS, "token"}
    assert made.json["name"] == "second"
    assert made.json["last_used_at"] is None
    assert made.leads_to == f"/api/v1/tokens/{made.json['id']}"
    second = world.visitor()
    second.token = made.json["token"]
    assert (await second.api("GET", "/me")).json["username"] == program.name
    listed = (await program.api("GET", "/tokens")).json["items"]
    assert [token["name"] for token in listed] == ["second", "program"]
    assert all(token.keys() >= _FIELDS and "token" not in token for token in listed)
    assert all(token["last_used_at"] for token in listed)
    revoked = await program.api("DELETE", made.leads_to)
    assert (revoked.status, revoked.body) == (204, b"")
    (await second.api("GET", "/me")).problem(401)
    (await program.api("DELETE", made.leads_to)).problem(404)


@case("another's token is 404")
async def anothers(world: World) -> None:
    program, eve = await world.program(), await world.program()
    (mine,) = (await program.api("GET", "/tokens")).json["items"]
    (await eve.api("DELETE", f"/tokens/{mine['id']}")).problem(404)
    (await eve.api("DELETE", f"/tokens/{'9' * 30}")).problem(404)
    assert (await program.api("GET", "/me")).status == 200
    user = await world.user()
    answer = await user.ask(
        "POST", f"/account/tokens/{mine['id']}/revoke", data={"csrf_token": await user.csrf_token()}
    )
    assert answer.status == 404
    assert (await program.api("GET", "/me")).status == 200


@case("a token without a name is refused")
async def without_name(world: World) -> None:
    user = await world.user()
    program = await world.program(user)
    for name in ("", "x" * 65):
        (await program.api("POST", "/tokens", {"name": name})).problem(422, "#/name")
        (await user.send("/account", "/account/tokens", name=name)).refuses(name)
    (await program.api("POST", "/tokens", {})).problem(422, "#/name")
    (await program.api("POST", "/tokens", {"name": 7})).problem(422, "#/name")


@case("who asks")
async def who(world: World) -> None:
    program = await world.program()
    said = (await program.api("GET", "/me")).json
    assert said["username"] == program.name
    assert said["is_admin"] is False
    assert said["created_at"][:2] == "20"


@case("without a valid token: 401 with a challenge", quick=True)
async def without(world: World) -> None:
    visitor, user = world.visitor(), await world.user()
    asked: list[Answer] = [
        await visitor.api("GET", "/me"),
        await visitor.api("GET", "/links"),
        await visitor.api("POST", "/links", {"target": "https://example.com/"}),
        await visitor.api("GET", "/me", headers={"Authorization": "Bearer made-up"}),
        await visitor.api("GET", "/me", headers={"Authorization": "Basic dTpw"}),
        await visitor.api("GET", "/me", headers={"Authorization": "Bearer"}),
        await user.api("GET", "/me", headers={"Authorization": "Bearer dct_" + "x" * 43}),
    ]
    for answer in asked:
        answer.problem(401)
        assert answer.headers["WWW-Authenticate"].lower().startswith("bearer")


@case("bad tokens are limited by address, good ones are not")
async def refused_limit(world: World) -> None:
    """10 per minute."""
    program = await world.program()
    bad = {"Authorization": "Bearer made-up"}
    statuses = [(await program.api("GET", "/me", headers=bad)).status for _ in range(10)]
    assert statuses == [401] * 10
    answer = await program.api("GET", "/me", headers=bad)
    answer.problem(429)
    assert 0 <= int(answer.headers["Retry-After"]) <= 60
    assert (await program.api("GET", "/me")).status == 200
    assert (await world.visitor().api("GET", "/me", headers=bad)).status == 401


@case("the API is limited by token, and says how much is left")
async def limit(world: World) -> None:
    """150 per minute."""
    program, other = await world.program(), await world.program()
    first = await program.api("GET", "/me")
    assert int(first.headers["X-RateLimit-Limit"]) == 150
    left = int(first.headers["X-RateLimit-Remaining"])
    assert int((await program.api("GET", "/me")).headers["X-RateLimit-Remaining"]) == left - 1
    assert int(first.headers["X-RateLimit-Reset"]) > 1_700_000_000
    statuses: list[int] = []
    for _ in range(8):  # twenty at once: as many as a small pool of connections serves on a busy machine
        answers = await asyncio.gather(*(program.api("GET", "/me") for _ in range(20)))
        statuses += [answer.status for answer in answers]
    # One that falls into the next window of time may be let through besides.
    assert set(statuses) == {200, 429}
    assert statuses.count(200) in range(left - 1, left + 3), statuses.count(200)
    answer = await program.api("GET", "/me")
    answer.problem(429)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert 0 <= int(answer.headers["Retry-After"]) <= 60
    assert (await other.api("GET", "/me")).status == 200


@case("the limit is one for everything in the API")
async def limit_of_all(world: World) -> None:
    program = await world.program()
    left = int((await program.api("GET", "/me")).headers["X-RateLimit-Remaining"])
    asked: list[tuple[int, Answer]] = [
        (415, await program.api("POST", "/imports", {})),
        (200, await program.api("GET", "/links")),
        (404, await program.api("POST", "/imports/999999999/cancel")),
        (422, await program.api("POST", "/links", {})),
        (404, await program.api("GET", "/imports/999999999")),
    ]
    for used, (status, answer) in enumerate(asked, 1):
        assert answer.status == status, answer.text
        assert int(answer.headers["X-RateLimit-Remaining"]) == left - used


@case("the limits of two web processes are one")
async def limit_of_two(world: World) -> None:
    program, there = await world.program(), world.visitor(await world.other_url())
    there.token = program.token
    left = int((await program.api("GET", "/me")).headers["X-RateLimit-Remaining"])
    found = (await there.api("GET", "/me")).headers
    assert int(found["X-RateLimit-Remaining"]) == left - 1
    passed = 0
    for _ in range(9):
        answers = await asyncio.gather(*(who.api("GET", "/me") for who in (program, there) for _ in range(10)))
        passed += sum(answer.status == 200 for answer in answers)
    assert passed in range(left - 2, left + 3)
    for visitor in (program, there):
        (await visitor.api("GET", "/me")).problem(429)
