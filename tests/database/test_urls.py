"""URLs and options: what a Flask application has configured, as async drivers take it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from decant.database import BridgedQueuePool, SQLAlchemy
from decant.database.engines import engine_options
from decant.database.urls import async_url
from decant.errors import ConfigError, MissingExtra


def options(tmp_path: Path, url: Any, **config: Any) -> dict[str, Any]:
    return engine_options({"SQLALCHEMY_DATABASE_URI": url, **config}, {}, tmp_path)[None]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d"),
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u@/d?host=/run/pg", "postgresql+asyncpg://u@/d?host=/run/pg"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg_async://h/d", "postgresql+psycopg_async://h/d"),
        ("sqlite://", "sqlite+aiosqlite://"),
        ("sqlite:////a/b.db", "sqlite+aiosqlite:////a/b.db"),
    ],
)
def test_urls_get_an_async_driver(given: str, expected: str) -> None:
    """Unless they name one."""
    assert async_url(given, "KEY").render_as_string(hide_password=False) == make_url(expected).render_as_string(
        hide_password=False
    )


@pytest.mark.parametrize("url", ["postgresql+psycopg2://u:secret@h/d", "sqlite+pysqlite://", "mysql+pymysql://h/d"])
def test_a_driver_that_blocks_is_refused(url: str) -> None:
    """With the key, and what to write; without the password."""
    message = r"SQLALCHEMY_BINDS .+ blocks the event loop; write (postgresql|sqlite|mysql)://"
    with pytest.raises(ConfigError, match=message) as caught:
        async_url(url, "SQLALCHEMY_BINDS")
    assert "secret" not in str(caught.value)


def test_what_is_no_url_is_refused() -> None:
    """With the key, without the password."""
    with pytest.raises(ConfigError, match="KEY = 'nonsense' is not valid: a database URL is needed"):
        async_url("nonsense", "KEY")
    for wrong in (
        "postgresql//u:secret@h/d",
        "postgres:/u:sec:ret@h/d",
        "postgresql://u:secret@h:port/d",
        "nosuch://u:secret@h/d",
        "postgresql+nosuch://u:secret@h/d",
    ):
        with pytest.raises(ConfigError, match=r"KEY = '.+' is not valid") as caught:
            async_url(wrong, "KEY")
        assert "sec" not in str(caught.value)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra, or the package where there is none."""
    for module, url, command in (
        ("asyncpg", "postgresql://h/d", r"quart-decant\[database\]"),
        ("aiosqlite", "sqlite://", r"quart-decant\[sqlite\]"),
        ("aiomysql", "mysql://h/d", "pip install aiomysql"),
    ):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(MissingExtra, match=command):
            async_url(url, "KEY")


def test_relative_sqlite_paths_are_in_the_instance_folder(tmp_path: Path) -> None:
    """Which is made."""
    folder = tmp_path / "instance"
    assert async_url("sqlite:///my.db", "KEY", folder).database == str(folder / "my.db")
    assert folder.is_dir()
    assert async_url("sqlite:///file:my.db?uri=true", "KEY", folder).database == f"file:{folder / 'my.db'}"
    assert async_url("sqlite:///file:x?mode=memory&uri=true", "KEY", folder).database == "file:x"


def test_pools(tmp_path: Path) -> None:
    """Ours in place of the default, one connection for a database in memory, the user's choice otherwise."""
    pg = "postgresql://h/d"
    assert options(tmp_path, pg)["poolclass"] is BridgedQueuePool
    assert options(tmp_path, "sqlite://")["poolclass"] is StaticPool
    engine = {"SQLALCHEMY_ENGINE_OPTIONS": {"poolclass": NullPool}}
    assert options(tmp_path, pg, **engine)["poolclass"] is NullPool
    assert options(tmp_path, pg, SQLALCHEMY_ENGINE_OPTIONS={"poolclass": QueuePool})["poolclass"] is BridgedQueuePool


def test_deadlines_and_libpq_parameters(tmp_path: Path) -> None:
    """Connecting takes 10 s at most, a statement 30 s; what libpq takes in a URL is given to asyncpg in its way."""
    assert options(tmp_path, "postgresql://h/d")["connect_args"] == {"timeout": 10.0, "command_timeout": 30.0}
    url = (
        "postgresql://h/d?sslmode=require&application_name=shop&connect_timeout=3&client_encoding=utf8"
        "&options=-c%20search_path%3Dshop%20-cwork_mem%3D8MB"
    )
    found = options(tmp_path, url)
    assert found["url"].query == {"ssl": "require"}
    settings = {"application_name": "shop", "search_path": "shop", "work_mem": "8MB"}
    assert found["connect_args"] == {"timeout": 3.0, "command_timeout": 30.0, "server_settings": settings}
    own = {"connect_args": {"command_timeout": 5}}
    assert options(tmp_path, url, SQLALCHEMY_ENGINE_OPTIONS=own)["connect_args"]["command_timeout"] == 5
    assert own == {"connect_args": {"command_timeout": 5}}
    assert options(tmp_path, "postgresql+psycopg://h/d")["connect_args"] == {"connect_timeout": 10}


def test_wrong_options_stop_the_start(tmp_path: Path) -> None:
    """With their key."""
    with pytest.raises(RuntimeError, match="Either 'SQLALCHEMY_DATABASE_URI' or 'SQLALCHEMY_BINDS' must be set"):
        options(tmp_path, None)
    with pytest.raises(ConfigError, match="SQLALCHEMY_BINDS = 'x' is not valid"):
        options(tmp_path, "sqlite://", SQLALCHEMY_BINDS="x")
    with pytest.raises(ConfigError, match=r"SQLALCHEMY_BINDS\['a'\] = .+ 'url', is needed"):
        options(tmp_path, "sqlite://", SQLALCHEMY_BINDS={"a": {"echo": True}})


def test_an_application_has_one_database(make_app: Callable[..., Any]) -> None:
    """A second init_app is a mistake."""
    db = SQLAlchemy()
    app = make_app(db, "sqlite://")
    assert app.extensions["sqlalchemy"] is db
    for other in (db, SQLAlchemy()):
        with pytest.raises(RuntimeError, match="already been registered"):
            other.init_app(app)
    with pytest.raises(TypeError, match=r"a quart\.Quart or flask\.Flask application is needed"):
        SQLAlchemy(object())


async def test_pgbouncer_mode_prepares_nothing_by_a_name_twice(make_app: Callable[..., Any], database_url: str) -> None:
    """Neither cache is used, and each statement's name is new, so that any server connection can take it."""
    db = SQLAlchemy()
    app = make_app(db, database_url, SQLALCHEMY_PGBOUNCER=True)
    async with app.app_context():
        for _ in range(3):
            assert await db.session.scalar(text("SELECT 1")) == 1
        names = set((await db.session.scalars(text("SELECT name FROM pg_prepared_statements"))).all())
        await db.session.execute(text("SELECT 2"))
        later = set((await db.session.scalars(text("SELECT name FROM pg_prepared_statements"))).all())
        assert all(name.startswith("__decant_") for name in names | later)
        assert not names & later
        await db.session.remove()
        await db.dispose()


def connections(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"  # and not autovacuum's
        )
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def test_engines_are_disposed_with_their_loop(make_app: Callable[..., Any], database_url: str) -> None:
    """One application on three loops, one after the other: none leaves a connection open."""
    db = SQLAlchemy()
    app = make_app(db, database_url)
    pools = []

    async def main() -> None:
        async with app.app_context():
            assert await db.session.scalar(text("SELECT 1")) == 1
            pools.append(db.engine.pool)

    for _ in range(3):
        asyncio.run(main())
    assert len({id(pool) for pool in pools}) == 3
    deadline = time.monotonic() + 60
    while connections(database_url):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_engines_are_disposed_with_their_application(make_app: Callable[..., Any], database_url: str) -> None:
    """A test suite that makes a thousand applications on one loop does not run out of connections."""
    for _ in range(3):
        db = SQLAlchemy()
        app = make_app(db, database_url)
        async with app.app_context():
            await db.session.execute(text("SELECT 1"))
        del app, db
    gc.collect()
    async with asyncio.timeout(20):
        while await asyncio.to_thread(connections, database_url):
            await asyncio.sleep(0.02)
