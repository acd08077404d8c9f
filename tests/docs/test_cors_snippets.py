"""The snippets of docs/cors.md do what the page says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from decant.testing.client import Client

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"
SHOP, BRANCH, PARTNER = "https://shop.example", "https://berlin.shop.example", "https://partner.example"


@pytest.fixture
def app() -> Any:
    app = runpy.run_path(str(FOLDER / "cors_app.py"))["app"]
    app.test_client_class = Client
    return app


@pytest.mark.parametrize(
    ("path", "method", "origin", "allowed"),
    [
        ("/api/orders", "GET", SHOP, SHOP),
        ("/api/orders", "GET", BRANCH, BRANCH),
        ("/api/orders", "GET", "https://shop.example.evil.example", None),
        ("/api/public", "GET", PARTNER, PARTNER),
        ("/feedback", "POST", PARTNER, PARTNER),
        ("/feedback", "POST", SHOP, None),
    ],
)
async def test_the_application(app: Any, path: str, method: str, origin: str, allowed: str | None) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    preflight = await app.test_client().options(path, headers=headers)
    assert preflight.headers.get("Access-Control-Allow-Origin") == allowed
    response = await app.test_client().open(path, method=method, headers={"Origin": origin})
    assert (response.status_code, response.headers.get("Access-Control-Allow-Origin")) == (200, allowed)
    if allowed and path.startswith("/api"):
        assert response.headers["Access-Control-Expose-Headers"] == "X-Total"
        assert preflight.headers["Access-Control-Max-Age"] == "3600"


def test_the_blueprint_of_a_flask_application() -> None:
    client = runpy.run_path(str(FOLDER / "cors_flask.py"))["app"].test_client()
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "GET"}
    assert client.options("/api/orders", headers=headers).headers["Access-Control-Allow-Credentials"] == "true"
    assert client.get("/api/orders", headers={"Origin": SHOP}).headers["Access-Control-Allow-Origin"] == SHOP
