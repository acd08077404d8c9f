"""``flask_migrate``: Flask-Migrate's names over :mod:`decant.database.migrate`, for a project's own ``env.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from alembic import __version__ as _alembic

from ...bridge import wait
from ...context import current_app
from ...database import migrate as twin
from ...database.migrate import run
from ...faces import twin_of
from .table import Module

__all__ = ["MODULES", "Migrate"]


class _Database:
    """What an ``env.py`` of Flask-Migrate's asks ``db`` for: engines that Alembic can connect with."""

    def __init__(self, db: Any) -> None:
        self._db = db

    @property
    def engine(self) -> Any:
        """The default engine, SQLAlchemy's plain one: within :func:`upgrade` and its like it waits for the loop."""
        return self._db.engine.sync_engine

    @property
    def engines(self) -> dict[Any, Any]:
        """The engines by bind key."""
        return {key: engine.sync_engine for key, engine in self._db.engines.items()}

    def get_engine(self, bind_key: str | None = None) -> Any:
        """The engine of a bind key."""
        return self.engines[bind_key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


class Migrate(twin.Migrate):
    """:class:`decant.database.migrate.Migrate` with what an ``env.py`` reads: ``db`` and ``configure_args``."""

    @property
    def configure_args(self) -> dict[str, Any]:
        """Arguments of Alembic's ``context.configure``."""
        return self.configure_arguments

    @property
    def db(self) -> Any:
        """The database of the current application."""
        return _Database(twin_of(current_app().extensions["sqlalchemy"]))


_NAMED_FIRST: Final[dict[str, tuple[str, ...]]] = {
    "init": ("directory", "multidb", "template", "package"),
    "revision": (
        *("directory", "message", "autogenerate", "sql", "head", "splice"),
        *("branch_label", "version_path", "rev_id"),
    ),
    "migrate": (*("directory", "message", "sql", "head", "splice", "branch_label", "version_path", "rev_id", "x_arg"),),
    "edit": ("directory", "revision"),
    "merge": ("directory", "revisions", "message", "branch_label", "rev_id"),
    "upgrade": ("directory", "revision", "sql", "tag", "x_arg"),
    "downgrade": ("directory", "revision", "sql", "tag", "x_arg"),
    "show": ("directory", "revision"),
    "history": ("directory", "rev_range", "verbose", "indicate_current"),
    "heads": ("directory", "verbose", "resolve_dependencies"),
    "branches": ("directory", "verbose"),
    "current": ("directory", "verbose"),
    "stamp": ("directory", "revision", "sql", "tag", "purge"),
    "check": ("directory",),
}
"""The parameters of Flask-Migrate's functions, in their order."""
_NOT_TAKEN: Final = {
    ("init", "multidb"): "migrations are of the default bind",
    ("init", "template"): "there is one template, for async engines",
}


def _command(name: str) -> Callable[..., None]:
    original, order = getattr(run, name), _NAMED_FIRST[name]

    @wraps(original)
    def command(*args: Any, **kwargs: Any) -> None:
        given = {**dict(zip(order, args, strict=False)), **kwargs}
        for key in [key for key in given if (name, key) in _NOT_TAKEN]:
            if given.pop(key):
                raise TypeError(f"flask_migrate.{name}({key}=…) is not offered: {_NOT_TAKEN[name, key]}")
        wait(original(current_app(), **{key: value for key, value in given.items() if value is not None}))

    vars(command).pop("_is_coroutine_mark", None)
    return command


_COMMANDS: Final = {name: _command(name) for name in _NAMED_FIRST}

MODULES: Final = {
    "flask_migrate": Module(
        {"Migrate": Migrate, **_COMMANDS, "alembic_version": tuple(map(int, _alembic.split(".")[:3]))},
        {
            "list_templates": "there is one template, for async engines",
            "Config": "it is alembic.config.Config",
            "catch_errors": "the functions raise decant.errors.CommandError",
            "MigrateCommand": "the commands are those of `flask db`",
        },
    ),
    "flask_migrate.cli": Module({"db": twin.group}),
}
