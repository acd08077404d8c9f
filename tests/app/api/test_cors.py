"""Scripts in other sites' pages: who may use the API, and what browsers are told."""

from __future__ import annotations

from typing import Any

import pytest

from decant import Quart
from decant.errors import ConfigError

from ..conftest import KEY, Make, Person

SHOP = "https://shop.example"


@pytest.fixture
async def app(make: Make) -> Quart:
    return await make(CORS_ORIGINS=f"{SHOP}, http://[::1]:3000")


async def token_of(app: Quart) -> str:
    person = Person(app.test_client())
    await person.register("ada")
    headers = {"X-CSRF-Token": person.token, "Origin": "http://localhost"}
    response = await person.client.post("/api/v1/tokens", json={"name": "shop"}, headers=headers)
    secret: str = (await response.get_json())["token"]
    return secret


def preflight(method: str = "POST", origin: str = SHOP, headers: str = "authorization, content-type") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize("origin", [SHOP, "http://[::1]:3000"])
async def test_a_named_origin_may_ask_and_read(app: Quart, origin: str) -> None:
    """Preflight, then the request itself, with headers that its script may read; no cookies."""
    asked = await app.test_client().options("/api/v1/links", headers=preflight(origin=origin))
    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == origin
    assert {"POST", "PATCH", "DELETE"} <= set(asked.headers["Access-Control-Allow-Methods"].split(", "))
    assert asked.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert asked.headers["Access-Control-Max-Age"] == "86400"
    headers = {"Authorization": f"Bearer {await token_of(app)}", "Origin": origin}
    made = await app.test_client().post("/api/v1/links", json={"target": "https://example.com/"}, headers=headers)
    assert made.status_code == 201
    assert made.headers["Access-Control-Allow-Origin"] == origin
    assert "Location" in made.headers["Access-Control-Expose-Headers"]
    for response in (asked, made):
        assert "Origin" in response.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.evil",
        "https://xshop.example",
        "http://shop.example",
        "null",
        SHOP + ":444",
    ],
)
async def test_another_origin_is_told_nothing(app: Quart, origin: str) -> None:
    """Neither before nor with the request; browsers then keep the answer from the script."""
    asked = await app.test_client().options("/api/v1/links", headers=preflight(origin=origin))
    read = await app.test_client().get("/api/v1/links", headers={"Origin": origin})
    for response in (asked, read):
        assert [name for name, _ in response.headers if name.startswith("Access-Control")] == []


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/api/v1/links", {}, 401),
        ("GET", "/api/v1/links", {"headers": {"Authorization": "Bearer wrong"}}, 401),
        ("GET", "/api/v1/links/none", {"token": True}, 404),
        ("GET", "/api/v1/nothing", {}, 404),
        ("PUT", "/api/v1/links", {"token": True}, 405),
        ("POST", "/api/v1/links", {"token": True, "data": b"x" * 2_000_000}, 413),
        ("POST", "/api/v1/links", {"token": True, "data": b"{"}, 400),
        ("POST", "/api/v1/links", {"token": True, "json": {"target": "ftp://example.com"}}, 422),
    ],
)
async def test_errors_can_be_read_too(app: Quart, method: str, path: str, options: dict[str, Any], status: int) -> None:
    """A script that sees no error because of CORS cannot tell its user what is wrong."""
    headers = {"Origin": SHOP, **options.pop("headers", {})}
    if options.pop("token", False):
        headers["Authorization"] = f"Bearer {await token_of(app)}"
    if "data" in options:
        headers["Content-Type"] = "application/json"
    response = await app.test_client().open(path, method=method, headers=headers, **options)
    assert response.status_code == status
    assert response.headers["Access-Control-Allow-Origin"] == SHOP


async def test_an_unforeseen_error_can_be_read(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 is no exception."""
    token = await token_of(app)

    async def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("app.links.service.search", broken)
    headers = {"Origin": SHOP, "Authorization": f"Bearer {token}"}
    response = await app.test_client().get("/api/v1/links", headers=headers)
    assert response.status_code == 500
    assert response.headers["Access-Control-Allow-Origin"] == SHOP


@pytest.mark.parametrize("path", ["/", "/login", "/links", "/openapi.json", "/static/css/site.css"])
async def test_pages_are_not_for_other_origins(app: Quart, path: str) -> None:
    """Only what is below /api/v1."""
    response = await app.test_client().get(path, headers={"Origin": SHOP})
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_session_is_worth_nothing_from_elsewhere(app: Quart) -> None:
    """A page of a named origin cannot change anything with our cookie, even if it knew the CSRF token."""
    person = Person(app.test_client())
    await person.register("ada")
    response = await person.client.post(
        "/api/v1/links",
        json={"target": "https://example.com/"},
        headers={"Origin": SHOP, "X-CSRF-Token": person.token},
    )
    assert response.status_code == 403
    assert response.headers["Access-Control-Allow-Origin"] == SHOP


async def test_without_the_setting_nothing_is_allowed(make: Make) -> None:
    """No header, and a preflight request is an OPTIONS as any other."""
    app = await make()
    response = await app.test_client().options("/api/v1/links", headers=preflight())
    assert [name for name, _ in response.headers if name.startswith("Access-Control")] == []


async def test_a_star_allows_everybody(make: Make) -> None:
    """``*``, which browsers never send cookies to."""
    app = await make(CORS_ORIGINS="*")
    response = await app.test_client().get("/api/v1/links", headers={"Origin": "https://anybody.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "value", ["shop.example", "https://shop.example/path", "https://a.example,,", "ftp://a.example"]
)
def test_a_wrong_origin_stops_the_start(value: str) -> None:
    """With the key and the value."""
    from app.config import load_settings

    with pytest.raises(ConfigError, match=r"CORS_ORIGINS = .* an origin is needed"):
        load_settings({"CORS_ORIGINS": value, "SECRET_KEY": KEY})
