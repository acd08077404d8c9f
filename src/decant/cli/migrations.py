"""``python -m decant.cli.migrations TARGET``: bring the application's database up to date, in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from inspect import isfunction, signature
from pathlib import Path
from typing import Any

from ..errors import CommandError, DecantError
from .project import load_target

__all__ = ["main"]


def main(target: str) -> int:
    """Migrate, and print what was done; the exit status."""
    try:
        app = load_target(target, "app")
        _check(app, target)
        if "sqlalchemy" not in getattr(app, "extensions", {}):
            print("no database, nothing to migrate")
            return 0
        from ..database.migrate import upgrade
        from ..database.migrate.config import migrate_of

        directory = Path(migrate_of(app).directory)
        if not directory.is_dir():
            print(f"there is no folder {directory}, nothing to migrate")
            return 0
        _show_steps()
        asyncio.run(upgrade(app))
    except DecantError as error:
        print(error)
        return 1
    return 0


def _check(app: Any, target: str) -> None:
    """Say now what a server would say with each request."""
    if not callable(app):
        raise CommandError(f"app {target!r} is no ASGI application but {app!r}")
    if isfunction(app):
        with suppress(TypeError):  # which an ASGI application raises: it takes three arguments
            signature(app).bind()
            raise CommandError(f"app {target!r} is a function that makes the application: write {target + '()'!r}")


def _show_steps() -> None:
    logger, handler = logging.getLogger("alembic.runtime.migration"), logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
