"""A database that has the ledger's tables, and a ledger on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from decant.tasks.ledger import Ledger
from decant.tasks.ledger.tables import metadata


@pytest.fixture
def ledger_url(database_url: str) -> str:
    """The URL of a fresh database with the ledger's tables, as an application configures it: ``postgresql://…``."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()
    return database_url


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """A ledger on :func:`ledger_url`, closed after the test."""
    made = Ledger(ledger_url)
    yield made
    await made.aclose()
