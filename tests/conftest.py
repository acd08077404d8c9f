"""Real servers for every test: PostgreSQL and Valkey, embedded unless the environment names others.

``DECANT_TEST_DATABASE_URL`` (a superuser's) and ``DECANT_TEST_REDIS_URL`` spare the start of the embedded ones.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from redis import Redis


@dataclass(frozen=True)
class Servers:
    database_url: str
    redis_url: str


LONG = {"app", "cli", "contract", "deploy", "docs", "embedded", "monitor", "workers"}
"""Folders whose tests start processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no process of the suite is left with one while the others are done."""
    first: dict[Path, int] = {}
    for item in items:
        marked = item.get_closest_marker("slow") or item.get_closest_marker("browser")
        rank = 0 if marked else 1 if not LONG.isdisjoint(item.path.parts) else 2
        first[item.path] = min(rank, first.get(item.path, 2))
    items.sort(key=lambda item: first[item.path])


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL and Valkey for the whole session."""
    database_url = os.environ.get("DECANT_TEST_DATABASE_URL")
    redis_url = os.environ.get("DECANT_TEST_REDIS_URL")
    if database_url and redis_url:
        yield Servers(database_url, redis_url)
        return
    from decant.embedded import services

    with services(Path(tmp_path_factory.mktemp("servers")), durable=False) as started:
        yield Servers(database_url or started.database_url, redis_url or started.redis_url)


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """A database of its own, empty, dropped after the test: ``postgresql://…``."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    base, _, query = servers.database_url.partition("?")
    yield f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The URL of a Redis database that is empty when the test starts."""
    with Redis.from_url(servers.redis_url) as client:
        client.flushdb()
    return servers.redis_url


@pytest.fixture(autouse=True)
def no_blocking() -> Iterator[BlockBuster]:
    """A blocking call on the event loop fails the test that made it."""
    with blockbuster_ctx() as guard:
        # Quart's own: templates and static files are looked up with os.stat before they are served.
        guard.functions["os.stat"].can_block_in("quart/helpers.py", {"send_file", "send_from_directory"})
        guard.functions["os.stat"].can_block_in("jinja2/loaders.py", {"get_source", "uptodate"})
        guard.functions["os.stat"].can_block_in("quart/wrappers/response.py", {"__init__"})
        # asyncpg's own: it looks for ~/.pgpass and ~/.postgresql once per connection that it opens.
        for call in ("os.stat", "os.getcwd", "os.readlink", "io.TextIOWrapper.read"):
            guard.functions[call].can_block_in("asyncpg/connect_utils.py", {"_parse_connect_dsn_and_args"})
        # SQLAlchemy's own: the path of a SQLite database, once per engine.
        guard.functions["os.path.abspath"].can_block_in("sqlite/pysqlite.py", {"create_connect_args"})
        yield guard
