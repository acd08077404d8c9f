"""PostgreSQL goes away, and comes back: what the application answers, and that the pool is whole again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import quart
from sqlalchemy import event, exc, text
from sqlalchemy.engine import make_url

from decant.database import ConnectionLost, PoolTimeout, SQLAlchemy
from decant.errors import DatabaseUnavailable, Unavailable


class Way:
    """The way to PostgreSQL, a Unix socket of our own: it can be cut, closed, and lead into the void."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, real = folder, make_url(url)
        self.url = real.set(host=None, port=None, query={"host": str(folder)}).render_as_string(hide_password=False)
        self.real, self.void = real, False
        self.tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self.server = await asyncio.start_unix_server(self.lead, self.folder / ".s.PGSQL.5432")

    async def lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            if self.void:
                await asyncio.sleep(60)
            host = self.real.query.get("host") or self.real.host
            port = self.real.port or 5432
            connect = (
                asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
                if str(host).startswith("/")
                else asyncio.open_connection(str(host), port)
            )
            there_reader, there_writer = await connect
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.pump(reader, there_writer))
                    group.create_task(self.pump(there_reader, writer))
            finally:
                there_writer.transport.abort()
        except (asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            writer.transport.abort()
            self.tasks.discard(task)

    @staticmethod
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def cut(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        while self.tasks:
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        self.server.close()
        await self.cut()
        await self.server.wait_closed()
        await asyncio.to_thread((self.folder / ".s.PGSQL.5432").unlink, missing_ok=True)


@pytest.fixture
def socket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("way")


@pytest.fixture
async def way(database_url: str, socket_folder: Path) -> AsyncIterator[Way]:
    way = Way(socket_folder, database_url)
    await way.open()
    yield way
    await way.close()


@pytest.fixture
def db() -> SQLAlchemy:
    return SQLAlchemy(engine_options={"pool_size": 3, "max_overflow": 0})


@pytest.fixture
def caught() -> list[float]:
    """Which requests caught an OperationalError."""
    return []


@pytest.fixture
def opened() -> list[asyncpg.Connection]:
    """The connections that the application has opened."""
    return []


@pytest.fixture
def deadlines(request: pytest.FixtureRequest) -> dict[str, float]:
    """What the application's connections are opened with."""
    return getattr(request, "param", {"timeout": 60, "command_timeout": 100})


@pytest.fixture
async def client(
    db: SQLAlchemy,
    make_app: Callable[..., Any],
    way: Way,
    caught: list[float],
    opened: list[asyncpg.Connection],
    deadlines: dict[str, float],
) -> AsyncIterator[Any]:
    app = make_app(db, way.url, SQLALCHEMY_ENGINE_OPTIONS={"connect_args": deadlines, "pool_timeout": 100})

    @app.get("/<float:seconds>")
    async def sleep(seconds: float) -> str:
        try:
            await db.session.execute(text(f"SELECT pg_sleep({seconds})"))
        except exc.OperationalError:  # as with psycopg2
            caught.append(seconds)
            raise
        return "slept"

    @app.get("/pool")
    async def pool() -> list[int]:
        found: Any = db.engine.pool
        return [found.checkedin(), found.checkedout()]

    async with app.app_context():
        event.listen(
            db.engine.sync_engine, "connect", lambda connection, record: opened.append(record.driver_connection)
        )
    yield app.test_client()
    async with app.app_context():
        await db.dispose()


async def statuses(client: Any, *paths: str) -> list[int]:
    responses = await asyncio.gather(*(client.get(path) for path in paths))
    return [response.status_code for response in responses]


async def test_away_is_503_with_retry_after_and_the_pool_recovers(client: Any, way: Way, caught: list[float]) -> None:
    """Refused connections answer at once; when the server is back, so is the application."""
    assert await statuses(client, "/0.0", "/0.0", "/0.0") == [200, 200, 200]
    await way.close()
    started = time.monotonic()
    assert await statuses(client, *["/0.0"] * 10) == [503] * 10
    assert time.monotonic() - started < 60, "sooner than the pool's time-out"
    assert len(caught) == 10
    response = await client.get("/0.0")
    assert response.headers["Retry-After"] == "5"
    assert "again in a few seconds" in await response.get_data(as_text=True)
    await way.open()
    assert await statuses(client, *["/0.0"] * 10) == [200] * 10
    assert await (await client.get("/pool")).get_json() == [3, 0]


async def test_idle_connections_that_were_closed_cost_no_request(
    client: Any, database_url: str, opened: list[asyncpg.Connection]
) -> None:
    """As after a restart of the server: no request fails, though every pooled connection is dead."""
    assert await statuses(client, *["/0.1"] * 3) == [200] * 3
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"  # others use the server too
        )
    async with asyncio.timeout(20):
        while not all(connection.is_closed() for connection in opened):
            await asyncio.sleep(0.001)
    assert await statuses(client, *["/0.1"] * 3) == [200] * 3


async def test_a_connection_cut_in_a_query_is_503(client: Any, way: Way, database_url: str) -> None:
    """The query is not repeated: it may have run."""
    asking = asyncio.create_task(statuses(client, "/90.0", "/90.0"))
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    async with asyncio.timeout(60), await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while await (await connection.execute(sleeping)).fetchone() != (2,):
            await asyncio.sleep(0.01)
    await way.cut()
    assert await asking == [503, 503]
    assert await statuses(client, "/0.0") == [200]
    assert (await (await client.get("/pool")).get_json())[1] == 0


@pytest.mark.parametrize("deadlines", [{"timeout": 2, "command_timeout": 60}], indirect=True)
async def test_a_server_that_says_nothing_is_given_up(client: Any, way: Way) -> None:
    """Connecting has a deadline, 10 s unless set."""
    way.void = True
    started = time.monotonic()
    assert await statuses(client, "/0.0", "/0.0") == [503, 503]
    assert time.monotonic() - started < 18, "the default would be 20 s for the two, one after the other"
    way.void = False
    assert (await (await client.get("/pool")).get_json())[1] == 0


@pytest.mark.parametrize("deadlines", [{"timeout": 60, "command_timeout": 3}], indirect=True)
async def test_a_statement_that_takes_too_long_is_given_up(client: Any) -> None:
    """It has a deadline, 30 s unless set; others of the same application go on."""
    assert await statuses(client, "/0.0", "/90.0", "/0.0") == [200, 503, 200]
    assert (await (await client.get("/pool")).get_json())[1] == 0


async def test_a_full_pool_is_503(make_app: Callable[..., Any], database_url: str) -> None:
    """After pool_timeout, with Retry-After."""
    db = SQLAlchemy(engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1})
    app: quart.Quart = make_app(db, database_url)

    @app.get("/")
    async def index() -> str:
        return str(await db.session.scalar(text("SELECT 1")))

    async with app.app_context():
        await db.session.execute(text("SELECT 1"))
        response = await app.test_client().get("/")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert (await app.test_client().get("/")).status_code == 200


async def test_the_applications_own_handler_wins(make_app: Callable[..., Any], way: Way) -> None:
    """One for Unavailable, registered before or after, or one for SQLAlchemy's errors."""
    await way.close()
    for kind in (Unavailable, exc.SQLAlchemyError, exc.OperationalError, ConnectionLost):
        db = SQLAlchemy()
        app: quart.Quart = make_app(db, way.url)

        @app.errorhandler(kind)
        async def own(error: Exception) -> tuple[str, int]:
            return "ours", 418

        @app.get("/")
        async def index(db: SQLAlchemy = db) -> str:
            return str(await db.session.scalar(text("SELECT 1")))

        assert (await app.test_client().get("/")).status_code == 418
    await way.open()


async def test_what_waiting_does_not_mend_stays_as_it_is(make_app: Callable[..., Any], database_url: str) -> None:
    """An unknown database is no 503, nor is a mistake in SQL."""
    db = SQLAlchemy()
    app = make_app(db, make_url(database_url).set(database="nowhere"))
    async with app.app_context():
        with pytest.raises(Exception, match='database "nowhere" does not exist') as caught:
            await db.session.execute(text("SELECT 1"))
        assert not isinstance(caught.value, DatabaseUnavailable)
    db = SQLAlchemy()
    app = make_app(db, database_url)
    async with app.app_context():
        with pytest.raises(exc.ProgrammingError):
            await db.session.execute(text("SELECT * FROM nowhere"))


def test_the_errors_are_what_flask_sqlalchemys_users_catch() -> None:
    """ConnectionLost is an OperationalError, PoolTimeout SQLAlchemy's TimeoutError; both say 503 by their class."""
    lost = ConnectionLost("gone", OSError("refused"), "SELECT 1")
    assert isinstance(lost, exc.OperationalError)
    assert lost.connection_invalidated
    assert (lost.retry_after_s, str(lost).splitlines()[0]) == (5, "gone")
    assert isinstance(PoolTimeout("full"), exc.TimeoutError)
