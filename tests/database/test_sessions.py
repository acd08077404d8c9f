"""One session per app context and flow: who gets which, when it ends, and what two tasks at once are told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import quart
from sqlalchemy import event, exc, select, text
from sqlalchemy.orm import object_session

from decant.bridge import bridged, in_thread, wait
from decant.database import AsyncSession, Session, SQLAlchemy
from decant.errors import SessionInUse


def checked_out(db: SQLAlchemy) -> int:
    return db.engine.pool.checkedout()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.usefixtures("context")
async def test_a_task_keeps_its_session_and_a_child_task_has_another(db: SQLAlchemy) -> None:
    """The child's is closed, its connection given back, as soon as the child ends."""
    own = db.session()
    await db.session.execute(text("SELECT 1"))

    async def child() -> AsyncSession:
        await db.session.execute(text("SELECT 1"))
        assert checked_out(db) >= 2
        return db.session()

    first, second = await asyncio.gather(child(), child())
    assert len({own, first, second}) == 3
    assert db.session() is own
    async with asyncio.timeout(20):
        while checked_out(db) > 1:
            await asyncio.sleep(0.001)
    await db.session.rollback()
    assert checked_out(db) == 0


@pytest.mark.usefixtures("context")
async def test_the_session_of_a_child_task_that_has_committed_is_closed(
    db: SQLAlchemy, models: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """In a callback of the loop, which is no task: what the session had is let go of, and nothing is logged."""
    await db.session.execute(text("SELECT 1"))  # so that the context's first flow is this one

    async def child() -> Any:
        user = models.User(name="ada")
        db.session.add(user)
        await db.session.commit()
        return user

    gc.collect()
    caplog.clear()  # of what earlier tests have left
    user = await asyncio.create_task(bridged(child()))
    async with asyncio.timeout(20):
        while object_session(user) is not None:
            await asyncio.sleep(0.001)
    await db.session.rollback()
    assert not caplog.records


@pytest.mark.usefixtures("context")
async def test_more_child_tasks_than_connections_get_their_turn(db: SQLAlchemy) -> None:
    """60 tasks that each query once do not exhaust a pool of 15: each gives back what it had."""

    async def child() -> int:
        return await db.session.scalar(text("SELECT 1"))  # type: ignore[no-any-return]

    assert await asyncio.gather(*(child() for _ in range(60))) == [1] * 60


@pytest.mark.usefixtures("context")
async def test_one_session_in_two_tasks_at_once_is_refused(db: SQLAlchemy, models: SimpleNamespace) -> None:
    """At once, with both tasks' names and what to do; the first is not disturbed."""
    query = select(models.User)
    results = await asyncio.gather(db.session.execute(query), db.session.execute(query), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["ChunkedIteratorResult", "SessionInUse"]
    assert "each function must ask `db.session` itself" in str(results[1])
    session = db.session()

    async def use(session: AsyncSession) -> None:
        await session.execute(query)

    refused = (await asyncio.gather(use(session), use(session), return_exceptions=True))[1]
    with pytest.raises(SessionInUse, match=r"executing for task '.+', and task '.+' used it"):
        raise refused  # type: ignore[misc]
    await db.session.execute(query)


@pytest.mark.usefixtures("context")
async def test_the_call_decides_which_session_is_meant(db: SQLAlchemy, models: SimpleNamespace) -> None:
    """wait_for(db.session.commit()) commits the caller's, though Python 3.11 awaits it in another task."""
    db.session.add(models.User(name="ada"))
    await asyncio.wait_for(db.session.commit(), 60)
    await asyncio.create_task(db.session.rollback())
    assert await models.User.query.count() == 1


@pytest.mark.usefixtures("context")
async def test_a_thread_shares_the_session_of_the_task_that_waits_for_it(
    db: SQLAlchemy, models: SimpleNamespace
) -> None:
    """So a sync view sees what before_request loaded; relationships load there too."""
    ada = models.User(name="ada", posts=[models.Post(title="one")])
    db.session.add(ada)
    await db.session.commit()
    own = db.session()

    def view() -> list[str]:
        assert db.session() is own
        assert wait(db.session.scalar(select(models.User))) is ada
        wait(helper())
        return [post.title for post in ada.posts]

    async def helper() -> None:
        assert db.session() is own

    assert await in_thread(view) == ["one"]


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_outside_a_bridge_the_error_says_what_to_do(db: SQLAlchemy, models: SimpleNamespace) -> None:
    """A child task that loads a relationship is told of bridged(), as asyncpg says it and as aiosqlite says it."""
    db.session.add(models.User(name="ada", posts=[models.Post(title="one")]))
    await db.session.commit()

    async def child() -> list[str]:
        return [post.title for post in (await db.session.scalar(select(models.User))).posts]

    def wrapped() -> None:
        raise exc.StatementError("cannot await", "SELECT 1", {}, exc.MissingGreenlet("no greenlet"))

    with pytest.raises(exc.MissingGreenlet) as plain:
        await asyncio.create_task(child())
    with pytest.raises(exc.StatementError) as inside:
        db.session().sync_session._io(wrapped)
    for caught in (plain, inside):
        assert "run the coroutine through decant.bridge.bridged()" in "".join(caught.value.__notes__)
    assert await asyncio.create_task(bridged(child())) == ["one"]


@pytest.fixture
async def loaded(context: None, db: SQLAlchemy, models: SimpleNamespace) -> Any:
    """A user that a fixture, which is another task than the test, has stored."""
    user = models.User(name="ada", posts=[models.Post(title="one")])
    db.session.add(user)
    await db.session.commit()
    return user


async def test_the_session_of_an_ended_task_is_taken_over(loaded: Any, db: SQLAlchemy, models: SimpleNamespace) -> None:
    """A test changes what its fixture loaded, as with Flask-SQLAlchemy."""
    assert loaded in db.session
    loaded.name = "bob"
    await db.session.commit()
    assert await db.session.scalar(select(models.User.name)) == "bob"
    assert [post.title for post in loaded.posts] == ["one"]


async def test_the_session_ends_with_the_app_context(app: quart.Quart, db: SQLAlchemy, models: SimpleNamespace) -> None:
    """What was not committed is rolled back, the connection is back in the pool, the next context starts anew."""
    async with app.app_context():
        await db.create_all()
        db.session.add(models.User(name="lost"))
        await db.session.flush()
        first = db.session()
        assert checked_out(db) == 1
    async with app.app_context():
        assert checked_out(db) == 0
        assert db.session() is not first
        assert await models.User.query.count() == 0


async def test_without_an_app_context_the_message_says_so(
    app: quart.Quart, db: SQLAlchemy, models: SimpleNamespace, make_app: Callable[..., Any]
) -> None:
    """Nor with the context of an application that the extension does not know."""
    for use in (lambda: db.session(), lambda: models.User.query, lambda: db.engine):
        with pytest.raises(RuntimeError, match="no application context is active"):
            use()
    stranger = make_app(SQLAlchemy(), "sqlite://")
    async with stranger.app_context():
        with pytest.raises(RuntimeError, match="Did you forget to call 'init_app'"):
            await db.session.execute(text("SELECT 1"))


async def test_a_cancelled_request_gives_its_connection_back(
    app: quart.Quart, db: SQLAlchemy, models: SimpleNamespace
) -> None:
    """Cancelled between statements, in one, and again during the teardown."""
    async with app.app_context():
        await db.create_all()
    reached = asyncio.Event()

    async def request(statement: str | None) -> None:
        async with app.app_context():
            db.session.add(models.User(name="lost"))
            await db.session.flush()
            reached.set()
            if statement:
                await db.session.execute(text(statement))
            await asyncio.sleep(30)

    statements = [None] if "sqlite" in app.config["SQLALCHEMY_DATABASE_URI"] else [None, "SELECT pg_sleep(30)"]
    for statement in statements:
        for more in range(3):
            reached.clear()
            task = asyncio.create_task(bridged(request(statement)))
            await asyncio.wait([task, asyncio.ensure_future(reached.wait())], return_when=asyncio.FIRST_COMPLETED)
            assert not task.done(), task
            await asyncio.sleep(0.01)
            task.cancel()
            for _ in range(more):
                await asyncio.sleep(0)
                task.cancel()
            # Quart 0.23 wraps a cancellation that meets its teardown in a group.
            with pytest.raises(asyncio.CancelledError if more == 0 else BaseException) as caught:
                await task
            assert isinstance(caught.value, asyncio.CancelledError | BaseExceptionGroup)
            # A server that does not answer costs ten seconds for the session, and two for its connection.
            async with asyncio.timeout(60), app.app_context():
                while checked_out(db):
                    await asyncio.sleep(0.001)
    async with app.app_context():
        assert await models.User.query.count() == 0


async def test_session_options(make_app: Callable[..., Any]) -> None:
    """class_, a subclass of Session; scopefunc; and whatever SQLAlchemy's Session takes."""

    class Mine(Session):
        commits = 0

        def commit(self) -> None:
            type(self).commits += 1
            super().commit()

    scope = ["a"]
    options = {"class_": Mine, "scopefunc": lambda: scope[0], "expire_on_commit": False, "autoflush": False}
    db = SQLAlchemy(session_options=options)
    assert options["class_"] is Mine, "the dictionary is the user's"
    app = make_app(db, "sqlite://")
    async with app.app_context():
        first = db.session()
        assert isinstance(first.sync_session, Mine)
        assert (first.sync_session.expire_on_commit, first.autoflush) == (False, False)
        await db.session.commit()
        scope[0] = "b"
        second = db.session()
        assert second is not first
        scope[0] = "a"
        assert db.session() is first
    async with app.app_context():
        assert db.session() is not first, "removed with the context"
        scope[0] = "b"
        assert db.session() is second, "the scope is the user's affair"
    assert type(first.sync_session).commits == 1


async def test_an_orm_event_may_use_the_session_that_fires_it(
    app: quart.Quart, db: SQLAlchemy, models: SimpleNamespace
) -> None:
    """The same flow is not two."""
    async with app.app_context():
        await db.create_all()

        @event.listens_for(models.User, "after_insert")
        def note(mapper: Any, connection: Any, user: Any) -> None:
            connection.execute(models.Note.__table__.insert().values(text=user.name))

        @event.listens_for(db.session_class, "after_flush")
        def count(session: Any, context: Any) -> None:
            counted.append(wait(db.session.scalar(select(models.Note.text))))

        counted: list[str] = []
        db.session.add(models.User(name="ada"))
        await db.session.commit()
        assert counted == ["ada"]


async def test_sessions_and_contexts_leave_nothing_behind(app: quart.Quart, db: SQLAlchemy) -> None:
    """1,000 contexts leave no session alive."""
    async with app.app_context():
        await db.create_all()
    before = sessions()  # of tests that have failed, whose tracebacks are kept, and the like
    for _ in range(1000):
        async with app.app_context():
            db.session()
    assert len(sessions()) - len(before) <= 1


def sessions() -> list[Session]:
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Session)]  # a dead proxy has no __class__
