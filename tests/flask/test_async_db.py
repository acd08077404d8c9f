"""``create_engine`` of an unmodified application on async drivers: its options, its threads, its end."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import psycopg
import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool, StaticPool

from decant import Quart
from decant.bridge import bridged, in_thread
from decant.database import SQLAlchemy as SQLAlchemyTwin
from decant.database.pool import BridgedQueuePool
from decant.errors import ConfigError, MissingExtra
from decant.flask import asgi
from decant.flask.async_db import dispose_engines, use_async_drivers
from tests.flask.loop_asking import ask, async_drivers
from tests.serving import serve


@pytest.fixture
def mapped() -> Iterator[dict[str, str]]:
    with async_drivers() as mapped:
        yield mapped


def name(engine: Engine) -> str:
    return f"{engine.dialect.name}+{engine.dialect.driver}"


def test_what_is_mapped_is_told(mapped: dict[str, str]) -> None:
    assert mapped["postgresql"] == mapped["postgresql+psycopg2"] == "psycopg_async"
    assert mapped["sqlite"] == "aiosqlite"


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u:p@localhost/x", "postgresql+psycopg"),
        ("postgresql+psycopg2://u:p@localhost/x?sslmode=disable", "postgresql+psycopg"),
        ("postgresql+psycopg://u:p@localhost/x", "postgresql+psycopg"),
        ("postgresql+asyncpg://u:p@localhost/x", "postgresql+asyncpg"),
        ("sqlite:///file.db", "sqlite+aiosqlite"),
        ("sqlite+pysqlite:///file.db", "sqlite+aiosqlite"),
    ],
)
def test_engines_are_on_async_drivers_with_the_bridges_pool(mapped: Any, url: str, driver: str) -> None:
    engine = create_engine(url)
    assert name(engine) == driver
    assert engine.dialect.is_async
    assert isinstance(engine.pool, BridgedQueuePool)
    assert engine.url.render_as_string(hide_password=False) == url, "what reads the URL finds its own"


@pytest.mark.parametrize(("kind", "driver"), [("flask", "psycopg"), ("quart", "asyncpg")])
def test_the_twin_uses_them_for_flask_applications(mapped: Any, kind: str, driver: str) -> None:
    """What is ported or new has asyncpg, which is stricter about types."""
    app: Any = flask.Flask("legacy") if kind == "flask" else Quart("new")
    app.config["SQLALCHEMY_DATABASE_URI"] = "postgres://u:p@localhost/x"
    db = SQLAlchemyTwin(app)
    assert db.options_of(app)[None]["url"].drivername == f"postgresql+{driver}"


@pytest.mark.parametrize(
    ("given", "pool"),
    [
        (QueuePool, BridgedQueuePool),
        (NullPool, NullPool),
        (StaticPool, StaticPool),
        (SingletonThreadPool, StaticPool),
    ],
)
def test_a_pool_class_that_is_given_is_kept_where_it_can_be(mapped: Any, given: Any, pool: Any) -> None:
    assert isinstance(create_engine("sqlite:///file.db", poolclass=given).pool, pool)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
async def test_a_database_in_memory_is_one_for_all(mapped: Any, url: str) -> None:
    engine = create_engine(url)

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t AS SELECT 1 AS a"))

    def read() -> Any:
        with engine.connect() as connection:
            return connection.scalar(text("SELECT a FROM t"))

    await in_thread(write)
    assert await in_thread(read) == await asyncio.to_thread(read) == 1
    await in_thread(engine.dispose)


def test_options_of_flask_sqlalchemy_and_psycopg2_are_taken(mapped: Any, database_url: str, tmp_path: Path) -> None:
    app = flask.Flask("options", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_size": 3,
        "max_overflow": 1,
        "pool_timeout": 2,
        "pool_recycle": 60,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        "poolclass": QueuePool,
        "isolation_level": "REPEATABLE READ",
        "executemany_mode": "values_plus_batch",
        "connect_args": {"connect_timeout": 30, "application_name": "shop", "options": "-c statement_timeout=9s"},
    }
    app.config["SQLALCHEMY_BINDS"] = {"file": "sqlite:///file.db", "memory": "sqlite://"}
    db = SQLAlchemy(app)
    with app.app_context():
        pool: Any = db.engine.pool
        assert (pool.size(), pool._max_overflow, pool._timeout, pool._recycle) == (3, 1, 2, 60)
        assert db.session.scalar(text("SHOW application_name")) == "shop"
        assert db.session.scalar(text("SHOW statement_timeout")) == "9s"
        assert db.session.scalar(text("SHOW transaction_isolation")) == "repeatable read"
        assert isinstance(db.engines["memory"].pool, StaticPool)
        with db.engines["file"].connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        assert (tmp_path / "file.db").exists()
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


def test_a_listener_of_connect_uses_the_connection(mapped: Any, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'file.db'}")

    @event.listens_for(engine, "connect")
    def foreign_keys(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg_async", "asyncpg"])
async def test_an_engine_works_wherever_the_application_uses_it(database_url: str, driver: Any) -> None:
    """At import, in bridged tasks, in threads of the bridge and of its own; also a cursor on the server's side."""
    with async_drivers(postgresql=driver):
        engine = create_engine(database_url, pool_size=2, max_overflow=1, pool_pre_ping=True)

    def rows() -> int:
        with engine.connect().execution_options(stream_results=True, max_row_buffer=10) as connection:
            return sum(1 for _ in connection.execute(text("SELECT generate_series(1, 100)")))

    async def bridged_rows() -> int:
        return rows()

    assert await asyncio.to_thread(rows) == 100
    counts = await asyncio.gather(
        *(bridged(bridged_rows()) for _ in range(10)),
        *(in_thread(rows) for _ in range(10)),
        *(asyncio.to_thread(rows) for _ in range(3)),
    )
    assert counts == [100] * 23
    pool: Any = engine.pool
    assert pool.checkedout() == 0
    await dispose_engines()
    assert pool.checkedin() == 0


def sessions_of(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone()
    return int(row[0]) if row else 0


@pytest.fixture
def on_postgresql(mapped: Any, database_url: str) -> tuple[flask.Flask, SQLAlchemy]:
    app, db = flask.Flask("on_postgresql"), SQLAlchemy()
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    db.init_app(app)
    return app, db


@pytest.mark.parametrize("mode", ["loop", "threads"])
async def test_connections_end_with_the_serving_loop(on_postgresql: Any, database_url: str, mode: Any) -> None:
    """Those of Flask-SQLAlchemy's engines, and of one that the application made by itself."""
    app, db = on_postgresql
    own = create_engine(database_url)

    @app.get("/")
    def index() -> str:
        with own.connect() as connection:
            return f"{db.session.scalar(text('SELECT 1'))}{connection.scalar(text('SELECT 2'))}"

    async with serve(asgi(app, views=mode)) as url:
        assert await ask(url, "/") == (200, "12")
        assert await asyncio.to_thread(sessions_of, database_url) == 2
    async with asyncio.timeout(30):
        while await asyncio.to_thread(sessions_of, database_url):
            await asyncio.sleep(0.02)


async def test_create_async_engine_is_sqlalchemys_own(mapped: Any) -> None:
    engine = create_async_engine("postgresql+asyncpg://u@localhost/x")
    assert type(engine.dialect) is PGDialect_asyncpg


def test_a_connection_of_a_blocking_driver_cannot_be_used(mapped: Any) -> None:
    with pytest.raises(ConfigError, match="creator"):
        create_engine("postgresql://u@localhost/x", creator=lambda: None)


def test_another_driver_is_refused() -> None:
    with pytest.raises(ConfigError, match="'psycopg_async', 'asyncpg'"):
        use_async_drivers("psycopg2")  # type: ignore[arg-type]


def test_a_driver_that_is_not_installed_is_missed_by_its_engine(mapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    create_engine("sqlite://")
    with pytest.raises(MissingExtra, match=r"--async-db .* pip install 'psycopg\[binary\]'"):
        create_engine("postgresql://u@localhost/x")


async def test_a_thread_of_the_application_that_outlives_a_request_may_use_it(on_postgresql: Any) -> None:
    """``threading.Thread(target=job).start()`` and an answer at once, as it is taught."""
    app, db = on_postgresql
    results: list[Any] = []
    done = threading.Event()

    def job() -> None:
        with app.app_context():
            results.append(db.session.scalar(text("SELECT 'done' FROM pg_sleep(0.1)")))
        done.set()

    @app.get("/")
    def index() -> str:
        threading.Thread(target=job).start()
        return "started"

    async with serve(asgi(app, views="loop")) as url:
        assert await ask(url, "/") == (200, "started")
        assert await asyncio.to_thread(done.wait, 30)
    assert results == ["done"]
