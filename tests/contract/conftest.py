"""The implementations, each started when its first case is run, and ended before the next is started."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis

pytest.register_assert_rewrite("tests.contract.cases", "tests.contract.visitor")

from .running import NotStarted, Running  # noqa: E402
from .selection import chosen  # noqa: E402


@pytest.fixture(scope="module")  # not of the session: its workers would take the jobs and clicks of other tests
def running(request: pytest.FixtureRequest, servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The implementation, with a database of its own and an empty Redis; or why it did not start."""
    implementation = request.param
    if reason := implementation.missing():
        pytest.skip(reason)
    kept = chosen().logs
    logs = kept / implementation.name if kept else tmp_path_factory.mktemp(implementation.name)
    logs.mkdir(parents=True, exist_ok=True)
    name = f"contract_{uuid.uuid4().hex}"
    base, _, query = servers.database_url.partition("?")
    url = f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    with Redis.from_url(servers.redis_url) as client:
        client.flushall()
    site = Running(implementation, {"DATABASE_URL": url, "REDIS_URL": servers.redis_url}, Path(logs))
    try:
        try:
            site.start()
        except NotStarted as error:
            yield error
        else:
            yield site
    finally:
        site.stop()
        with psycopg.connect(servers.database_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]
