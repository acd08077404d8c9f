"""Rate limits of the application: who is stopped, who is not, and what both are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decant import Quart
from decant.errors import ConfigError
from tests.valkey import Server, running

from .conftest import KEY, PASSWORD, Make, Person, text_of

HOUR = "per hour"


async def try_log_in(app: Quart, username: str, password: str = "wrong password", **headers: str) -> Any:
    somebody = Person(app.test_client(), headers=headers)
    await somebody.get("/login")
    return await somebody.post("/login", {"username": username, "password": password})


async def token_of(person: Person) -> str:
    headers = {"X-CSRF-Token": person.token, "Origin": "http://localhost"}
    response = await person.client.post("/api/v1/tokens", json={"name": "a token"}, headers=headers)
    assert response.status_code == 201
    secret: str = (await response.get_json())["token"]
    return secret


async def test_log_ins_to_an_account_are_limited_whoever_tries(make: Make) -> None:
    """However the name is written; another account is not affected. The page says when to try again."""
    app = await make(RATE_LOGIN_ACCOUNT=f"3 {HOUR}")
    await Person(app.test_client()).register("ada")
    for name in ("ada", "ADA", " ada "):
        assert (await try_log_in(app, name)).status_code == 422
    refused = await try_log_in(app, "Ada", PASSWORD)
    assert refused.status_code == 429
    page = await text_of(refused)
    assert "Too many attempts. Wait a few minutes, then try again." in page
    assert "<title>" in page
    assert 0 < int(refused.headers["Retry-After"]) <= 7200
    assert refused.headers["X-RateLimit-Limit"] == "3"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert int(refused.headers["X-RateLimit-Reset"]) > time.time()
    assert (await try_log_in(app, "grace")).status_code == 422


async def test_of_many_at_once_exactly_so_many_pass(make: Make) -> None:
    """No two requests count the same place."""
    app = await make(RATE_LOGIN_ACCOUNT=f"5 {HOUR}")
    people = [Person(app.test_client()) for _ in range(20)]
    await asyncio.gather(*(person.get("/login") for person in people))
    form = {"username": "ada", "password": "wrong password"}
    answers = await asyncio.gather(*(person.post("/login", form) for person in people))
    assert sorted(answer.status_code for answer in answers) == [422] * 5 + [429] * 15


async def test_two_processes_count_together(make: Make) -> None:
    """As do two applications on one Redis."""
    one, other = await make(RATE_LOGIN_ACCOUNT=f"2 {HOUR}"), await make(RATE_LOGIN_ACCOUNT=f"2 {HOUR}")
    assert (await try_log_in(one, "ada")).status_code == 422
    assert (await try_log_in(other, "ada")).status_code == 422
    assert (await try_log_in(one, "ada")).status_code == 429
    assert (await try_log_in(other, "ada")).status_code == 429


async def test_an_address_cannot_try_account_after_account(make: Make) -> None:
    """Nor can it by saying that it is somebody else: X-Forwarded-For is believed only of our own proxy."""
    app = await make(RATE_LOGIN_ADDRESS=f"3 {HOUR}")
    for number in range(3):
        response = await try_log_in(app, f"user{number}", **{"X-Forwarded-For": f"10.0.0.{number}"})
        assert response.status_code == 422
    assert (await try_log_in(app, "user9", **{"X-Forwarded-For": "10.0.0.9"})).status_code == 429


async def test_behind_a_proxy_the_address_is_the_one_that_it_added(make: Make) -> None:
    """The last one; what the client wrote before it changes nothing, and other clients of the proxy go on."""
    app = await make(RATE_LOGIN_ADDRESS=f"2 {HOUR}", PROXY_HOPS=1)
    for number in range(2):
        response = await try_log_in(app, f"user{number}", **{"X-Forwarded-For": f"6.6.6.{number}, 192.0.2.1"})
        assert response.status_code == 422
    assert (await try_log_in(app, "user8", **{"X-Forwarded-For": "6.6.6.9, 192.0.2.1"})).status_code == 429
    assert (await try_log_in(app, "user9", **{"X-Forwarded-For": "6.6.6.9, 192.0.2.2"})).status_code == 422


async def test_changing_the_password_is_no_way_to_guess_it(make: Make) -> None:
    """It counts with the log-ins to the account."""
    app = await make(RATE_LOGIN_ACCOUNT=f"3 {HOUR}")
    ada = Person(app.test_client())
    await ada.register("ada")
    form = {"current_password": "wrong password", "new_password": "something else entirely"}
    for _ in range(2):
        assert (await ada.post("/account/password", form)).status_code == 422
    assert (await try_log_in(app, "ada")).status_code == 422
    assert (await ada.post("/account/password", form)).status_code == 429
    assert (await ada.get("/account")).status_code == 200


async def test_forms_without_the_token_use_up_nothing(make: Make) -> None:
    """Another site's page cannot lock anybody out through the browsers of its visitors."""
    app = await make(RATE_LOGIN_ACCOUNT=f"1 {HOUR}")
    for _ in range(3):
        response = await app.test_client().post("/login", data={"username": "ada", "password": "wrong password"})
        assert response.status_code == 400
    assert (await try_log_in(app, "ada")).status_code == 422


async def test_registering_is_limited_by_address(make: Make) -> None:
    """The form can still be read."""
    app = await make(RATE_REGISTER=f"2 {HOUR}")
    for name in ("ada", "grace"):
        assert (await Person(app.test_client()).register(name)).status_code == 303
    late = Person(app.test_client())
    response = await late.register("late")
    assert response.status_code == 429
    assert "Too many accounts were made from your address." in await text_of(response)
    assert (await late.get("/register")).status_code == 200


async def test_links_are_limited_per_user_on_pages_and_api_together(make: Make) -> None:
    """A refused form uses up nothing; reading, editing and other people go on."""
    app = await make(RATE_LINKS=f"3 {HOUR}")
    ada, grace = Person(app.test_client()), Person(app.test_client())
    await ada.register("ada")
    await grace.register("grace")
    bearer = {"Authorization": f"Bearer {await token_of(ada)}"}
    for _ in range(5):
        assert (await ada.link("ftp://example.com/")).status_code == 422
    assert (await ada.link(slug="one")).status_code == 303
    assert (await ada.link()).status_code == 303
    target = {"target": "https://example.com/"}
    assert (await app.test_client().post("/api/v1/links", json=target, headers=bearer)).status_code == 201
    page = await ada.link()
    assert page.status_code == 429
    assert "You have made many links in a short time." in await text_of(page)
    response = await app.test_client().post("/api/v1/links", json=target, headers=bearer)
    assert response.status_code == 429
    assert response.mimetype == "application/problem+json"
    problem = await response.get_json()
    assert problem["status"] == 429
    assert problem["title"] == "Too Many Requests"
    assert "many links" in problem["detail"]
    assert int(response.headers["Retry-After"]) > 0
    await ada.get("/links/one/edit")
    assert (await ada.post("/links/one/edit", {"target": "https://example.org/"})).status_code == 303
    assert (await grace.link()).status_code == 303


async def test_the_api_is_limited_per_token(make: Make) -> None:
    """Another token of the same user, and the session, count for themselves; each answer says what is left."""
    app = await make(RATE_API=f"3 {HOUR}")
    ada = Person(app.test_client())
    await ada.register("ada")
    first, second = await token_of(ada), await token_of(ada)

    async def ask(token: str) -> Any:
        return await app.test_client().get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})

    left = [(await ask(first)).headers["X-RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refused = await ask(first)
    assert refused.status_code == 429
    assert (await refused.get_json())["status"] == 429
    assert int(refused.headers["Retry-After"]) > 0
    allowed = await ask(second)
    assert allowed.status_code == 200
    assert "Retry-After" not in allowed.headers
    assert (await ada.client.get("/api/v1/me")).status_code == 200


async def test_wrong_tokens_are_limited_by_address(make: Make) -> None:
    """401, and then 429; a right token from there is still taken."""
    app = await make(RATE_API_REFUSED=f"2 {HOUR}")
    ada = Person(app.test_client())
    await ada.register("ada")
    right = await token_of(ada)
    statuses = []
    for number in range(4):
        headers = {"Authorization": f"Bearer dct_{number}"}
        statuses.append((await app.test_client().get("/api/v1/me", headers=headers)).status_code)
    assert statuses == [401, 401, 429, 429]
    response = await app.test_client().get("/api/v1/me", headers={"Authorization": f"Bearer {right}"})
    assert response.status_code == 200


async def test_redirects_are_never_limited(make: Make) -> None:
    """Whatever the limits are, and whoever asks."""
    names = ("LOGIN_ACCOUNT", "LOGIN_ADDRESS", "LINKS", "API", "API_REFUSED")
    app = await make(**{f"RATE_{name}": f"1 {HOUR}" for name in names})
    ada = Person(app.test_client())
    await ada.register("ada")
    await ada.link(slug="mine")
    for _ in range(30):
        response = await app.test_client().get("/mine")
        assert response.status_code == 302
        assert not [name for name, _ in response.headers if name.startswith("X-RateLimit")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


async def test_without_redis_log_ins_are_limited_all_the_same(make: Make, server: Server, one_moment: None) -> None:
    """Each process counts for itself; redirects go on. When Redis is back it counts again."""
    app = await make(REDIS_URL=server.url, REDIS_BREAKER_RESET_S=0.1, RATE_LOGIN_ACCOUNT=f"3 {HOUR}")
    ada = Person(app.test_client())
    await ada.register("ada")
    await ada.link(slug="mine")
    await asyncio.to_thread(server.kill)
    statuses = [(await try_log_in(app, "ada")).status_code for _ in range(5)]
    assert statuses == [422, 422, 422, 429, 429]
    assert (await app.test_client().get("/mine")).status_code == 302
    await asyncio.to_thread(server.restart)
    async with asyncio.timeout(30):
        while (await try_log_in(app, "grace")).status_code != 422 or not await in_redis(server):
            await asyncio.sleep(0.1)


async def in_redis(server: Server) -> int:
    from redis.asyncio import Redis

    async with Redis.from_url(server.url) as redis:
        return len([key async for key in redis.scan_iter("*shortener*account:grace*")])


@pytest.mark.parametrize("value", ["many", "10", "10 per fortnight"])
def test_a_wrong_rate_stops_the_start(value: str) -> None:
    """With the key, the value and how limits are written."""
    from app.config import load_settings

    with pytest.raises(ConfigError, match=rf"RATE_LINKS = '{value}' .* written as"):
        load_settings({"RATE_LINKS": value, "SECRET_KEY": KEY})
