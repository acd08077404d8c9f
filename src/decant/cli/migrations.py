"""``python -m decant.cli.migrations TARGET``: bring the application's database up to date, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from inspect import isawaitable
from typing import Any

from ..errors import DecantError
from .project import load_target

__all__ = ["main"]


def main(target: str) -> int:
    """Migrate; the exit status."""
    try:
        app = load_target(target, "app")
        if "sqlalchemy" not in getattr(app, "extensions", {}):
            print("no database, nothing to migrate")
            return 0
        from ..database.migrate import upgrade

        asyncio.run(_finish(upgrade(app)))
    except DecantError as error:
        print(error)
        return 1
    return 0


async def _finish(result: Any) -> None:
    if isawaitable(result):
        await result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
