"""Dialects by which an unmodified ``create_engine("postgresql://…")`` talks to an async driver, wherever it is used.

They are SQLAlchemy's own for those drivers, with the bridge's pool. SQLAlchemy's connections to async drivers work
inside a greenlet only, as every request is; here they also work in a thread of the application's own, or in a script.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import URL
from sqlalchemy.pool import Pool, QueuePool, SingletonThreadPool, StaticPool

from ..bridge import flow
from ..database.anywhere import anywhere, freed, pool_class
from ..database.pool import BridgedQueuePool
from ..database.urls import asyncpg_arguments, is_memory
from ..errors import ConfigError, MissingExtra

__all__ = ["ENGINES", "Aiosqlite", "Asyncpg", "Psycopg"]

ENGINES: Final[WeakSet[Engine]] = WeakSet()
"""Those that were made with these dialects, to be disposed of with their loop."""


class _Anywhere:
    """What the dialects have in common; stands before SQLAlchemy's class.

    ``poolclass`` and ``creator`` are ``create_engine``'s own arguments, which it gives to a dialect that asks for them.
    """

    driver: str
    install: str
    theirs: type[Any]

    def __init__(self, poolclass: type[Pool] | None = None, creator: object = None, **options: Any) -> None:
        if creator is not None:
            raise ConfigError("creator", creator, f"it would make connections that {self.driver} does not know")
        self._poolclass = poolclass
        super().__init__(**options)

    @classmethod
    def import_dbapi(cls) -> Any:
        """:raises MissingExtra: if the driver is not installed."""
        try:
            return super().import_dbapi()  # type: ignore[misc]
        except ImportError as error:
            advice = f"--async-db talks to this database with {error.name!r}: pip install {cls.install!r}"
            raise MissingExtra(advice, name=error.name) from error

    def get_dialect_pool_class(self, url: URL) -> type[Pool]:
        """The bridge's pool instead of a ``QueuePool``; other classes as they are given."""
        given = self._poolclass or type(self).get_pool_class(url)
        return pool_class({QueuePool: BridgedQueuePool, SingletonThreadPool: StaticPool}.get(given, given))

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        return BridgedQueuePool

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[Any]:
        """For ``create_async_engine``: SQLAlchemy's own."""
        return cls.theirs

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        super().engine_created(engine)  # type: ignore[misc]
        if isinstance(engine.dialect, cls):
            ENGINES.add(engine)

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """SQLAlchemy's connection, whose methods wait where there is no greenlet."""
        return anywhere(freed(super().connect))(*arguments, **options)  # type: ignore[misc]


class _Postgresql(_Anywhere):
    """What only psycopg2's dialect knows is accepted, and has no meaning here."""

    def __init__(
        self, executemany_mode: object = None, executemany_batch_page_size: object = None, **options: Any
    ) -> None:
        super().__init__(**options)


class Psycopg(_Postgresql, PGDialectAsync_psycopg):
    """``postgresql://`` and its blocking drivers, by psycopg 3: it takes the values that psycopg2 takes."""

    install, theirs = "psycopg[binary]", PGDialectAsync_psycopg
    supports_statement_cache = True


class Asyncpg(_Postgresql, PGDialect_asyncpg):
    """``postgresql+asyncpg://``, by choice: faster, and stricter about the types of values.

    libpq's parameters in the URL, as ``sslmode``, become asyncpg's. A connection of asyncpg belongs to its event loop:
    met in another one, it is replaced.
    """

    install, theirs = "asyncpg", PGDialect_asyncpg
    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> Any:
        url, found = asyncpg_arguments(url)
        arguments, options = super().create_connect_args(url)  # type: ignore[no-untyped-call]
        return arguments, {**found, **options}

    def get_dialect_pool_class(self, url: URL) -> type[Pool]:
        plain: Any = super().get_dialect_pool_class(url)

        def get(pool: Any) -> Any:
            record = plain._do_get(pool)
            if record.dbapi_connection is not None and record.driver_connection._loop is not _loop_here():
                record.invalidate()  # and is opened anew
            return record

        return type(plain.__name__, (plain,), {"_do_get": get})

    def do_terminate(self, dbapi_connection: Any) -> None:
        driver = dbapi_connection.driver_connection
        if driver._loop is _loop_here():
            super().do_terminate(dbapi_connection)
        elif not driver._loop.is_closed():
            driver._loop.call_soon_threadsafe(driver.terminate)


class Aiosqlite(_Anywhere, SQLiteDialect_aiosqlite):
    """``sqlite://``: a file has a pool, as pysqlite has; a database in memory is one connection, for threads too."""

    install, theirs = "aiosqlite", SQLiteDialect_aiosqlite
    supports_statement_cache = True

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        return StaticPool if is_memory(url) else BridgedQueuePool


def _loop_here() -> asyncio.AbstractEventLoop:
    """The running loop, or the one that this thread works for."""
    return asyncio._get_running_loop() or flow().get_loop()
