"""What Flask-SQLAlchemy promises, awaited: the same on PostgreSQL and on SQLite."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy import func, select

from decant.database import SQLAlchemy

pytestmark = pytest.mark.usefixtures("context")


async def test_what_is_added_and_committed_is_found(db: SQLAlchemy, models: SimpleNamespace) -> None:
    """add, commit, and each way to read."""
    db.session.add_all([models.User(name="ada"), models.User(name="bob")])
    await db.session.commit()
    everyone = select(models.User).order_by(models.User.name)
    assert [user.name for user in await db.session.scalars(everyone)] == ["ada", "bob"]
    assert (await db.session.execute(everyone)).scalars().first().name == "ada"
    assert await db.session.scalar(select(func.count()).select_from(models.User)) == 2
    ada = await db.session.scalar(everyone)
    assert await db.session.get(models.User, ada.id) is ada
    assert ada in db.session
