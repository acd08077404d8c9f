"""The click group ``db``, with the commands and options of Flask-Migrate's."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click

from ...bridge import wait
from ...context import current_app, has_app
from ...errors import DecantError

__all__ = ["group"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@click.group("db")
@click.option("-d", "--directory", default=None, help="The directory of the migrations (default: migrations).")
@click.option("-x", "--x-arg", multiple=True, help="An argument for env.py, as name=value.")
@click.pass_context
def group(context: click.Context, directory: str | None, x_arg: tuple[str, ...]) -> None:
    """Migrate the database."""
    context.meta["decant.migrate"] = {"directory": directory, "x_arg": x_arg}


def _app() -> Any:
    """The current application, or the one that the command line names, Quart's or Flask's."""
    if has_app():
        return current_app()
    script_info: Any = click.get_current_context().obj
    return script_info.load_app()


def _run(name: str, options: dict[str, Any]) -> None:
    """Run a function of :mod:`.run`; a failure is one line and status 1."""
    from . import run

    given = click.get_current_context().meta.get("decant.migrate", {})
    options["directory"] = options.get("directory") or given.get("directory")
    if "x_arg" in options:
        options["x_arg"] = options["x_arg"] or given.get("x_arg")
    work: Coroutine[Any, Any, None] = getattr(run, name)(_app(), **options)
    try:
        with _progress():
            wait(work)
    except DecantError as error:
        print(f"Error: {str(error).splitlines()[0]}", file=sys.stderr)
        raise SystemExit(1) from None


class _progress:
    """Alembic says what it does at the level INFO, which is not shown unless the application has set up logging."""

    def __enter__(self) -> None:
        self.logger, self.handler = logging.getLogger("alembic.runtime.migration"), logging.StreamHandler(sys.stderr)
        self.handler.setFormatter(logging.Formatter("%(message)s"))
        self.is_silent = not self.logger.isEnabledFor(logging.INFO)
        if self.is_silent:
            self.level = self.logger.level
            self.logger.setLevel(logging.INFO)
            self.logger.addHandler(self.handler)

    def __exit__(self, *_: object) -> None:
        if self.is_silent:
            self.logger.setLevel(self.level)
            self.logger.removeHandler(self.handler)


_DIRECTORY = click.option("-d", "--directory", default=None, help="The directory of the migrations.")
_MESSAGE = click.option("-m", "--message", default=None, help="What the revision is for.")
_SQL = click.option("--sql", is_flag=True, help="Write SQL to standard output, do not execute it.")
_TAG = click.option("--tag", default=None, help="A name that env.py may use.")
_X_ARG = click.option("-x", "--x-arg", multiple=True, help="An argument for env.py, as name=value.")
_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Tell more.")
_LABEL = click.option("--branch-label", default=None, help="A label for the new revision's branch.")
_REV_ID = click.option("--rev-id", default=None, help="The new revision's identifier, instead of a generated one.")
_NEW = (
    _MESSAGE,
    _SQL,
    click.option("--head", default="head", help="The revision that the new one follows."),
    click.option("--splice", is_flag=True, help="Follow a revision that is followed already."),
    _LABEL,
    click.option("--version-path", default=None, help="The directory of the new file."),
    _REV_ID,
    _X_ARG,
)


def _command(name: str, text: str, *options: Decorator) -> None:
    def command(**given: Any) -> None:
        _run(name, given)

    decorated: Any = command
    for option in reversed((_DIRECTORY, *options)):
        decorated = option(decorated)
    group.command(name, help=text)(decorated)


def _revision(default: str) -> Decorator:
    return click.argument("revision", default=default)


_command("init", "Create a directory of migrations.", click.option("--package", is_flag=True, help="With __init__.py."))
_command(
    "revision",
    "Write a new revision.",
    click.option("--autogenerate", is_flag=True, help="With what the database lacks."),
    *_NEW,
)
_command("migrate", "Write a new revision with what the database lacks.", *_NEW)
_command("edit", "Open a revision in $EDITOR.", _revision("head"))
_command(
    "merge",
    "Write a revision that joins several.",
    _MESSAGE,
    _LABEL,
    _REV_ID,
    click.argument("revisions", nargs=-1),
)
_command("upgrade", "Bring the database up to a revision.", _SQL, _TAG, _X_ARG, _revision("head"))
_command("downgrade", "Bring the database down to a revision.", _SQL, _TAG, _X_ARG, _revision("-1"))
_command("show", "Show a revision.", _revision("head"))
_command(
    "history",
    "List the revisions.",
    click.option("-r", "--rev-range", default=None, help="From and to, as START:END."),
    _VERBOSE,
    click.option("-i", "--indicate-current", is_flag=True, help="Mark the one that the database has."),
)
_command(
    "heads",
    "List the revisions that none follows.",
    _VERBOSE,
    click.option("--resolve-dependencies", is_flag=True, help="Count dependencies as predecessors."),
)
_command("branches", "List the revisions that several follow.", _VERBOSE)
_command("current", "Show which revision the database has.", _VERBOSE)
_command(
    "stamp",
    "Note a revision as the database's, without migrating.",
    _SQL,
    _TAG,
    click.option("--purge", is_flag=True, help="Forget what is noted first."),
    _revision("head"),
)
_command("check", "Fail if the database lacks something that the models have.")
