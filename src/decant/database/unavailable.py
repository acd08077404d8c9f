"""When the database is away: one exception for it, whichever way a driver says so.

psycopg2 raises ``OperationalError``, and so do these; asyncpg alone would raise ``OSError``, ``TimeoutError`` or
errors of its own, some of them unwrapped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final

from sqlalchemy import event, exc
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.util.concurrency import in_greenlet

from ..bridge import bridged, wait
from ..errors import DatabaseUnavailable, Overloaded

__all__ = ["ConnectionLost", "PoolTimeout", "watch"]

_CANNOT_CONNECT: Final = ("08", "53300", "57P01", "57P02", "57P03")  # SQLSTATEs
_MYSQL_CANNOT_CONNECT: Final = {1040, 1053, 2002, 2003, 2005, 2006, 2013}


class ConnectionLost(exc.OperationalError, DatabaseUnavailable):
    """The database refused a connection, dropped one, or did not answer in time. Also an ``OperationalError``."""

    def __init__(self, what: str, orig: BaseException, statement: str | None = None) -> None:
        exc.StatementError.__init__(self, what, statement, None, orig, hide_parameters=True)
        self.what, self.connection_invalidated = what, True

    def __reduce__(self) -> Any:
        return type(self), (self.what, self.orig, self.statement)


class PoolTimeout(exc.TimeoutError, Overloaded):
    """No connection of the pool became free within ``pool_timeout``. Also SQLAlchemy's ``TimeoutError``."""


def _is_away(error: BaseException) -> bool:
    """Whether a failure to connect is the server's absence, not a wrong password or name."""
    if isinstance(error, OSError | TimeoutError):
        return True
    state = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    if state is not None:
        return str(state).startswith(_CANNOT_CONNECT)
    cause = error.__cause__
    if isinstance(cause, OSError):
        return True
    code = error.args[0] if error.args else None
    return code in _MYSQL_CANNOT_CONNECT or type(error).__name__ in {"ConnectionTimeout", "ConnectionDoesNotExistError"}


async def _open(dialect: Any, connect: Callable[[], Any]) -> Any:
    """Connect in an empty context: the connection's callbacks would keep the variables of this one, and so the
    request and the application, for as long as it is pooled.
    """

    async def call() -> Any:
        return connect()

    task = asyncio.get_running_loop().create_task(bridged(call()), context=Context())
    try:
        return await task
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and task.exception() is None:  # opened, and wanted no more
            dialect.do_terminate(task.result())
        raise


def watch(engine: Engine) -> None:
    """Raise :exc:`ConnectionLost` for whatever means that the database is away; drop connections known as closed."""
    name = engine.url.render_as_string(hide_password=True)
    # Not an event listener, which would shadow the user's own.
    engine.dialect.connect = partial(_connect, name, engine.dialect, engine.dialect.connect)  # type: ignore[method-assign]
    event.listen(engine, "handle_error", partial(_failed, name))
    event.listen(engine, "checkout", partial(_check, name))


def _connect(name: str, dialect: Any, plain: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        if not in_greenlet():
            return plain(*arguments, **options)  # it tells that it needs one
        return wait(_open(dialect, partial(plain, *arguments, **options)))
    except Exception as error:
        if not _is_away(error):
            raise
        raise ConnectionLost(f"cannot connect to {name}: {type(error).__name__}: {error}", error) from error


def _failed(name: str, context: ExceptionContext) -> BaseException | None:
    error = context.original_exception
    if context.is_pre_ping or isinstance(error, DatabaseUnavailable):
        return None
    if isinstance(error, TimeoutError):
        return ConnectionLost(f"{name} did not answer in time", error, context.statement)
    if context.is_disconnect and isinstance(error, Exception):
        return ConnectionLost(f"{name} dropped the connection: {error}", error, context.statement)
    return None


def _check(name: str, dbapi_connection: Any, record: Any, proxy: Any) -> None:
    is_closed = getattr(record.driver_connection, "is_closed", None)
    if callable(is_closed) and is_closed():  # the loop has seen it go: no round trip is needed to know
        raise exc.DisconnectionError(f"{name} closed the connection")
