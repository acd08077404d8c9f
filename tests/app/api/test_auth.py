"""Who may call the API: those with a token, and our own pages with a session and its CSRF token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from app.accounts.tokens import MOST_TOKENS
from app.extensions import db
from app.models import ApiToken
from decant import Quart

from ..conftest import Make, Person
from .conftest import Caller, Callers, Description, refused

People = Callable[[], Person]
LINK = {"target": "https://example.com/"}


async def test_nobody_gets_nothing(app: Quart, description: Description) -> None:
    """401 with the way to authenticate, for every operation, before anything else is looked at."""
    nobody = Caller(app.test_client(), description)
    for path, methods in description.document["paths"].items():
        for method in methods:
            identity = "01a216a2-bcfc-7812-a5e6-4210a7bf05d7" if "/jobs/" in path else "1"
            path = path.removeprefix("/api/v1").replace("{slug}", "mine").replace("{identity}", identity)
            path = path.replace("{import_id}", "1")
            response = await nobody(method.upper(), path, data=b"[")
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_a_wrong_token_is_told(app: Quart, description: Description) -> None:
    """401, whatever is wrong with it."""
    nobody = Caller(app.test_client(), description)
    for given in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer \u00fc",
        "Basic YTpi",
        "dct_x",
        "Bearer dct_" + "x" * 43,
    ):
        response = await nobody.get("/me", headers={"Authorization": given})
        assert response.status_code == 401, given
        assert "error=invalid_token" in response.headers["WWW-Authenticate"].replace('"', "")


async def test_me(ada: Caller) -> None:
    """Whose token it is; the scheme's name may be written in any case."""
    answer = (await ada.get("/me", headers={"Authorization": f"bEARER  {ada.secret}"})).json
    assert (answer["username"], answer["is_admin"]) == ("ada", False)
    assert datetime.fromisoformat(answer["created_at"]) - datetime.now(UTC) < timedelta(minutes=5)


async def test_a_token_is_shown_once_and_kept_as_a_hash(ada: Caller, app: Quart) -> None:
    """It works at once; neither the list nor the database has it."""
    response = await ada.post("/tokens", json={"name": " Backup é "})
    assert response.status_code == 201
    made = dict(response.json)
    secret = made.pop("token")
    assert made["name"] == "Backup é"
    assert secret.startswith(made["hint"])
    listed = await ada.get("/tokens")
    assert listed.json["items"][0] == made
    assert secret not in listed.get_data(as_text=True)
    async with app.app_context():
        row = await db.session.get(ApiToken, made["id"])
        kept = {column.name: getattr(row, column.name) for column in ApiToken.__table__.columns}
    assert secret not in str(kept)
    ada.secret = secret
    assert (await ada.get("/me")).status_code == 200
    assert (await ada.get("/tokens")).json["items"][0]["last_used_at"] is not None


async def test_a_revoked_token_is_refused(ada: Caller) -> None:
    """From the next request on, even if it revoked itself; a second time there is nothing to revoke."""
    made = (await ada.post("/tokens", json={"name": "x"})).json
    path = f"/tokens/{made['id']}"
    assert (await ada.delete(path, headers={"Authorization": f"Bearer {made['token']}"})).status_code == 204
    assert (await ada.get("/me", headers={"Authorization": f"Bearer {made['token']}"})).status_code == 401
    assert (await ada.delete(path)).status_code == 404
    assert (await ada.get("/me")).status_code == 200


async def test_tokens_are_their_owners_alone(ada: Caller, caller: Callers) -> None:
    """Somebody else's are neither listed nor revoked."""
    bob = await caller("bob")
    theirs = (await ada.get("/tokens")).json["items"][0]["id"]
    assert theirs not in [token["id"] for token in (await bob.get("/tokens")).json["items"]]
    assert (await bob.delete(f"/tokens/{theirs}")).status_code == 404
    assert (await ada.get("/me")).status_code == 200


async def test_a_number_that_no_token_has(ada: Caller) -> None:
    """404, bigger than the database's integers or not."""
    for identity in (0, 2**63 - 1, 2**63, 10**30):
        assert (await ada.delete(f"/tokens/{identity}")).status_code == 404


async def test_a_wrong_name_of_a_token_is_pointed_at(ada: Caller) -> None:
    """422, and no token."""
    for name in (None, 1, "", "   ", "x" * 65, "a\x00b", "a\nb", "\ud800"):
        assert refused(await ada.post("/tokens", json={"name": name})) == ["#/name"]
    assert len((await ada.get("/tokens")).json["items"]) == 1


async def test_there_is_an_end_to_tokens(ada: Caller, app: Quart) -> None:
    """As on the account's page; of several that are made at once, one is the last."""
    async with app.app_context():
        owner = await db.session.scalar(select(ApiToken.owner_id))
        for number in range(MOST_TOKENS - 2):
            db.session.add(ApiToken(owner_id=owner, name="x", hint="x", digest=number.to_bytes(32)))
        await db.session.commit()
    responses = await asyncio.gather(*(ada.post("/tokens", json={"name": "one more"}) for _ in range(5)))
    _, *too_many = sorted(responses, key=lambda response: response.status_code)
    assert sorted(response.status_code for response in responses) == [201, 422, 422, 422, 422]
    for response in too_many:
        assert refused(response) == ["#/name"]
        assert str(MOST_TOKENS) in response.json["errors"][0]["detail"]


@pytest.fixture
async def page(person: People, description: Description) -> tuple[Person, Caller]:
    """A logged-in browser, and a script of our page in it."""
    eve = person()
    await eve.register("eve")
    return eve, Caller(eve.client, description)


async def test_a_session_reads_and_with_its_token_writes(page: tuple[Person, Caller]) -> None:
    """The token is that of the page's forms."""
    eve, script = page
    assert (await script.get("/me")).json["username"] == "eve"
    script.headers = {"X-CSRF-Token": eve.token, "Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    link = await script.link(slug="mine")
    assert (await script.patch("/links/mine", json={"title": "x"})).json == {**link, "title": "x"}
    assert (await script.delete("/links/mine")).status_code == 204


FOREIGN: list[dict[str, str]] = [
    {},
    {"X-CSRF-Token": ""},
    {"X-CSRF-Token": "x"},
    {"X-CSRF-Token": "\u00fc"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
]


async def test_what_another_site_may_have_sent_is_forbidden(page: tuple[Person, Caller]) -> None:
    """403 without the right token, and with it from elsewhere: nothing is made, changed or deleted."""
    eve, script = page
    right = {"X-CSRF-Token": eve.token}
    await script.post("/links", json={**LINK, "slug": "mine"}, headers=right)
    for headers in FOREIGN:
        sent = {**right, **headers} if headers and "X-CSRF-Token" not in headers else headers
        for method, path, body in (
            ("POST", "/links", LINK),
            ("PATCH", "/links/mine", {"title": "evil"}),
            ("DELETE", "/links/mine", None),
            ("POST", "/tokens", {"name": "evil"}),
            ("DELETE", "/tokens/1", None),
        ):
            options = {"json": body} if body else {}
            assert (await script(method, path, headers=sent, **options)).status_code == 403, sent
    assert [link["title"] for link in (await script.get("/links")).json["items"]] == [None]
    assert (await script.get("/tokens")).json["items"] == []


async def test_a_wrong_token_is_not_made_good_by_a_session(page: tuple[Person, Caller]) -> None:
    """Whoever sends a token wants to be judged by it."""
    _, script = page
    assert (await script.get("/me", headers={"Authorization": "Bearer x"})).status_code == 401


async def test_a_token_wins_over_a_session(page: tuple[Person, Caller], ada: Caller) -> None:
    """And needs no CSRF token."""
    _, script = page
    script.secret = ada.secret
    assert (await script.get("/me")).json["username"] == "ada"
    await script.link(slug="adas")
    assert (await ada.get("/links/adas")).status_code == 200


async def test_log_out_everywhere_ends_sessions_not_tokens(page: tuple[Person, Caller]) -> None:
    """A token is revoked by itself."""
    eve, script = page
    secret = (await script.post("/tokens", json={"name": "x"}, headers={"X-CSRF-Token": eve.token})).json["token"]
    cookies = dict(await session_of(eve))
    await eve.post("/account/logout-everywhere")
    async with eve.client.session_transaction() as session:
        session.update(cookies)
    assert (await script.get("/me")).status_code == 401
    script.secret = secret
    assert (await script.get("/me")).status_code == 200


async def session_of(person: Person) -> dict[str, object]:
    async with person.client.session_transaction() as session:
        return dict(session)


async def test_a_database_that_is_away_is_told_so(make: Make, ada: Caller) -> None:
    """503 as a problem, with when to try again."""
    app = await make(DATABASE_URL="postgresql://postgres@127.0.0.1:1/nothing?ssl=disable")
    ada.client = app.test_client()
    response = await ada.get("/me")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
