"""Clients that go away at random moments leave nothing behind. ``bench/disconnects.py`` does the same with 10,000."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from blockbuster import BlockBuster

from bench.disconnects import run


@pytest.fixture(autouse=True)
def _views_may_block(no_blocking: BlockBuster) -> None:
    """SQLite, and a pause, in a view that runs on the loop: what is measured looks into /proc, too."""
    no_blocking.deactivate()


@pytest.mark.parametrize("views", ["threads", "loop"])
async def test_clients_that_go_away_leave_nothing_behind(views: Literal["threads", "loop"], tmp_path: Path) -> None:
    left, books = await run(200, views, 5, tmp_path)
    assert left == {}
    assert {"context", "generator", "socket"} <= set(books.opened)  # it was no idle test
