"""When the database is away: one exception for it, whichever way a driver says so.

psycopg2 raises ``OperationalError``, and so do these; asyncpg alone would raise ``OSError``, ``TimeoutError`` or
errors of its own, some of them unwrapped.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event, exc
from sqlalchemy.engine import Engine, ExceptionContext

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


def watch(engine: Engine) -> None:
    """Raise :exc:`ConnectionLost` for whatever means that the database is away; drop connections known as closed."""
    name = engine.url.render_as_string(hide_password=True)

    plain = engine.dialect.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        try:
            return plain(*arguments, **options)
        except Exception as error:
            if not _is_away(error):
                raise
            raise ConnectionLost(f"cannot connect to {name}: {type(error).__name__}: {error}", error) from error

    engine.dialect.connect = connect  # type: ignore[method-assign]  # an event listener would shadow the user's own

    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        if context.is_pre_ping or isinstance(error, DatabaseUnavailable):
            return None
        if isinstance(error, TimeoutError):
            return ConnectionLost(f"{name} did not answer in time", error, context.statement)
        if context.is_disconnect and isinstance(error, Exception):
            return ConnectionLost(f"{name} dropped the connection: {error}", error, context.statement)
        return None

    @event.listens_for(engine, "checkout")
    def check(dbapi_connection: Any, record: Any, proxy: Any) -> None:
        is_closed = getattr(record.driver_connection, "is_closed", None)
        if callable(is_closed) and is_closed():  # the loop has seen it go: no round trip is needed to know
            raise exc.DisconnectionError(f"{name} closed the connection")
