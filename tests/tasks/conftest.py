"""A database that has the ledger's tables, and a ledger on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from decant.tasks.ledger import Ledger
from tests.ledgers import ledger_database, ledger_url

__all__ = ["ledger_database", "ledger_url"]  # fixtures


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """A ledger on :func:`ledger_url`, closed after the test."""
    made = Ledger(ledger_url)
    yield made
    await made.aclose()
