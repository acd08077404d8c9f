"""The application on a migrated database of its own, and people who use its pages."""

from __future__ import annotations

import asyncio
import html
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import time_machine
from psycopg import sql
from quart.testing.app import TestApp

from app import create_app
from app.redirects import rows
from app.stats import totals
from decant import Quart
from decant.database.migrate import upgrade
from decant.testing import Client
from tests.ledgers import cut_off_others

KEY = "not so secret, for tests only"
Make = Callable[..., Awaitable[Quart]]
PASSWORD = "correct horse battery"
AMPLE_S = 30.0  # where the answer matters, and not when it comes


def with_name(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


@pytest.fixture(scope="session")
def migrated(servers: Any) -> Iterator[str]:
    """The name of a database with the application's tables, made by its migrations; to be copied."""
    name = f"template_{uuid.uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = with_name(servers.database_url, name)
    asyncio.run(upgrade(create_app({"DATABASE_URL": url, "REDIS_URL": servers.redis_url, "SECRET_KEY": KEY})))
    yield name
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def copy_of(migrated: str, servers: Any) -> Iterator[str]:
    """A copy of the migrated database, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated}")
    yield with_name(servers.database_url, name)
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def database_that_is_used_again(migrated: str, servers: Any) -> Iterator[str]:
    with copy_of(migrated, servers) as url:
        yield url


@pytest.fixture
def app_database_url(database_that_is_used_again: str) -> str:
    """The application's database, migrated and empty: to empty it takes a tenth of the time of a new copy."""
    empty(database_that_is_used_again)
    return database_that_is_used_again


def empty(url: str, *, is_used: bool = False) -> None:
    """Delete all rows; sequences begin anew. Whoever is connected still is cut off, unless the database ``is_used``."""
    with psycopg.connect(
        url, autocommit=True, options="-c lock_timeout=20s -c client_min_messages=error"
    ) as connection:
        if not is_used:
            cut_off_others(connection)
        tables = [table for (table,) in connection.execute(TABLES)]
        has_rows = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(table, sql.Identifier(table)) for table in tables
        )
        if used := [sql.Identifier(table) for (table,) in connection.execute(has_rows)]:
            truncate(connection, used)
        connection.execute(SEQUENCES)


def truncate(connection: psycopg.Connection[Any], tables: list[sql.Identifier]) -> None:
    """Again where somebody was still reading them, in another order."""
    while True:
        with suppress(psycopg.errors.DeadlockDetected):
            connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(tables)))
            return


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
SEQUENCES = """SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) FROM pg_sequences
    WHERE last_value IS NOT NULL"""


@pytest.fixture
def settings(app_database_url: str, redis_url: str) -> dict[str, Any]:
    """Settings for ``create_app``: real servers, cheap hashes, deadlines that a busy machine keeps."""
    return settings_of(app_database_url, redis_url)


def settings_of(database_url: str, redis_url: str) -> dict[str, Any]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": KEY,
        "ARGON2_TIME_COST": 1,
        "ARGON2_MEMORY_COST_KIB": 64,
        "TESTING": True,
        "PROPAGATE_EXCEPTIONS": False,
        "CDN_COMPRESS": False,  # it takes a second, at each start
        # Beyond its deadline Redis is as good as away: nothing is cached, each process counts for itself.
        "REDIS_DEADLINE_S": AMPLE_S,
        "DATABASE_POOL_TIMEOUT_S": AMPLE_S,
    }


def in_service(app: Quart) -> TestApp:
    """``app.test_app()`` with time to start and to end: Quart's own is over after six seconds, on any machine."""
    return TestApp(app, startup_timeout=60, shutdown_timeout=60)


@pytest.fixture
def one_moment() -> Iterator[None]:
    """The clock stands still: no day and no hour begins between what a test does and what it looks at."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        yield


@pytest.fixture
async def make(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes applications, which are served until the test ends; ``create_app`` reads files, so not on the loop.

    They have as much patience with the database as with Redis.
    """
    monkeypatch.setattr(rows, "DEADLINE_S", AMPLE_S)
    monkeypatch.setattr(totals, "_DEADLINE_S", AMPLE_S)
    async with AsyncExitStack() as served:

        async def make_app(**more: Any) -> Quart:
            app = await asyncio.to_thread(create_app, {**settings, **more})
            await served.enter_async_context(in_service(app))
            return app

        yield make_app


@pytest.fixture
async def app(make: Make) -> Quart:
    """The application, being served."""
    return await make()


@dataclass
class Person:
    """Somebody with a browser: keeps cookies, and sends forms with the token of the page they are on."""

    client: Client
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **options: Any) -> Any:
        response = await self.client.get(path, headers={"Accept": "text/html", **self.headers}, **options)
        found = re.search(r'name="csrf_token" value="([^"]+)"', await response.get_data(as_text=True))
        if found:
            self.token = found[1]
        return response

    async def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> Any:
        data = {"csrf_token": self.token, **(data or {})}
        headers = {"Accept": "text/html", "Origin": "http://localhost", **self.headers, **options.pop("headers", {})}
        return await self.client.post(path, data=data, headers=headers, **options)

    async def register(self, username: str, password: str = PASSWORD) -> Any:
        await self.get("/register")
        response = await self.post("/register", {"username": username, "password": password})
        await self.get("/account")
        return response

    async def log_in(self, username: str, password: str = PASSWORD, **extra: str) -> Any:
        await self.get("/login")
        response = await self.post("/login", {"username": username, "password": password, **extra})
        await self.get("/account")
        return response

    async def link(self, target: str = "https://example.com/", **fields: str) -> Any:
        return await self.post("/links/new", {"target": target, **fields})


@pytest.fixture
def person(app: Quart) -> Callable[[], Person]:
    """Makes people, each with a browser of their own."""
    return lambda: Person(app.test_client())


@pytest.fixture
async def ada(person: Callable[[], Person]) -> Person:
    """Somebody who is registered and logged in."""
    somebody = person()
    await somebody.register("ada")
    return somebody


async def until_ready(app: Quart, **states: str) -> Any:
    """What ``/readyz`` answers, as soon as it is 200 and these checks say so: each has two seconds, on any machine."""
    async with asyncio.timeout(AMPLE_S):
        while True:
            response = await app.test_client().get("/readyz")
            answer = await response.get_json()
            if response.status_code == 200 and states.items() <= answer["checks"].items():
                return answer
            await asyncio.sleep(0.02)


async def text_of(response: Any) -> str:
    """A response's HTML with its entities resolved."""
    return html.unescape(await response.get_data(as_text=True))
