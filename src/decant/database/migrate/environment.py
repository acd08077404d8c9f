"""What a project's ``migrations/env.py`` calls."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import MetaData

from ...errors import CommandError

__all__ = ["run_migrations"]

_ALONE: Final = (
    "this env.py is run by `quart db …`, `flask db …` or decant.database.migrate, which say which application's"
    " database is meant; plain `alembic` does not"
)


def run_migrations(*others: MetaData, **options: Any) -> None:
    """Migrate the current application's database, or write its SQL with ``--sql``.

    :param others: metadata that joins that of the models, so that one history has all the tables.
    :param options: arguments of Alembic's ``context.configure``, which go before those of ``Migrate``.
    :raises CommandError: if Alembic was started without an application.
    """
    from alembic import context

    given = context.config.attributes.get("decant")
    if given is None:
        raise CommandError(_ALONE)
    db, migrate = given
    arguments = {
        "target_metadata": [db.metadata, *others],
        "process_revision_directives": _skip_empty,
        **migrate.configure_arguments,
        **options,
    }
    connection = context.config.attributes.get("connection")
    if context.is_offline_mode():
        url = context.config.attributes["database_url"]
        context.configure(url=url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **arguments)
    else:
        context.configure(connection=connection, **arguments)
    with context.begin_transaction():
        context.run_migrations()


def _skip_empty(migration_context: Any, revision: Any, directives: list[Any]) -> None:
    """Write no revision where ``db migrate`` finds nothing to do."""
    config = migration_context.config
    if getattr(config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        config.print_stdout("No changes in schema detected.")
