"""Clients that go away in mid-query, over real sockets, served by Hypercorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from sqlalchemy import text

from decant import Quart
from decant.database import SQLAlchemy

CLIENTS, AT_ONCE, POOL = 1000, 50, 20


@pytest.fixture
async def served(database_url: str, make_app: Callable[..., Any]) -> AsyncIterator[tuple[int, Any, SQLAlchemy]]:
    """The port of a server, its application and its database."""
    db = SQLAlchemy(engine_options={"pool_size": POOL, "max_overflow": 0})
    app = make_app(db, database_url, framework=Quart)

    @app.get("/")
    async def sleep() -> str:
        await db.session.execute(text("INSERT INTO asked VALUES (1)"))
        await db.session.execute(text("SELECT pg_sleep(30)"))
        return "slept"

    listening = socket.create_server(("127.0.0.1", 0), backlog=AT_ONCE)
    port = listening.getsockname()[1]
    config = Config()
    config.bind, config.accesslog, config.errorlog = [f"fd://{listening.detach()}"], None, None
    stop = asyncio.Event()
    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    yield port, app, db
    stop.set()
    await task


@pytest.mark.slow
async def test_clients_that_disconnect_in_a_query_give_their_connections_back(
    served: tuple[int, Any, SQLAlchemy], database_url: str
) -> None:
    """1,000 of them, 50 at once on a pool of 20: the pool is whole, and PostgreSQL works for nobody any more."""
    port, app, db = served
    async with app.app_context():
        await db.session.execute(text("CREATE TABLE asked (id int)"))
        await db.session.commit()
        pool: Any = db.engine.pool

    async def wave() -> None:
        writers = []
        for _ in range(AT_ONCE):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            writers.append(writer)
        while pool.checkedout() < POOL:  # the others wait for a connection
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        for writer in writers:
            writer.transport.abort()
        while pool.checkedout():
            await asyncio.sleep(0.001)

    for _ in range(CLIENTS // AT_ONCE):
        async with asyncio.timeout(60):
            await wave()
    async with app.app_context():
        async with contextlib.AsyncExitStack() as stack:  # one that was cancelled while it was opened is opened now
            for _ in range(POOL):
                await stack.enter_async_context(db.engine.connect())
        async with asyncio.timeout(60):  # a client may have been accepted late
            while pool.checkedout():
                await asyncio.sleep(0.001)
        assert (pool.size(), pool.checkedin(), pool.checkedout()) == (POOL, POOL, 0)
        assert await db.session.scalar(text("SELECT count(*) FROM asked")) == 0, "rolled back"
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
        " AND pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(20), await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while await (await connection.execute(busy)).fetchone() != (0,):
            await asyncio.sleep(0.05)
