"""The ledger's own connections: a few per event loop, and one exception for a database that is away.

asyncpg's own pool takes five turns of the loop, and a round trip, more for each use than this one, which can be simple:
no statement of the ledger's leaves anything behind in its session.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy.engine import URL, make_url

from ...errors import DatabaseUnavailable

__all__ = ["Pool", "is_away"]

T = TypeVar("T")
logger = logging.getLogger("decant.tasks")
_CONNECT_TIMEOUT_S: Final = 5.0
_CLOSE_TIMEOUT_S: Final = 5.0
_IDLE_S: Final = 60.0
_AWAY: Final = ("08", "53300", "57P")  # SQLSTATEs: connection errors, too many of them, shutting down or starting
# Every statement here finds its rows by an index. The planner must not prefer a scan because the table was empty when
# the statement was prepared: it may hold a million rows before it is analyzed for the first time. Nor a bitmap, which
# has to be sorted: of a million that are due, the first thousand are taken in the index's order.
_PLANNER: Final = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_NOT_ASYNCPGS: Final = {
    "async_creator_fn",
    "async_fallback",
    "client_encoding",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
}


def is_away(error: BaseException) -> bool:
    """Whether an exception of asyncpg means that the database refuses connections, dropped one, or does not answer."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_AWAY)
    if isinstance(error, asyncpg.InterfaceError):
        return "clos" in str(error) and not isinstance(error, ValueError)  # closed, or closing
    # The server has said that it ends the connection, and not ended it yet: asyncpg then knows not what state it is in.
    return isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError)


def _dsn(url: URL) -> tuple[str, float]:
    """A URL of SQLAlchemy's as libpq's, and the seconds that connecting may take."""
    query = {key: value for key, value in url.query.items() if key not in _NOT_ASYNCPGS}
    timeout_s = float(str(query.pop("connect_timeout", _CONNECT_TIMEOUT_S)))
    if "ssl" in query:
        query.setdefault(
            "sslmode", {"true": "require", "false": "disable"}.get(str(query["ssl"]).lower(), query["ssl"])
        )
        del query["ssl"]
    plain = url.set(drivername="postgresql", query=query)
    return plain.render_as_string(hide_password=False), timeout_s


class Pool:
    """Connections for one database, of each event loop its own, opened when they are first needed there, and closed
    with the loop.

    :param url: SQLAlchemy's or libpq's, of PostgreSQL.
    :param size: connections per event loop.
    :param command_timeout_s: for each statement, and for a connection to become free.
    :param pgbouncer: no prepared statements are kept, no settings of the session are made, and what :meth:`run` does is
        one transaction, since each statement is two messages otherwise, which may meet two servers.
    """

    def __init__(
        self, url: str | URL, *, size: int = 4, command_timeout_s: float = 10.0, pgbouncer: bool = False
    ) -> None:
        self.url = make_url(url).set(drivername="postgresql")
        self.name = self.url.set(query={}).render_as_string(hide_password=True)
        self.size, self.command_timeout_s, self.pgbouncer = size, command_timeout_s, pgbouncer
        self._dsn, self._connect_timeout_s = _dsn(self.url)
        self._lock = threading.Lock()
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _OnLoop] = WeakKeyDictionary()

    def _here(self) -> _OnLoop:
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            found = _OnLoop(self.size)
            found.at_loop_end = _until_loop_ends(found)
            with suppress(StopIteration):
                found.at_loop_end.asend(None).send(None)  # to its yield; it does not await before
            with self._lock:
                self._by_loop[loop] = found
            with _open_lock:
                _open.difference_update([old for old in _open if old.loop.is_closed()])
                _open.add(found)
        return found

    async def _connect(self) -> Any:
        """Connect in an empty context, or the connection would keep this request's variables as long as it is open."""
        settings: dict[str, Any] = {"server_settings": {"application_name": "decant.tasks", **_PLANNER}}
        if self.pgbouncer:
            settings = {"statement_cache_size": 0}
        opening = asyncpg.connect(
            self._dsn, command_timeout=self.command_timeout_s, timeout=self._connect_timeout_s, **settings
        )
        task = asyncio.get_running_loop().create_task(opening, context=Context())
        try:
            return await task
        except asyncio.CancelledError:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().terminate()  # opened, and wanted no more
            raise

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of asyncpg's, for as long as the block lasts.

        :raises DatabaseUnavailable: if none can be had, or the block fails because the database went away.
        """
        here = self._here()
        try:
            async with asyncio.timeout(self.command_timeout_s):
                await here.free.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                f"all {self.size} connections to the ledger's database {self.name} are in use (TASKS_POOL_SIZE)"
            ) from error
        try:
            async with self._lent(here) as connection:
                yield connection
        finally:
            here.free.release()

    @asynccontextmanager
    async def _lent(self, here: _OnLoop) -> AsyncIterator[Any]:
        try:
            connection = here.take() or await self._connect()
        except Exception as error:
            raise self._told(error, "cannot be reached") from error
        try:
            yield connection
        except BaseException as error:
            if not isinstance(error, asyncpg.PostgresError) or is_away(error):
                connection.terminate()  # nobody knows what it would answer next
            if not isinstance(error, Exception):
                raise
            if is_away(error):
                here.drop_idle()  # which may be as dead as this one
            raise self._told(error, "did not answer") from error
        finally:
            here.put(connection)

    def _told(self, error: Exception, what: str) -> Exception:
        if isinstance(error, DatabaseUnavailable) or not is_away(error):
            return error
        return DatabaseUnavailable(f"the ledger's database {self.name} {what}: {type(error).__name__}: {error}")

    async def run(self, work: Callable[[Any], Awaitable[T]], *, again: bool = False) -> T:
        """Give ``work`` a connection.

        :param again: it may be repeated, and is, once, if the connection was lost or a deadlock ended it.
        :raises DatabaseUnavailable: if the database is away.
        """
        try:
            return await self._run(work)
        except (DatabaseUnavailable, asyncpg.DeadlockDetectedError) as error:
            if not again or isinstance(error.__cause__, TimeoutError):
                raise
        return await self._run(work)

    async def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self.connection() as connection:
            if not self.pgbouncer:
                return await work(connection)
            async with connection.transaction():
                return await work(connection)

    async def aclose(self) -> None:
        """Close the connections of the running loop. The next statement opens new ones."""
        here = self._by_loop.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here.aclose()
            with suppress(RuntimeError):  # the loop itself is closing it
                await here.at_loop_end.aclose()


class _OnLoop:
    """One loop's connections: those that are idle, and how many more may be used."""

    def __init__(self, size: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.free = asyncio.Semaphore(size)
        self._idle: list[tuple[Any, float]] = []
        self._trimming: asyncio.TimerHandle | None = None
        self._closed = False
        self.at_loop_end: AsyncGenerator[None]

    def take(self) -> Any:
        """An idle connection that is not known to be closed, or ``None``."""
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def put(self, connection: Any) -> None:
        if connection.is_closed():
            return
        if self._closed or connection.is_in_transaction():
            connection.terminate()
            return
        self._idle.append((connection, self.loop.time()))
        if self._trimming is None:
            self._trimming = self.loop.call_later(_IDLE_S, self._trim, context=Context())

    def _trim(self) -> None:
        self._trimming = None
        before = self.loop.time() - _IDLE_S
        old = [connection for connection, since in self._idle if since <= before]
        self._idle = [kept for kept in self._idle if kept[1] > before]
        for connection in old:
            connection.terminate()
        if self._idle:
            self._trimming = self.loop.call_later(_IDLE_S, self._trim, context=Context())

    def drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.terminate()

    async def aclose(self) -> None:
        with _open_lock:
            _open.discard(self)
        self._closed = True
        if self._trimming is not None:
            self._trimming.cancel()
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            try:
                await connection.close(timeout=_CLOSE_TIMEOUT_S)
            except Exception as error:
                logger.debug("a connection of the ledger's is dropped: %s", error)
                connection.terminate()


# Holds connections until they are closed, whatever becomes of the ledgers.
_open: Final[set[_OnLoop]] = set()
_open_lock: Final = threading.Lock()


async def _until_loop_ends(here: _OnLoop) -> AsyncGenerator[None]:
    """Loops close the asynchronous generators that were begun on them before they close themselves."""
    try:
        yield
    finally:
        await here.aclose()
