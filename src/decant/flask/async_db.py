"""Database URLs of an unmodified application, answered by async drivers.

By SQLAlchemy's own registry of dialects: the URLs in the configuration, and what reads them, stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal

from ..bridge import bridged
from ..errors import ConfigError, MissingExtra

__all__ = ["dispose_engines", "use_async_drivers"]

logger = logging.getLogger("decant.flask")
_MODULE: Final = "decant.flask.dialects"
_POSTGRESQL: Final = {"psycopg_async": "Psycopg", "asyncpg": "Asyncpg"}
_BLOCKING: Final = {
    "postgresql": (
        "postgresql",
        "postgresql.psycopg2",
        "postgresql.psycopg",
        "postgresql.psycopg2cffi",
        "postgresql.pg8000",
    ),
    "sqlite": ("sqlite", "sqlite.pysqlite"),
}
DISPOSE_TIMEOUT_S: Final = 5.0


def use_async_drivers(postgresql: Literal["psycopg_async", "asyncpg"] = "psycopg_async") -> dict[str, str]:
    """Let ``create_engine`` of these URLs make engines on async drivers, in this process, from now on.

    Gives what was mapped, as ``{"postgresql": "psycopg_async", "postgresql+psycopg2": "psycopg_async", …, "sqlite":
    "aiosqlite"}``. A driver that is not installed is missed only where an engine is made with it.
    ``create_async_engine`` and other databases (MySQL, say, whose drivers block) are not touched.

    :param postgresql: psycopg 3 takes the values that psycopg2 takes; asyncpg refuses some: it is for ported code.
    :raises MissingExtra: without SQLAlchemy.
    :raises ConfigError: for another driver.
    """
    if postgresql not in _POSTGRESQL:
        raise ConfigError("postgresql", postgresql, f"one of {', '.join(map(repr, _POSTGRESQL))}")
    try:
        from sqlalchemy.dialects import registry
    except ImportError as error:
        raise MissingExtra(
            "--async-db maps SQLAlchemy's drivers, and SQLAlchemy is not installed", name="sqlalchemy"
        ) from error
    mapped = {}
    for database, driver, dialect in (
        ("postgresql", postgresql, _POSTGRESQL[postgresql]),
        ("sqlite", "aiosqlite", "Aiosqlite"),
    ):
        for name in _BLOCKING[database]:
            registry.register(name, _MODULE, dialect)
            mapped[name.replace(".", "+")] = driver
    for name, dialect in (
        ("postgresql.asyncpg", "Asyncpg"),
        ("postgresql.psycopg_async", "Psycopg"),
        ("sqlite.aiosqlite", "Aiosqlite"),
    ):
        registry.register(name, _MODULE, dialect)  # named outright: the bridge's pool for it
    return mapped


async def dispose_engines(app: Any = None) -> None:
    """Close the connections of engines on async drivers: when the loop that they belong to ends.

    Those made since :func:`use_async_drivers`, and those of Flask-SQLAlchemy in ``app``. Each has five seconds.
    """
    for engine in {*_made(), *_of(app)}:
        try:
            async with asyncio.timeout(DISPOSE_TIMEOUT_S):
                await bridged(_dispose(engine))
        except Exception:
            logger.warning("the connections to %s could not be closed", engine.url, exc_info=True)
            engine.dispose(close=False)


async def _dispose(engine: Any) -> None:
    engine.dispose()


def _made() -> Iterable[Any]:
    dialects = sys.modules.get(_MODULE)
    return list(dialects.ENGINES) if dialects is not None else ()


def _of(app: Any) -> list[Any]:
    extension = None if app is None else app.extensions.get("sqlalchemy")
    if extension is None:
        return []
    try:
        with app.app_context():  # where alone Flask-SQLAlchemy has them
            engines = list(getattr(extension, "engines", {}).values())
    except Exception:
        logger.warning("the engines of %s could not be listed, so none is disposed of", app.name, exc_info=True)
        return []
    engines = [getattr(engine, "sync_engine", engine) for engine in engines]  # the face's are asynchronous
    return [engine for engine in engines if engine.dialect.is_async]
