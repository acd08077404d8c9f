"""Flask-SQLAlchemy's API, awaited: ``SQLAlchemy``, and Flask-Migrate's commands."""

from __future__ import annotations

try:
    from .extension import SQLAlchemy
    from .lazy import LazyLoadError, LazyLoadWarning
    from .model import Model
    from .pagination import Pagination, QueryPagination, SelectPagination
    from .pool import BridgedQueuePool
    from .query import Query
    from .record_queries import get_recorded_queries
    from .session import AsyncSession, Session
    from .track_modifications import before_models_committed, models_committed
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
    "LazyLoadError",
    "LazyLoadWarning",
    "Model",
    "Pagination",
    "PoolTimeout",
    "Query",
    "QueryPagination",
    "SQLAlchemy",
    "SelectPagination",
    "Session",
    "before_models_committed",
    "get_recorded_queries",
    "models_committed",
]
