"""Whom a request comes from, whatever it says itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import decant
import decant.testing.client
from decant.limiter.contrib.util import get_remote_address_cloudflare
from decant.limiter.util import get_remote_address
from tests.limiter.asking import statuses

pytestmark = pytest.mark.parity("limiter", "get_remote_address")


@pytest.fixture
def storage_uri() -> str:
    return "memory://"


@pytest.fixture
def app(no_blocking: Any) -> decant.Quart:
    return decant.Quart("addresses", root_path="/")


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "found"),
    [
        (None, "203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        (0, "203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        (1, "10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("1", "10.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (1, "10.0.0.1", ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        (2, "10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (2, "10.0.0.1", ["198.51.100.7"], "10.0.0.1"),
        (1, "10.0.0.1", [], "10.0.0.1"),
        (1, "10.0.0.1", ["unknown"], "10.0.0.1"),
        (1, "10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        (1, "10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.0/8, ::1", "::1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["10.0.0.0/8"], "203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6, nonsense, 10.0.0.2"], "10.0.0.2"),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
    ],
)
async def test_the_address_is_read_as_far_as_proxies_are_trusted(
    app: decant.Quart, trusted: Any, peer: str, forwarded: list[str], found: str
) -> None:
    app.config["TRUSTED_PROXIES"] = trusted
    headers = [("X-Forwarded-For", value) for value in forwarded]
    async with app.test_request_context("/", headers=headers, scope_base={"client": (peer, 1)}):
        from quart import request

        request.remote_addr = peer
        assert get_remote_address() == found


@pytest.mark.parity("limiter", "get_remote_address_cloudflare")
@pytest.mark.parametrize(
    ("trusted", "peer", "header", "found"),
    [
        (None, "203.0.113.9", "198.51.100.7", "198.51.100.7"),
        (None, "203.0.113.9", None, "203.0.113.9"),
        (["10.0.0.0/8"], "203.0.113.9", "198.51.100.7", "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.1", "198.51.100.7", "198.51.100.7"),
    ],
)
async def test_behind_cloudflare(app: decant.Quart, trusted: Any, peer: str, header: Any, found: str) -> None:
    """Where TRUSTED_PROXIES is set, the header is believed from these only."""
    app.config["TRUSTED_PROXIES"] = trusted
    headers = {"CF-Connecting-IP": header} if header else {}
    async with app.test_request_context("/", headers=headers):
        from quart import request

        request.remote_addr = peer
        assert get_remote_address_cloudflare() == found


@pytest.mark.parametrize("trusted", [None, 1, ["127.0.0.0/8"]])
async def test_a_forged_header_does_not_evade_a_limit(limited: Callable[..., Any], trusted: Any) -> None:
    """Whatever the client writes before what our proxy adds, or with no proxy at all."""
    app, limiter = limited(TRUSTED_PROXIES=trusted)

    @app.get("/")
    @limiter.limit("2/day")
    async def index() -> str:
        return "ok"

    client = app.test_client()
    found = []
    for i in range(4):
        forged = f"6.6.6.{i}"
        value = f"{forged}, 198.51.100.7" if trusted else forged
        headers = {"X-Forwarded-For": value, "Remote-Addr": forged}
        found += await statuses(client, "/", 1, headers=headers)
    assert found == [200, 200, 429, 429]
    if trusted:
        assert await statuses(client, "/", 1, headers={"X-Forwarded-For": "198.51.100.8"}) == [200]
