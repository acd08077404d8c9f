"""One migration at a time, whichever processes start at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from ...bridge import in_thread
from ...errors import CommandError
from ..urls import is_memory

__all__ = ["migration_lock"]

_KEY: Final = 0x6465_6361_6E74_6462  # "decantdb": one lock per PostgreSQL database
_TIMEOUT_S: Final = 600.0
_PAUSE_S: Final = 0.2


@asynccontextmanager
async def migration_lock(engine: AsyncEngine, timeout_s: float = _TIMEOUT_S) -> AsyncIterator[None]:
    """Hold the database's migration lock: PostgreSQL's advisory one, or a lock on a file beside a SQLite database.

    Other databases have none here. A process that dies lets go.

    :raises CommandError: if another process migrates for longer than ``timeout_s``.
    """
    if engine.dialect.name == "postgresql":
        async with _advisory(engine, timeout_s):
            yield
    elif engine.dialect.name == "sqlite" and not is_memory(engine.url):
        async with _file(f"{engine.url.database or ''}".removeprefix("file:") + ".migrating", timeout_s):
            yield
    else:
        yield


def _too_long(timeout_s: float) -> CommandError:
    return CommandError(f"another process has been migrating this database for {timeout_s:.0f} s")


@asynccontextmanager
async def _advisory(engine: AsyncEngine, timeout_s: float) -> AsyncIterator[None]:
    deadline = time.monotonic() + timeout_s
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="READ COMMITTED")
        # Asked again and again: a statement that waits has a snapshot, which CREATE INDEX CONCURRENTLY waits for.
        while not await connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({_KEY})")):
            await connection.rollback()
            if time.monotonic() > deadline:
                raise _too_long(timeout_s)
            await asyncio.sleep(_PAUSE_S)
        # The lock of a transaction that stays open, which has no snapshot; behind PgBouncer the lock of a session
        # would stay with whichever server connection had taken it.
        await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield


@asynccontextmanager
async def _file(path: str, timeout_s: float) -> AsyncIterator[None]:
    deadline = time.monotonic() + timeout_s
    descriptor = await in_thread(os.open, path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise _too_long(timeout_s)
            await asyncio.sleep(_PAUSE_S)
        yield
    finally:
        os.close(descriptor)  # the file stays: another process may be waiting for it


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
