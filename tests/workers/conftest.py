"""The application's fixtures, and the environment of a worker's process."""

from __future__ import annotations

import os
from typing import Any

import pytest

from decant import Quart
from tests.app.conftest import KEY, app_database_url, database_that_is_used_again, make, migrated, settings

__all__ = ["app", "app_database_url", "database_that_is_used_again", "make", "migrated", "settings"]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a busy machine's database needs to look up a link."""
    monkeypatch.setattr("app.redirects.rows.DEADLINE_S", 20.0)


@pytest.fixture
async def app(make: Any) -> Quart:
    """With a deadline that a busy machine keeps: clicks whose answer is lost may be lost too."""
    app: Quart = await make(REDIS_DEADLINE_S=5.0)
    return app


@pytest.fixture
def environment(app_database_url: str, redis_url: str) -> dict[str, str]:
    """Of a process that works for :func:`app`."""
    kept: dict[str, Any] = {name: value for name, value in os.environ.items() if name not in ("LOG_LEVEL",)}
    return {
        **kept,
        "DATABASE_URL": app_database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": KEY,
        "PYTHONPATH": "src:.",
        "PYTHONUNBUFFERED": "1",
    }
