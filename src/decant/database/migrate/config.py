"""``Migrate``: where an application's migrations are, and how Alembic is to compare and render."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from ...errors import missing_extra
from ...faces import twin_of

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["Migrate", "migrate_of"]

F = TypeVar("F", bound=Callable[[Any], Any])
_TEMPLATES = Path(__file__).parent / "templates"


class Migrate:
    """The options of an application's migrations, as Flask-Migrate's ``Migrate`` takes them.

    :param directory: of the migrations, relative to the working directory.
    :param command: the name of the click group.
    :param compare_type: whether autogeneration notices changed column types.
    :param render_as_batch: whether it writes batch operations, which SQLite needs to alter tables.
    :param kwargs: further arguments of Alembic's ``context.configure``.
    """

    def __init__(
        self,
        app: Any = None,
        db: Any = None,
        directory: str | os.PathLike[str] = "migrations",
        command: str = "db",
        compare_type: bool = True,
        render_as_batch: bool = True,
        **kwargs: Any,
    ) -> None:
        self.directory, self.command = os.fspath(directory), command
        self.configure_arguments = {"compare_type": compare_type, "render_as_batch": render_as_batch, **kwargs}
        self._callbacks: list[Callable[[Any], Any]] = []
        if app is not None:
            self.init_app(app, db)

    def init_app(
        self,
        app: Any,
        db: Any = None,
        directory: str | os.PathLike[str] | None = None,
        command: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Take over an application's migrations. ``db`` is found in ``app.extensions`` and accepted for likeness."""
        from .commands import group

        if directory is not None:
            self.directory = os.fspath(directory)
        self.command = command or self.command
        self.configure_arguments.update({key: value for key, value in kwargs.items() if value is not None})
        app.extensions["migrate"] = self
        app.cli.add_command(group, name=self.command)

    def configure(self, function: F) -> F:
        """Register a function that gets Alembic's ``Config`` and returns it, changed or replaced."""
        self._callbacks.append(function)
        return function

    def get_config(
        self,
        directory: str | None = None,
        x_arg: str | Sequence[str] | None = None,
        opts: Sequence[str] = (),
        stdout: TextIO | None = None,
    ) -> Config:
        """Alembic's configuration, from ``alembic.ini`` in the directory."""
        try:
            from alembic.config import Config
        except ModuleNotFoundError as error:
            raise missing_extra("decant.database.migrate", "database", error) from error

        class _Config(Config):
            def get_template_directory(self) -> str:
                return str(_TEMPLATES)

        folder = os.fspath(directory or self.directory)
        options = Namespace(x=[x_arg] if isinstance(x_arg, str) else list(x_arg or ()), **dict.fromkeys(opts, True))
        output = sys.stdout if stdout is None else stdout
        config: Any = _Config(os.path.join(folder, "alembic.ini"), stdout=output, cmd_opts=options)
        config.set_main_option("script_location", folder.replace("%", "%%"))
        for function in self._callbacks:
            config = function(config)
        return config  # type: ignore[no-any-return]


def migrate_of(app: Any) -> Migrate:
    """The application's ``Migrate``, or one with the defaults."""
    found = twin_of(app.extensions.get("migrate"))
    return found if isinstance(found, Migrate) else Migrate()
