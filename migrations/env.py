"""Alembic on an async engine.

``quart --app app.asgi:app db …`` and ``decant up`` lend a connection; plain ``alembic -c migrations/alembic.ini …``
takes ``DATABASE_URL`` from the environment.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from alembic import context
from sqlalchemy import pool
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from app.config import load_settings
from app.extensions import Model
from app.models import Link

config = context.config
metadata = Model.metadata
assert Link.__table__.metadata is metadata  # the tables are known once app.models is imported


def url() -> str:
    given: Any = config.attributes.get("database_url") or load_settings(dict(os.environ)).DATABASE_URL
    if not given:
        raise SystemExit("migrations need DATABASE_URL, or: quart --app app.asgi:app db upgrade")
    return make_url(given).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    engine = create_async_engine(url(), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(url=url(), target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif (lent := config.attributes.get("connection")) is not None:
    run(lent)
else:
    asyncio.run(run_alone())
