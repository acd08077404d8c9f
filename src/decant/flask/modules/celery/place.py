"""Where the jobs of a Celery application are: which Redis, and whether a ledger keeps them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from sqlalchemy import inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ....errors import ConfigError, DatabaseUnavailable
from ....tasks.ledger.pool import _dsn, is_away
from ....tasks.ledger.tables import jobs, metadata

__all__ = ["Place", "found"]

logger = logging.getLogger("decant.flask")
_DEADLINE_S: Final = 15.0
_LOCK: Final = 0x6465_6361_6E74  # "decant": processes that start at once make the tables one after the other
_ADVICE: Final = "the tasks need a Redis: set TASKS_REDIS_URL in the environment, or the broker to redis://host:6379/0"
_REDIS: Final = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True)
class Place:
    """``database_url`` is ``None`` where Redis alone has the jobs; ``why`` says so."""

    redis_url: str
    database_url: str | None
    why: str = ""


async def found(conf: Any, config: Mapping[str, Any]) -> Place:
    """Where they are, by this rule.

    Redis: ``TASKS_REDIS_URL`` (of the settings, the Flask application, or the environment), else the broker, else the
    result backend, else ``REDIS_URL``. PostgreSQL: ``TASKS_DATABASE_URL``, likewise, or a result backend
    ``db+postgresql://``, in which missing tables are created, as Celery's backend does; else the Flask application's
    ``SQLALCHEMY_DATABASE_URI``, if the tables are there; else none.

    :param config: of the Flask application, if one is known.
    :raises ConfigError: if there is no Redis among them, or a URL is wrong.
    :raises DatabaseUnavailable: if the database does not answer.
    """
    redis_url = _redis(conf, config)
    given, key = _ledger(conf, config)
    if given is not None:
        await _prepare(_postgresql(given, key), create=True)
        return Place(redis_url, given)
    own = config.get("SQLALCHEMY_DATABASE_URI")
    url = None if own is None else _maybe_postgresql(own)
    if url is None:
        return Place(redis_url, None, "no PostgreSQL is known")
    if not await _prepare(url, create=False):
        return Place(redis_url, None, "the application's database has no tables of the ledger")
    return Place(redis_url, url.render_as_string(hide_password=False))


def _said(key: str, conf: Any, config: Mapping[str, Any]) -> str | None:
    value: str | None = conf[key] or config.get(f"TASKS_{key.upper()}") or os.environ.get(f"TASKS_{key.upper()}")
    return value


def _redis(conf: Any, config: Mapping[str, Any]) -> str:
    said = _said("redis_url", conf, config)
    if said:
        return said
    broker = _first(conf.said.get("broker_url"))
    for url in (broker, _first(conf.said.get("result_backend"))):
        if url and url.startswith(_REDIS):
            return url
    last = config.get("REDIS_URL") or os.environ.get("REDIS_URL")
    if not last:
        raise ConfigError("broker_url", broker and make_url(broker).render_as_string(), _ADVICE)
    return str(last)


def _first(urls: Any) -> str | None:
    """Celery takes several, to fail over."""
    url = urls.split(";")[0] if isinstance(urls, str) else next(iter(urls or ()), None)
    return None if not url else str(url).strip().replace("redis+socket://", "unix://")


def _ledger(conf: Any, config: Mapping[str, Any]) -> tuple[str | None, str]:
    said = _said("database_url", conf, config)
    backend = conf.said.get("result_backend")
    if said is None and isinstance(backend, str) and backend.startswith("db+postgres"):
        return backend.removeprefix("db+"), "result_backend"
    return said, "TASKS_DATABASE_URL"


def _maybe_postgresql(url: Any) -> URL | None:
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        return None
    return made if made.get_backend_name() in {"postgresql", "postgres"} else None


def _postgresql(url: str, key: str) -> URL:
    made = _maybe_postgresql(url)
    if made is None:
        raise ConfigError(key, "…", "the ledger of tasks needs PostgreSQL, as in postgresql://user@host/database")
    return made


async def _prepare(url: URL, *, create: bool) -> bool:
    """Whether the ledger's tables are there, or have been made."""
    dsn, timeout_s = _dsn(url)  # libpq's options, as sslmode, are not those of SQLAlchemy's dialect

    def connect() -> Any:
        return asyncpg.connect(dsn, timeout=timeout_s)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with asyncio.timeout(_DEADLINE_S), engine.connect() as connection:
            there = await connection.run_sync(lambda plain: inspect(plain).has_table(jobs.name))
            if create and not there:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                await connection.run_sync(metadata.create_all)
                await connection.commit()
                logger.info("the tables of the tasks' ledger were made in %s", url.render_as_string())
            return there or create
    except Exception as error:
        cause = getattr(error, "orig", error)
        if not is_away(getattr(cause, "__cause__", None) or cause):
            raise
        raise DatabaseUnavailable(f"the tasks' database {url.render_as_string()} does not answer: {error}") from error
    finally:
        await engine.dispose()
