"""A database with the ledger's tables: making one takes longer than most tests, so a process of tests has one, which is
emptied before each test that asks for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from decant.tasks.ledger.tables import metadata

__all__ = ["cut_off_others", "empty", "ledger_database", "ledger_url", "make_tables", "new_ledger"]

_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def make_tables(database_url: str) -> None:
    """Those of the ledger which are missing."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()


@contextmanager
def new_ledger(servers: Any) -> Iterator[str]:
    """The URL of a database of its own with the ledger's tables: ``postgresql://…``; it is dropped in the end."""
    database = f"test_{uuid.uuid4().hex}"
    name = sql.Identifier(database)
    url = make_url(servers.database_url).set(database=database).render_as_string(hide_password=False)
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
    make_tables(url)
    yield url
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def cut_off_others(connection: psycopg.Connection[Any]) -> None:
    """Whoever else is connected to the database."""
    connection.execute(_OTHERS)


def empty(database_url: str) -> None:
    """Leave the ledger's tables in it, without rows, and nobody who is connected."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        cut_off_others(connection)
        ledgers = set(metadata.tables)
        found = {name for (name,) in connection.execute(_TABLES)}
        for name in found - ledgers:
            connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(name)))
        for name in found & ledgers:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
    if not ledgers <= found:
        make_tables(database_url)


@pytest.fixture(scope="session")
def ledger_database(servers: Any) -> Iterator[str]:
    """Of all tests in this process; tests ask for :func:`ledger_url`."""
    with new_ledger(servers) as url:
        yield url


@pytest.fixture
def ledger_url(ledger_database: str) -> str:
    """The URL of a database with the ledger's tables, empty, as an application configures it: ``postgresql://…``."""
    empty(ledger_database)
    return ledger_database
