"""The migrations make the tables that the models, and the ledger of the jobs, have; and they lead back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from app import create_app
from decant.database.migrate import check, downgrade, upgrade
from decant.errors import CommandError

from .conftest import copy_of


@pytest.fixture
def app_database_url(migrated: str, servers: Any) -> Iterator[str]:
    """One of its own: its tables are changed."""
    with copy_of(migrated, servers) as url:
        yield url


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in found}


def test_the_migrations_make_what_the_code_expects(settings: dict[str, Any]) -> None:
    """Every table, column and index of the models and of ``decant.tasks``: nothing is left for a new revision."""
    asyncio.run(check(create_app(settings)))
    with psycopg.connect(settings["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("ALTER TABLE decant_jobs DROP COLUMN summary")
    with pytest.raises(CommandError, match="summary"):
        asyncio.run(check(create_app(settings)))


def test_every_migration_can_be_undone_and_done_again(settings: dict[str, Any]) -> None:
    """Down to nothing, and up again to the same tables."""
    url = settings["DATABASE_URL"]
    before = tables(url)
    asyncio.run(downgrade(create_app(settings), "base"))
    assert tables(url) == {"alembic_version"}
    asyncio.run(upgrade(create_app(settings)))
    assert tables(url) == before
    asyncio.run(check(create_app(settings)))
