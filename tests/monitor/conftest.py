"""A ledger with rows, as workers would have written them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import create_engine

from decant.tasks.ledger import tables

HISTORY = """
INSERT INTO decant_jobs (id, task, queue, payload, summary, state, attempt, worker, created, started, finished)
SELECT md5(n::text)::uuid,
       'app.task' || CASE WHEN n % 1000 = 7 THEN 'rare' ELSE (n % 8)::text END,
       CASE WHEN n % 10 = 0 THEN 'slow' ELSE 'default' END, '\\x80', 'user=' || n,
       CASE WHEN n <= {waiting} THEN 'PENDING' WHEN n <= {waiting} + 20 THEN 'STARTED'
            WHEN n % 200 = 0 THEN 'FAILURE' WHEN n % 333 = 0 THEN 'REVOKED' WHEN n % 77 = 0 AND n < 5000 THEN 'RETRY'
            ELSE 'SUCCESS' END,
       1, 'web' || n % 3 || ':1:ab', now() - n * interval '1 second', now() - n * interval '1 second',
       now() - n * interval '1 second' + interval '20 ms'
FROM generate_series(1, {rows}) AS n
"""


def make_tables(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    tables.metadata.create_all(engine)
    engine.dispose()


@pytest.fixture
def ledger_url(database_url: str) -> str:
    """A database that has the ledger's tables, empty."""
    make_tables(database_url)
    return database_url


@pytest.fixture
async def connection(ledger_url: str) -> AsyncIterator[Any]:
    """To an empty ledger."""
    connection = await asyncpg.connect(ledger_url)
    yield connection
    await connection.close()
