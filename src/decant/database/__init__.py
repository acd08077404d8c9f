"""Flask-SQLAlchemy's API, awaited: ``SQLAlchemy``, and Flask-Migrate's commands."""

from __future__ import annotations

try:
    from .extension import SQLAlchemy
    from .model import Model
    from .pagination import Pagination, QueryPagination, SelectPagination
    from .pool import BridgedQueuePool
    from .query import Query
    from .session import AsyncSession, Session
    from .unavailable import ConnectionLost, PoolTimeout
except ModuleNotFoundError as error:
    from ..errors import missing_extra

    if error.name != "sqlalchemy":
        raise
    raise missing_extra("decant.database", "database", error) from error

__all__ = [
    "AsyncSession",
    "BridgedQueuePool",
    "ConnectionLost",
    "Model",
    "Pagination",
    "PoolTimeout",
    "Query",
    "QueryPagination",
    "SQLAlchemy",
    "SelectPagination",
    "Session",
]
