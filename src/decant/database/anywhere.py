"""Engines of Flask applications: SQLAlchemy's plain ``Engine``, whose connections work in plain threads as well.

SQLAlchemy's connections to async drivers want a greenlet. Where there is none, each of their methods enters a bridge
and waits: so ``inspect(db.engine)``, ``metadata.create_all(db.engine)`` and listeners are as with a blocking driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, wraps
from inspect import iscoroutinefunction, isfunction, isgeneratorfunction
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import Pool
from sqlalchemy.util.concurrency import in_greenlet

from ..bridge import wait

__all__ = ["adapt", "anywhere", "freed", "pool_class"]

T = TypeVar("T")
_made: Final[dict[type[Any], type[Any]]] = {}


async def _called(function: Callable[[], Any]) -> Any:
    return function()


def anywhere(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that waits where there is no greenlet."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if in_greenlet():
            return method(*args, **kwargs)
        return wait(_called(partial(method, *args, **kwargs)))  # which enters a bridge

    return call


def pool_class(cls: type[Pool]) -> type[Pool]:
    """A pool's class that opens connections, and calls their listeners, where there is no greenlet."""
    if cls not in _made:
        _made[cls] = type(cls.__name__, (cls,), {"__module__": cls.__module__, "connect": anywhere(cls.connect)})
    return _made[cls]


class _Connection(sa.Connection):
    """SQLAlchemy's, with what code that is also written for an ``AsyncConnection`` calls."""

    def run_sync(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """``function(connection, …)``."""
        return function(self, *args, **kwargs)


def adapt(engine: sa.Engine, drivername: str) -> None:
    """Make an engine on an async driver one for Flask: see above. ``sync_engine`` is the engine itself.

    :param drivername: of the URL as it is configured, which ``engine.url`` then shows; ``engine.driver`` tells the
        driver.
    """
    shown: Any = engine
    shown.url = engine.url.set(drivername=drivername)
    shown.sync_engine = engine
    shown._connection_cls = _Connection
    connect = engine.dialect.connect
    shown.dialect.connect = lambda *args, **options: _free(connect(*args, **options))


def _public(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    """The names of a class that may wait, with what they are: synchronous methods, and properties that can be set."""
    for name in dir(cls):
        found = getattr(cls, name)
        if name.startswith("_"):
            continue
        if isinstance(found, property):
            if found.fset is not None:
                yield name, property(found.fget, anywhere(found.fset))
        elif isfunction(found) and not iscoroutinefunction(found) and not isgeneratorfunction(found):
            yield name, anywhere(found)


def _free(adapted: Any) -> Any:
    """The same connection or cursor, of a subclass whose methods wait where there is no greenlet."""
    cls = type(adapted)
    if cls not in _made:
        names = dict(_public(cls))
        if hasattr(cls, "cursor"):
            names["cursor"] = anywhere(freed(cls.cursor))
        _made[cls] = type(cls.__name__, (cls,), {"__module__": cls.__module__, "__slots__": (), **names})
    adapted.__class__ = _made[cls]
    return adapted


def freed(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose result, a connection or cursor of SQLAlchemy's for an async driver, works without a greenlet."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return _free(method(*args, **kwargs))

    return wraps(method)(call)
