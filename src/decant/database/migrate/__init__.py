"""Flask-Migrate's commands on Alembic, for async engines: ``quart db init|migrate|upgrade|…``.

``SQLAlchemy.init_app`` registers the commands; ``Migrate(app, db, …)`` only sets options. From Python: ``await
upgrade(app)``. Several processes that upgrade at once do it one after the other, so once.
"""

from __future__ import annotations

from .commands import group
from .config import Migrate
from .environment import run_migrations
from .run import check, current, downgrade, heads, history, init, migrate, revision, stamp, upgrade

__all__ = [
    "Migrate",
    "check",
    "current",
    "downgrade",
    "group",
    "heads",
    "history",
    "init",
    "migrate",
    "revision",
    "run_migrations",
    "stamp",
    "upgrade",
]
