"""The pool: fair, bounded in time, and safe from threads, on real PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import event, exc, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from decant.bridge import Threads, bridged
from decant.database.pool import BridgedQueuePool


@asynccontextmanager
async def pooled(url: str, **options: object) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        **{"poolclass": BridgedQueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 60, **options},
    )
    try:
        yield engine
    finally:
        await engine.dispose()


def ask(engine: Engine, statement: str = "SELECT pg_sleep(0.002)") -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("opened", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("size", [1, 3])
async def test_threads_and_tasks_share_a_pool_without_stalls(database_url: str, size: int, opened: bool) -> None:
    """40 threads and 40 tasks get their turn on a debug loop; nobody waits for the loop to wake by chance."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    threads = Threads(40)
    async with pooled(database_url, pool_size=size) as engine:
        sync = engine.sync_engine
        if opened:
            async with engine.connect():
                pass

        async def task() -> None:
            ask(sync)

        started = time.monotonic()
        await asyncio.gather(
            *(threads.run(ask, sync) for _ in range(40)),
            *(bridged(task()) for _ in range(40)),
        )
        assert time.monotonic() - started < 50, "SQLAlchemy's own pool waits for its time-out"
        pool = sync.pool
        assert (pool.checkedin(), pool.checkedout()) == (size, 0)
    threads.close()


async def test_waiting_ends_after_the_pools_timeout(database_url: str) -> None:
    """A full pool answers with an error that tells its size, after pool_timeout and not before."""
    async with pooled(database_url, pool_timeout=0.2) as engine, engine.connect():
        started = time.monotonic()
        with pytest.raises(exc.TimeoutError, match=r"within 0\.2 s: pool_size 1, max_overflow 0, 1 checked out"):
            async with engine.connect():
                pass
        assert 0.2 <= time.monotonic() - started < 10


async def test_waiters_are_served_in_their_order(database_url: str) -> None:
    """First come, first served: nobody overtakes a waiter."""
    served: list[int] = []
    async with pooled(database_url) as engine:

        async def turn(number: int) -> None:
            async with engine.connect() as connection:
                served.append(number)
                await connection.execute(text("SELECT 1"))

        async with engine.connect():
            tasks = [asyncio.create_task(turn(number)) for number in range(10)]
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks, turn(10))
    assert served == list(range(11))


async def test_a_cancelled_waiter_passes_on_what_it_was_given(database_url: str) -> None:
    """Cancellation that crosses the hand-over loses neither the connection nor the right to open one."""
    async with pooled(database_url) as engine:

        async def turn() -> None:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

        for _ in range(30):
            connection = await engine.connect()
            first, second = asyncio.create_task(turn()), asyncio.create_task(turn())
            await asyncio.sleep(0.001)
            await connection.close()  # given to the first, which is cancelled before it runs
            first.cancel()
            await second
            assert first.cancelled() or first.done()
            await asyncio.gather(first, return_exceptions=True)
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_connection_that_cannot_be_opened_leaves_no_one_waiting(database_url: str) -> None:
    """When opening fails, the next waiter tries at once, instead of waiting for its time-out."""
    async with pooled(database_url, pool_timeout=60) as engine:
        failures = 3

        @event.listens_for(engine.sync_engine, "do_connect")
        def refuse(*_: object) -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise ConnectionRefusedError("not today")

        async def turn() -> str:
            try:
                async with engine.connect():
                    return "served"
            except ConnectionRefusedError:
                return "refused"

        started = time.monotonic()
        outcomes = await asyncio.gather(*(turn() for _ in range(10)))
        assert sorted(outcomes) == ["refused"] * 3 + ["served"] * 7
        assert time.monotonic() - started < 50


async def test_overflow_connections_are_closed_when_returned(database_url: str) -> None:
    """max_overflow connections come on top and go again."""
    async with pooled(database_url, pool_size=2, max_overflow=3) as engine:
        connections = [await engine.connect() for _ in range(5)]
        assert engine.pool.checkedout() == 5  # type: ignore[attr-defined]
        for connection in connections:
            await connection.close()
        assert engine.pool.checkedin() == 2  # type: ignore[attr-defined]
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_forgotten_connection_frees_its_place(database_url: str) -> None:
    """A connection that the garbage collector finds is closed, and a waiter gets its place."""
    async with pooled(database_url) as engine:
        connection = await engine.connect()

        async def turn() -> int | None:
            async with engine.connect() as other:
                return await other.scalar(text("SELECT 1"))

        waiting = asyncio.create_task(turn())
        await asyncio.sleep(0.01)
        forgotten = [connection]
        del connection
        with pytest.warns(exc.SAWarning, match="garbage collector"):
            forgotten.clear()
        assert await waiting == 1


async def test_a_disposed_pool_comes_back_as_the_same_kind(database_url: str) -> None:
    """dispose() recreates the pool with its settings."""
    async with pooled(database_url, pool_timeout=3, pool_use_lifo=True) as engine:
        async with engine.connect():
            pass
        await engine.dispose()
        assert isinstance(engine.pool, BridgedQueuePool)
        assert engine.pool.timeout() == 3
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1
