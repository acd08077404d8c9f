"""PostgreSQL and Redis: those of the settings, or embedded ones."""

from __future__ import annotations

import atexit
from contextlib import ExitStack

from decant import Quart, wait
from decant.embedded import postgresql, valkey

from .config import Settings
from .extensions import db

__all__ = ["server_urls"]


def server_urls(app: Quart, settings: Settings) -> dict[str, str]:
    """``DATABASE_URL`` and ``REDIS_URL``: a server that is not set is embedded, in DATA_DIR, until the process ends.

    :raises EmbeddedError: if it cannot be.
    """
    stack = ExitStack()
    database_url, redis_url = settings.DATABASE_URL, settings.REDIS_URL
    if database_url is None:
        database_url = stack.enter_context(postgresql(settings.DATA_DIR)).url
    if redis_url is None:
        redis_url = stack.enter_context(valkey(settings.DATA_DIR)).url
    if settings.DATABASE_URL is None or settings.REDIS_URL is None:
        atexit.register(_stop, app, stack)  # not after serving: loops close their connections after that
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url}


def _stop(app: Quart, stack: ExitStack) -> None:
    wait(_close_connections(app))  # those of commands, whose loop is closed after this
    stack.close()


async def _close_connections(app: Quart) -> None:
    async with app.app_context():
        await db.engine.dispose()
