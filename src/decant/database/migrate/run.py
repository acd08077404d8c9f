"""Alembic's commands for an application, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TextIO

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from ...bridge import in_thread
from ...context import current_app, on_quart
from ...errors import CommandError, DatabaseUnavailable
from ...faces import twin_of
from ..urls import is_memory
from .config import migrate_of
from .lock import migration_lock

__all__ = [
    "branches",
    "check",
    "current",
    "downgrade",
    "edit",
    "heads",
    "history",
    "init",
    "merge",
    "migrate",
    "revision",
    "show",
    "stamp",
    "upgrade",
]

XArg = str | Sequence[str] | None


@asynccontextmanager
async def _context(app: Any) -> AsyncIterator[Any]:
    """The application, its own context active."""
    app = current_app() if app is None else app
    if on_quart(app):
        async with app.app_context():
            yield app
    else:
        with app.app_context():
            yield app


@asynccontextmanager
async def _engine(db: Any, app: Any) -> AsyncIterator[AsyncEngine]:
    """An engine for migrations alone: they take longer than requests may, and leave nothing open."""
    options = db.options_of(app).get(None)
    if options is None:
        raise CommandError("'SQLALCHEMY_DATABASE_URI' is not set: migrations are of the default bind")
    if options["url"].drivername.startswith("sqlite") and is_memory(options["url"]):
        yield db.engine
        return
    arguments = dict(options["connect_args"])
    if "command_timeout" in arguments:
        arguments["command_timeout"] = None
    made = {"url": options["url"], "connect_args": arguments, "poolclass": NullPool}
    engine = await in_thread(db.make_engine, None, made)  # a driver may be imported
    try:
        yield engine
    finally:
        await engine.dispose()


async def _run(
    app: Any,
    command: Callable[..., Any],
    *,
    directory: str | None,
    x_arg: XArg = None,
    opts: Sequence[str] = (),
    online: bool = True,
    locked: bool = False,
    stdout: TextIO | None = None,
) -> None:
    async with _context(app) as app:
        migrations, db = migrate_of(app), twin_of(app.extensions["sqlalchemy"])
        config = await in_thread(_config, migrations, directory, x_arg, opts, stdout)
        config.attributes["decant"] = (db, migrations)
        async with _engine(db, app) as engine:
            config.attributes["database_url"] = engine.url.render_as_string(hide_password=False)
            work = partial(_online, engine, config, command) if online else partial(command, config)
            try:
                if locked and online:
                    async with migration_lock(engine):
                        await in_thread(work)
                else:
                    await in_thread(work)
            except DatabaseUnavailable:
                raise
            except exc.DBAPIError as error:
                raise CommandError(f"the migration failed: {error.orig}") from error
            except Exception as error:
                if type(error).__module__.startswith("alembic."):
                    raise CommandError(str(error)) from error
                raise


def _config(migrations: Any, directory: str | None, x_arg: XArg, opts: Sequence[str], stdout: TextIO | None) -> Any:
    folder = directory or migrations.directory
    if not os.path.isfile(os.path.join(folder, "env.py")):
        raise CommandError(f"there are no migrations in {os.path.abspath(folder)}: begin with `db init`")
    return migrations.get_config(directory, x_arg, opts, stdout)


def _online(engine: AsyncEngine, config: Any, command: Callable[..., Any]) -> None:
    """In a thread, with a connection that waits for the loop: Alembic reads files."""
    with engine.sync_engine.connect() as connection:
        config.attributes["connection"] = connection
        command(config)


def _alembic(name: str, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """One of Alembic's commands, imported in the thread that runs it: the import reads files."""

    def run(config: Any) -> Any:
        from alembic import command

        return getattr(command, name)(config, *args, **kwargs)

    return run


async def init(app: Any = None, directory: str | None = None, package: bool = False) -> None:
    """Create a directory of migrations: ``alembic.ini``, ``env.py``, ``script.py.mako`` and ``versions``.

    :raises CommandError: if there is one.
    """
    app = current_app() if app is None else app
    migrations = migrate_of(app)
    folder = directory or migrations.directory

    def work() -> None:
        from alembic import command, util

        try:
            command.init(migrations.get_config(folder), folder, template="quart", package=package)
        except util.CommandError as error:
            raise CommandError(str(error)) from error

    await in_thread(work)


async def revision(
    app: Any = None,
    message: str | None = None,
    *,
    autogenerate: bool = False,
    sql: bool = False,
    head: str = "head",
    splice: bool = False,
    branch_label: str | None = None,
    version_path: str | None = None,
    rev_id: str | None = None,
    directory: str | None = None,
    x_arg: XArg = None,
) -> None:
    """Write a new revision: empty, or with ``autogenerate`` what makes the database like the models."""
    work = _alembic(
        "revision",
        message,
        autogenerate=autogenerate,
        sql=sql,
        head=head,
        splice=splice,
        branch_label=branch_label,
        version_path=version_path,
        rev_id=rev_id,
    )
    opts = ("autogenerate",) if autogenerate else ()
    await _run(app, work, directory=directory, x_arg=x_arg, opts=opts, online=not sql)


async def migrate(app: Any = None, message: str | None = None, **options: Any) -> None:
    """:func:`revision` with ``autogenerate``."""
    await revision(app, message, autogenerate=True, **options)


async def upgrade(
    app: Any = None,
    revision: str = "head",
    *,
    sql: bool = False,
    tag: str | None = None,
    directory: str | None = None,
    x_arg: XArg = None,
    stdout: TextIO | None = None,
) -> None:
    """Bring the database up to a revision. Of processes that do so at once, one migrates and the others wait for it.

    :param app: by default the current one.
    :param sql: write the SQL instead of executing it.
    :raises CommandError: if there are no migrations, the revision is unknown, or a migration fails.
    :raises DatabaseUnavailable: if the database is away.
    """
    work = _alembic("upgrade", revision, sql=sql, tag=tag)
    await _run(app, work, directory=directory, x_arg=x_arg, online=not sql, locked=True, stdout=stdout)


async def downgrade(
    app: Any = None,
    revision: str = "-1",
    *,
    sql: bool = False,
    tag: str | None = None,
    directory: str | None = None,
    x_arg: XArg = None,
    stdout: TextIO | None = None,
) -> None:
    """Bring the database down to a revision, by default to the one before. Errors as :func:`upgrade`."""
    if sql and revision == "-1":
        revision = "head:-1"
    work = _alembic("downgrade", revision, sql=sql, tag=tag)
    await _run(app, work, directory=directory, x_arg=x_arg, online=not sql, locked=True, stdout=stdout)


async def stamp(
    app: Any = None,
    revision: str = "head",
    *,
    sql: bool = False,
    tag: str | None = None,
    purge: bool = False,
    directory: str | None = None,
) -> None:
    """Note a revision in the database as its present one, without migrating."""
    work = _alembic("stamp", revision, sql=sql, tag=tag, purge=purge)
    await _run(app, work, directory=directory, online=not sql, locked=True)


async def current(
    app: Any = None, *, verbose: bool = False, directory: str | None = None, stdout: TextIO | None = None
) -> None:
    """Write which revision the database has."""
    await _run(app, _alembic("current", verbose=verbose), directory=directory, stdout=stdout)


async def history(
    app: Any = None,
    *,
    rev_range: str | None = None,
    verbose: bool = False,
    indicate_current: bool = False,
    directory: str | None = None,
    stdout: TextIO | None = None,
) -> None:
    """Write the revisions, newest first."""
    work = _alembic("history", rev_range, verbose=verbose, indicate_current=indicate_current)
    needs_database = indicate_current or "current" in (rev_range or "")
    await _run(app, work, directory=directory, online=needs_database, stdout=stdout)


async def heads(
    app: Any = None,
    *,
    verbose: bool = False,
    resolve_dependencies: bool = False,
    directory: str | None = None,
    stdout: TextIO | None = None,
) -> None:
    """Write the revisions that none follows."""
    work = _alembic("heads", verbose=verbose, resolve_dependencies=resolve_dependencies)
    await _run(app, work, directory=directory, online=False, stdout=stdout)


async def branches(
    app: Any = None, *, verbose: bool = False, directory: str | None = None, stdout: TextIO | None = None
) -> None:
    """Write the revisions that more than one follows."""
    await _run(app, _alembic("branches", verbose=verbose), directory=directory, online=False, stdout=stdout)


async def show(
    app: Any = None, revision: str = "head", *, directory: str | None = None, stdout: TextIO | None = None
) -> None:
    """Write one revision."""
    await _run(app, _alembic("show", revision), directory=directory, online=False, stdout=stdout)


async def merge(
    app: Any = None,
    revisions: Sequence[str] = (),
    *,
    message: str | None = None,
    branch_label: str | None = None,
    rev_id: str | None = None,
    directory: str | None = None,
) -> None:
    """Write a revision that joins several."""
    work = _alembic("merge", revisions, message=message, branch_label=branch_label, rev_id=rev_id)
    await _run(app, work, directory=directory, online=False)


async def edit(app: Any = None, revision: str = "head", *, directory: str | None = None) -> None:
    """Open a revision in ``$EDITOR``."""
    await _run(app, _alembic("edit", revision), directory=directory, online=revision == "current")


async def check(app: Any = None, *, directory: str | None = None, stdout: TextIO | None = None) -> None:
    """Tell whether the database lacks something that the models have.

    :raises CommandError: if it does, saying what.
    """
    await _run(app, _alembic("check"), directory=directory, stdout=stdout)
