"""What an application needs, asked: its database, Redis, and that its migrations have been run.

A Quart application's database is asked on the loop; a Flask application's (Flask-SQLAlchemy, or its face) in threads
of their own, so that a check neither blocks the loop nor waits behind the application's views.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from inspect import isawaitable
from typing import Any

from ..bridge import Threads, wait
from ..context import on_quart
from ..faces import twin_of
from .registry import readiness

__all__ = ["add_checks"]

_threads = Threads(4, max_queued=16)


def add_checks(app: Any, *, migrations: bool = True) -> None:
    """Register what the application's extensions show that it needs, unless a check of that name is registered.

    ``database`` and ``migrations`` are critical; Redis, which the twins register themselves, is not: without it an
    application is degraded. Where only ``REDIS_URL`` is configured, it is registered here.
    """
    known = app.extensions.setdefault("decant_readiness", {})
    if "sqlalchemy" in app.extensions:
        if "database" not in known:
            readiness("database", lambda: _database(app), app=app)
        if migrations and "migrations" not in known and _versions(app) is not None:
            readiness("migrations", _Migrations(app), app=app)
    if app.config.get("REDIS_URL") and "redis" not in known:
        try:
            from ..redis import client
        except ImportError:  # then the application does not talk to it through us
            return
        client(app)


async def _database(app: Any) -> None:
    from sqlalchemy import text

    await _with_connection(app, lambda connection: connection.execute(text("SELECT 1")))


async def _with_connection(app: Any, act: Callable[[Any], Any]) -> Any:
    """What ``act`` gives for a synchronous connection of the application's session."""
    db = app.extensions["sqlalchemy"]
    if not on_quart(app):
        return await _threads.run(_in_flask, app, db, act)
    async with app.app_context():
        connection = await twin_of(db).session.connection()
        return await connection.run_sync(act)


def _in_flask(app: Any, db: Any, act: Callable[[Any], Any]) -> Any:
    with app.app_context():
        connection = db.session.connection()
        if not hasattr(connection, "run_sync"):
            return act(connection)
        result = connection.run_sync(act)  # the face's is asynchronous, which this thread can wait for
        return wait(result) if isawaitable(result) else result


def _versions(app: Any) -> tuple[Any, str] | None:
    """The ``Migrate`` of the application, Decant's or Flask-Migrate's, and its folder, if there is one."""
    found = twin_of(app.extensions.get("migrate"))
    if found is None:
        return None
    migrate = getattr(found, "migrate", found)  # Flask-Migrate keeps its own behind a record
    folder = os.path.abspath(found.directory)
    return (migrate, folder) if os.path.isfile(os.path.join(folder, "env.py")) else None


class _Migrations:
    """Whether the database has every revision that this version of the application comes with.

    More than these is no hindrance: a newer version has migrated it, and this one still serves. Once it is so, it is
    not asked again.
    """

    def __init__(self, app: Any) -> None:
        self.app, self.done = app, False

    async def __call__(self) -> None:
        if self.done:
            return
        script = await _threads.run(self._script)
        current = await _with_connection(self.app, _revisions)
        await _threads.run(_check, script, current)
        self.done = True

    def _script(self) -> Any:
        from alembic.script import ScriptDirectory

        found = _versions(self.app)
        if found is None:
            raise RuntimeError("the folder of the migrations has gone")
        migrate, folder = found
        with nullcontext() if on_quart(self.app) else self.app.app_context():
            return ScriptDirectory.from_config(migrate.get_config(folder))


def _revisions(connection: Any) -> tuple[str, ...]:
    from alembic.migration import MigrationContext

    heads: tuple[str, ...] = MigrationContext.configure(connection).get_current_heads()
    return heads


def _check(script: Any, current: tuple[str, ...]) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    if any(revision not in known for revision in current):
        return
    missing = set(script.get_heads()) - set(current)
    if missing:
        has = ", ".join(sorted(current)) or "no revision"
        raise RuntimeError(f"the database has {has}, and {', '.join(sorted(missing))} is needed: run its migrations")
