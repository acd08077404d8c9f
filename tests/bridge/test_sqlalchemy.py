"""SQLAlchemy's own protocol and the bridge, together, on PostgreSQL through asyncpg."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import ForeignKey, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.util import await_, greenlet_spawn

from decant.bridge import Threads, bridged, in_thread, wait
from decant.database.pool import BridgedQueuePool

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


@asynccontextmanager
async def library(url: str, **options: Any) -> AsyncIterator[AsyncEngine]:
    """An engine on a database with one author and two books."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"), poolclass=BridgedQueuePool, **options
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add(Author(name="Ada", books=[Book(title="One"), Book(title="Two")]))
            await session.commit()
        yield engine
    finally:
        await engine.dispose()


def titles(author: Author) -> list[str]:
    """A template, say: it knows nothing of loops, and touches a relationship that is not loaded."""
    return sorted(book.title for book in author.books)


def test_lazy_loads_work_in_a_bridged_async_function(run: Run, database_url: str) -> None:
    """And fail outside, as SQLAlchemy documents."""

    async def main() -> list[str]:
        async with library(database_url) as engine:
            async with AsyncSession(engine) as session:
                author = (await session.scalars(select(Author))).one()
                with pytest.raises(MissingGreenlet):
                    titles(author)
            async with AsyncSession(engine) as session:
                author = (await session.scalars(select(Author))).one()

                async def view() -> list[str]:
                    return titles(author)

                return await bridged(view())

    assert run(main()) == ["One", "Two"]


def test_lazy_loads_and_sync_sessions_work_in_a_thread(run: Run, database_url: str) -> None:
    """A plain Session on the async engine's sync face, in in_thread()."""

    def view(engine: AsyncEngine) -> tuple[list[str], bool]:
        with Session(engine.sync_engine) as session:
            author = session.scalars(select(Author)).one()
            return titles(author), threading.current_thread() is threading.main_thread()

    async def main() -> Any:
        async with library(database_url) as engine:
            return await in_thread(view, engine)

    assert run(main()) == (["One", "Two"], False)


def test_a_sync_session_works_on_the_loop(run: Run, database_url: str) -> None:
    """The same view, unchanged, on the event loop, fifty at once on five connections."""

    def view(engine: AsyncEngine) -> list[str]:
        with Session(engine.sync_engine) as session:
            session.execute(text("SELECT pg_sleep(0.001)"))
            return titles(session.scalars(select(Author)).one())

    async def request(engine: AsyncEngine) -> list[str]:
        return view(engine)

    async def main() -> list[list[str]]:
        async with library(database_url, pool_size=5, max_overflow=0) as engine:
            return await asyncio.gather(*(bridged(request(engine)) for _ in range(50)))

    assert run(main()) == [["One", "Two"]] * 50


def test_wait_and_sqlalchemys_own_greenlets_mix(run: Run, database_url: str) -> None:
    """run_sync() and await_() inside a bridge, wait() inside run_sync(), bridged() inside greenlet_spawn()."""

    def in_session(session: Session) -> list[Any]:
        one = wait(asyncio.sleep(0, "waited"))
        return [one, *titles(session.scalars(select(Author)).one()), await_(asyncio.sleep(0, "awaited"))]

    async def inside(engine: AsyncEngine) -> list[Any]:
        async with AsyncSession(engine) as session:
            first = await session.run_sync(in_session)
        second = await_(asyncio.sleep(0, "directly"))

        def spawned() -> str:
            async def nested() -> str:
                return wait(asyncio.sleep(0, "nested"))

            return wait(bridged(nested()))

        return [*first, second, await greenlet_spawn(spawned), wait(asyncio.sleep(0, "after"))]

    async def main() -> tuple[Any, Any]:
        async with library(database_url) as engine:
            async with AsyncSession(engine) as session:
                plainly = await session.run_sync(in_session)
            return plainly, await bridged(inside(engine))

    plainly, inner = run(main())
    assert plainly == ["waited", "One", "Two", "awaited"]
    assert inner == [*plainly, "directly", "nested", "after"]


def test_one_connection_is_shared_by_threads_and_tasks_without_stalls(debug_run: Run, database_url: str) -> None:
    """40 threads and 40 tasks take turns with the one connection; a debug loop finds no call from a wrong thread."""

    def view(engine: AsyncEngine) -> int:
        with engine.sync_engine.connect() as connection:
            return int(connection.scalar(text("SELECT pg_backend_pid() FROM pg_sleep(0.001)")))

    async def request(engine: AsyncEngine) -> int:
        return view(engine)

    async def forty(engine: AsyncEngine) -> float:
        begun = time.monotonic()
        for _ in range(40):
            await bridged(request(engine))
        return time.monotonic() - begun

    async def main() -> tuple[set[int], float, float]:
        pool = Threads(40)
        async with library(database_url, pool_size=1, max_overflow=0, pool_timeout=20) as engine:
            before = await forty(engine)  # how long this machine takes for them, now and afterwards
            started = time.monotonic()
            pids = await asyncio.gather(
                *(pool.run(view, engine) for _ in range(40)), *(bridged(request(engine)) for _ in range(40))
            )
            together = time.monotonic() - started
            pool.close()
            return set(pids), before + await forty(engine), together

    pids, alone, together = debug_run(main())
    assert len(pids) == 1
    assert together < 5 * alone + 2  # twice as long is usual; with the stalls of SQLAlchemy's own pool, twenty times


@pytest.mark.parametrize("where", ["thread", "loop"])
def test_a_cancelled_request_has_committed_nothing(run: Run, database_url: str, where: str) -> None:
    """It is stopped in the middle of a transaction: rolled back, connection back in the pool, thread free."""
    reached = threading.Event()
    pool = Threads(1, grace_s=60)

    def view(engine: AsyncEngine) -> None:
        with Session(engine.sync_engine) as session:
            session.add(Author(name="Eve"))
            session.flush()
            reached.set()
            session.execute(text("SELECT pg_sleep(30)"))
            session.commit()

    async def request(engine: AsyncEngine) -> None:
        await (pool.run(view, engine) if where == "thread" else bridged(on_loop(engine)))

    async def on_loop(engine: AsyncEngine) -> None:
        view(engine)

    async def main() -> tuple[int, int, int]:
        async with library(database_url, pool_size=1, max_overflow=0, pool_timeout=60) as engine:
            task = asyncio.create_task(request(engine))
            while not reached.is_set():
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 60)
            async with AsyncSession(engine) as session:
                authors = await session.scalar(select(func.count()).select_from(Author))
            assert isinstance(engine.pool, BridgedQueuePool)
            return authors or 0, engine.pool.checkedout(), pool.busy

    assert run(main()) == (1, 0, 0)
    pool.close()


def test_a_request_cancelled_between_two_statements_commits_nothing(run: Run, database_url: str) -> None:
    """Its thread computes when the client goes away: the next statement, here the commit, is where it stops."""
    reached, gate = threading.Event(), threading.Event()
    pool = Threads(1, grace_s=60)

    def view(engine: AsyncEngine) -> None:
        with Session(engine.sync_engine) as session:
            session.add(Author(name="Eve"))
            session.flush()
            reached.set()
            gate.wait()
            session.commit()

    async def main() -> int:
        async with library(database_url, pool_size=1, max_overflow=0, pool_timeout=60) as engine:
            task = asyncio.create_task(pool.run(view, engine))
            while not reached.is_set():
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.sleep(0.01)
            gate.set()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 60)
            async with AsyncSession(engine) as session:
                return await session.scalar(select(func.count()).select_from(Author)) or 0

    assert run(main()) == 1
    pool.close()


def test_a_script_keeps_its_connection(database_url: str) -> None:
    """wait() with no loop runs on the one loop of the thread: the pool's connection serves every call."""
    engine = create_async_engine(
        make_url(database_url).set(drivername="postgresql+asyncpg"), poolclass=BridgedQueuePool, pool_size=1
    )

    async def pid() -> int:
        async with engine.connect() as connection:
            return await connection.scalar(text("SELECT pg_backend_pid()")) or 0

    def lazily() -> list[str]:
        with Session(engine.sync_engine) as session:
            return [str(session.scalar(text("SELECT 'sync'")))]

    async def sync_code() -> list[str]:
        return lazily()

    try:
        assert wait(pid()) == wait(pid()) > 0
        assert wait(sync_code()) == ["sync"]
    finally:
        wait(engine.dispose())
