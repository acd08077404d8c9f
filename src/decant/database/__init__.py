"""Flask-SQLAlchemy's API, awaited: ``SQLAlchemy``, and Flask-Migrate's commands."""

from __future__ import annotations

try:
    from .pool import BridgedQueuePool
except ImportError as error:
    from ..errors import missing_extra

    raise missing_extra("decant.database", "database", error) from error

__all__ = ["BridgedQueuePool"]
