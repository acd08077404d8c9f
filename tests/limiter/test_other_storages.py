"""The other storages of `limits`, by the example of a Redis Cluster of one node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from limits import parse

from tests.limiter.asking import statuses
from tests.valkey import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start("--cluster-enabled", "yes", "--appendonly", "no")
    try:
        with redis_py.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            deadline = time.monotonic() + 30
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=[]):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield server
    finally:
        server.kill()


@pytest.fixture
def storage_uri(server: Server) -> str:
    return f"redis+cluster://127.0.0.1:{server.port}"


@pytest.mark.parity("limiter", "storage_uri, storage_options")
async def test_limits_in_a_redis_cluster(limited: Callable[..., Any], server: Server, strategy: str) -> None:
    """One step for each limit; a denied request does not consume the others; without it, the limiter does what it is
    told."""
    options = {"storage_options": {"deadline_s": 30}, "meta_limits": ["5/day"], "on_storage_error": "deny"}
    app, limiter = limited(lambda: "me", strategy=strategy, **options)

    @app.get("/")
    @limiter.limit("9/hour; 2/day")
    async def index() -> list[int]:
        return [limit.remaining for limit in limiter.current_limits]

    client = app.test_client()
    async with app.app_context():
        storage = limiter.storage.here
        try:
            assert await (await client.get("/")).get_json() == [8, 1]
            assert await statuses(client, "/", 3) == [200, 429, 429]
            stats = await limiter.limiter.get_window_stats(parse("9/hour"), "me", "index")
            assert stats.remaining == 7
            assert await statuses(client, "/", 4) == [429] * 4
            breach = await client.get("/")
            assert "5 per 1 day" in await breach.get_data(as_text=True), "the meta limit"
            server.kill()
            assert await statuses(client, "/", 1) == [503]
        finally:
            await storage.bridge.storage.aclose()
