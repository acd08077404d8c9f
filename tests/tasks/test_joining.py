"""Jobs go with the transaction that they were made in, or stand alone: by the rule, on a real database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import quart
import sqlalchemy as sa
from blockbuster import BlockBuster

from decant.bridge import in_thread
from decant.database import SQLAlchemy
from decant.tasks import Tasks
from decant.tasks.job import Group, Job
from decant.tasks.runtime import Runtime
from decant.tasks.settings import Conf


def make_job(**more: Any) -> Job:
    return Job(**{"id": uuid4(), "task": "mail.send", "queue": "default", "payload": b"x", **more})


@pytest.fixture
def db(request: pytest.FixtureRequest) -> SQLAlchemy:
    return SQLAlchemy(session_options=getattr(request, "param", None))


@pytest.fixture
def models(db: SQLAlchemy) -> SimpleNamespace:
    class User(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String)

    return SimpleNamespace(User=User)


@pytest.fixture
def app(db: SQLAlchemy, models: SimpleNamespace, ledger_url: str, redis_url: str) -> quart.Quart:
    app = quart.Quart("test_app")
    app.config.update(SQLALCHEMY_DATABASE_URI=ledger_url, REDIS_URL=redis_url, REDIS_DEADLINE_S=10)
    db.init_app(app)
    return app


class Jobs:
    """An application's runtime, and what of its jobs can be seen from outside."""

    def __init__(self, runtime: Runtime, sent: list[UUID]) -> None:
        self.runtime, self.sent = runtime, sent

    async def delay(self, **more: Any) -> UUID:
        job = make_job(**more)
        await self.runtime.submit([job])
        return job.id

    async def committed(self, id_: UUID) -> bool:
        assert self.runtime.ledger is not None
        return bool(await self.runtime.ledger.read([id_]))


@pytest.fixture
async def jobs(
    app: quart.Quart, db: SQLAlchemy, models: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Jobs]:
    runtime = Runtime(app, Conf().for_app(app))
    sent: list[UUID] = []
    really = runtime.dispatcher.push_soon

    def push_soon(pushed: list[Job]) -> None:
        sent.extend(job.id for job in pushed)
        really(pushed)

    monkeypatch.setattr(runtime.dispatcher, "push_soon", push_soon)
    async with app.app_context():
        await db.create_all()
        yield Jobs(runtime, sent)
        await db.session.rollback()
    await runtime.aclose()


async def test_without_a_transaction_a_job_stands_alone(jobs: Jobs) -> None:
    id_ = await jobs.delay()
    assert await jobs.committed(id_)
    assert jobs.sent == [id_]


async def test_a_select_is_not_joined(jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace) -> None:
    await db.session.execute(sa.select(models.User))
    await db.session.execute(sa.text(" -- a comment\n (SELECT 1)"))
    await db.session.execute(sa.text("/* x */ WITH a AS (SELECT 1) SELECT * FROM a"))
    await db.session.execute(sa.text("SET LOCAL statement_timeout = 5000"))
    assert db.session().in_transaction()
    id_ = await jobs.delay()
    assert await jobs.committed(id_)
    await db.session.rollback()
    assert await jobs.committed(id_)


async def orm_insert(session: Any, user: Any) -> None:
    await session.execute(sa.insert(user), [{"name": "a"}, {"name": "b"}])


async def core_insert(session: Any, user: Any) -> None:
    await session.execute(sa.insert(user.__table__).values(name="a"))


async def orm_update(session: Any, user: Any) -> None:
    await session.execute(sa.update(user).where(user.id > 0).values(name="b"))


async def core_delete(session: Any, user: Any) -> None:
    await session.execute(sa.delete(user.__table__))


async def text_update(session: Any, user: Any) -> None:
    await session.execute(sa.text('UPDATE "user" SET name = :name'), {"name": "x"})


async def text_with(session: Any, user: Any) -> None:
    await session.execute(
        sa.text("""WITH new AS (INSERT INTO "user" (name) VALUES ('x') RETURNING id) SELECT * FROM new""")
    )


async def pending(session: Any, user: Any) -> None:
    session.add(user(name="a"))


async def flushed(session: Any, user: Any) -> None:
    session.add(user(name="a"))
    await session.flush()


async def bulk(session: Any, user: Any) -> None:
    await session.bulk_insert_mappings(user, [{"name": "a"}])


async def scalars(session: Any, user: Any) -> None:
    assert len((await session.scalars(sa.insert(user).returning(user), [{"name": "a"}])).all()) == 1


async def legacy_update(session: Any, user: Any) -> None:
    await session.query(user).filter(user.id > 0).update({"name": "b"})


async def nested(session: Any, user: Any) -> None:
    await session.begin_nested().start()


WRITES = [orm_insert, core_insert, orm_update, core_delete, text_update, text_with, pending, flushed, bulk, scalars]


@pytest.mark.parametrize("write", [*WRITES, legacy_update, nested])
async def test_writes_are_joined(
    write: Callable[..., Any], jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace
) -> None:
    await write(db.session, models.User)
    id_ = await jobs.delay()
    assert not await jobs.committed(id_)
    assert jobs.sent == []
    await db.session.commit()
    assert await jobs.committed(id_)
    assert jobs.sent == [id_]


@pytest.fixture
def early(ledger_url: str, redis_url: str) -> quart.Quart:
    """An application whose tasks come before its database."""
    app = quart.Quart("early")
    app.config |= {"SQLALCHEMY_DATABASE_URI": ledger_url, "REDIS_URL": redis_url}
    return app


async def test_it_does_not_matter_whether_the_tasks_or_the_database_came_first(
    early: quart.Quart, db: SQLAlchemy, models: SimpleNamespace
) -> None:
    runtime = Runtime(early, Conf().for_app(early))
    await asyncio.to_thread(db.init_app, early)
    async with early.app_context():
        await db.create_all()
        await bulk(db.session, models.User)
        assert runtime.session() is not None
    await runtime.aclose()


async def test_a_flush_that_has_nothing_to_write_is_no_write(jobs: Jobs, db: SQLAlchemy) -> None:
    await db.session.flush()
    await db.session.execute(sa.text("SELECT 1"))
    await db.session.flush()
    assert await jobs.committed(await jobs.delay())


async def test_an_explicit_begin_is_joined(jobs: Jobs, db: SQLAlchemy) -> None:
    async with db.session.begin():
        id_ = await jobs.delay()
        assert not await jobs.committed(id_)
    assert await jobs.committed(id_)
    assert jobs.sent == [id_]


async def test_changed_and_deleted_objects_count(jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace) -> None:
    users = [models.User(name="a"), models.User(name="b")]
    db.session.add_all(users)
    await db.session.commit()
    users[0].name = "c"
    assert not await jobs.committed(await jobs.delay())
    await db.session.commit()
    await db.session.delete(users[1])
    assert not await jobs.committed(await jobs.delay())


async def test_after_the_commit_a_job_stands_alone_again(jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace) -> None:
    await flushed(db.session, models.User)
    await db.session.commit()
    await db.session.execute(sa.select(models.User))
    assert await jobs.committed(await jobs.delay())


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of tasks: others may just say what became of an earlier test's connections."""
    return [record.getMessage() for record in caplog.records if record.name == "decant.tasks"]


async def test_a_rollback_takes_its_jobs_along_and_says_so(
    jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    await flushed(db.session, models.User)
    ids = [await jobs.delay(), await jobs.delay(), await jobs.delay(task="other")]
    with caplog.at_level(logging.WARNING, "decant.tasks"):
        await db.session.rollback()
    assert [await jobs.committed(id_) for id_ in ids] == [False] * 3
    assert jobs.sent == []
    assert "mail.send (2), other" in caplog.text


async def test_a_rollback_because_of_an_exception_says_nothing(
    jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.session.begin():
            id_ = await jobs.delay()
            raise ZeroDivisionError
    assert not await jobs.committed(id_)
    await flushed(db.session, models.User)
    try:
        await jobs.delay()
        raise ZeroDivisionError
    except ZeroDivisionError:
        await db.session.rollback()
    await flushed(db.session, models.User)
    with pytest.raises(ZeroDivisionError):
        async with db.session.begin_nested():
            await jobs.delay()
            raise ZeroDivisionError
    assert said(caplog) == []
    assert jobs.sent == []


async def test_a_session_closed_without_a_commit_says_so(
    jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace, caplog: pytest.LogCaptureFixture, app: quart.Quart
) -> None:
    async with app.app_context():
        await flushed(db.session, models.User)
        id_ = await jobs.delay()
    assert not await jobs.committed(id_)
    assert "mail.send" in caplog.text


async def test_a_rolled_back_savepoint_drops_its_jobs_only(
    jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    await flushed(db.session, models.User)
    outer = await jobs.delay()
    savepoint = await db.session.begin_nested()
    dropped = await jobs.delay(task="dropped")
    await savepoint.rollback()
    assert "dropped" in caplog.text
    async with db.session.begin_nested():
        kept = await jobs.delay()
    assert jobs.sent == []
    await db.session.commit()
    assert [await jobs.committed(id_) for id_ in (outer, dropped, kept)] == [True, False, True]
    assert jobs.sent == [outer, kept]


async def test_savepoints_within_savepoints(jobs: Jobs, db: SQLAlchemy) -> None:
    async with db.session.begin():
        async with db.session.begin_nested() as middle:
            first = await jobs.delay()
            async with db.session.begin_nested():
                released = await jobs.delay()
            with pytest.raises(ZeroDivisionError):
                async with db.session.begin_nested():
                    inner = await jobs.delay()
                    raise ZeroDivisionError
            await middle.rollback()
        last = await jobs.delay()
        assert jobs.sent == []
    found = [await jobs.committed(id_) for id_ in (first, released, inner, last)]
    assert found == [False, False, False, True]
    assert jobs.sent == [last]


async def test_a_write_in_a_rolled_back_savepoint_is_no_write(
    jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace
) -> None:
    await db.session.execute(sa.select(models.User))
    savepoint = await db.session.begin_nested()
    await core_insert(db.session, models.User)
    await savepoint.rollback()
    assert await jobs.committed(await jobs.delay())
    savepoint = await db.session.begin_nested()
    await core_insert(db.session, models.User)
    await savepoint.commit()
    assert not await jobs.committed(await jobs.delay())


@pytest.mark.parametrize("db", [{"twophase": True}], indirect=True)
async def test_two_phases_are_one_commit(
    jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    await flushed(db.session, models.User)
    async with db.session.begin_nested():
        id_ = await jobs.delay()
    prepared = await db.session.scalar(sa.text("SHOW max_prepared_transactions"))
    if prepared == "0":  # as servers are, until told: then it is a commit that fails
        with pytest.raises(sa.exc.DBAPIError, match="prepared transactions are disabled"):
            await db.session.commit()
        assert said(caplog) == []
    else:
        await db.session.commit()
    assert await jobs.committed(id_) is (prepared != "0")
    assert jobs.sent == ([] if prepared == "0" else [id_])


async def test_groups_join_too(jobs: Jobs, db: SQLAlchemy) -> None:
    group = Group(id=uuid4(), total=2)
    members = [make_job(group=group.id, group_index=index) for index in range(2)]
    async with db.session.begin():
        await jobs.runtime.submit(members, [group])
        assert jobs.runtime.ledger is not None
        assert await jobs.runtime.ledger.read_group(group.id) == []
    assert len(await jobs.runtime.ledger.read_group(group.id)) == 2
    assert set(jobs.sent) == {job.id for job in members}


async def test_what_was_there_already_is_not_pushed_again(jobs: Jobs, db: SQLAlchemy) -> None:
    job = make_job()
    await jobs.runtime.submit([job])
    jobs.sent.clear()
    async with db.session.begin():
        await jobs.runtime.submit([job])
    assert jobs.sent == []


async def test_gathered_jobs_share_the_session_that_they_are_given(jobs: Jobs, db: SQLAlchemy) -> None:
    async with db.session.begin():
        session = jobs.runtime.session()
        made = [make_job() for _ in range(10)]
        await asyncio.gather(*(jobs.runtime.submit([job], session=session) for job in made))
        assert not await jobs.committed(made[0].id)
    assert set(jobs.sent) == {job.id for job in made}


async def test_another_database_is_not_joined(jobs: Jobs, db: SQLAlchemy, app: quart.Quart) -> None:
    async with db.session.begin():
        assert jobs.runtime.session() is not None
        elsewhere = Runtime(app, Conf({"database_url": "postgresql://user@elsewhere/db"}).for_app(app))
        assert elsewhere.session() is None


async def test_joining_can_be_switched_off(jobs: Jobs, db: SQLAlchemy) -> None:
    async with db.session.begin():
        jobs.runtime.conf.joins = False
        assert await jobs.committed(await jobs.delay())


async def test_a_thread_joins_the_session_of_its_request(jobs: Jobs, db: SQLAlchemy, models: SimpleNamespace) -> None:
    from decant.bridge import wait

    def work() -> UUID:
        wait(flushed(db.session, models.User))
        id_ = wait(jobs.delay())
        assert not wait(jobs.committed(id_))
        wait(db.session.commit())
        return id_

    id_ = await in_thread(work)
    assert jobs.sent == [id_]
    assert await jobs.committed(id_)


def test_a_flask_application_joins_and_pushes_before_its_loop_rests(
    db: SQLAlchemy, models: SimpleNamespace, ledger_url: str, redis_url: str, no_blocking: BlockBuster
) -> None:
    import flask
    from redis import Redis

    from decant.bridge import wait

    app = flask.Flask("test_app")
    app.config.update(SQLALCHEMY_DATABASE_URI=ledger_url, REDIS_URL=redis_url, REDIS_DEADLINE_S=10)
    db.init_app(app)
    runtime = Runtime(app, Conf().for_app(app))
    face = app.extensions["sqlalchemy"]
    joined, dropped, alone = make_job(), make_job(), make_job()
    with app.app_context():
        face.create_all()
        face.session.add(models.User(name="a"))
        wait(runtime.submit([joined]))
        assert not wait(runtime.records([joined.id]))
        face.session.commit()
        face.session.add(models.User(name="b"))
        wait(runtime.submit([dropped]))
        face.session.rollback()
        face.session.execute(sa.select(models.User))
        wait(runtime.submit([alone]))
        assert set(wait(runtime.records([joined.id, dropped.id, alone.id]))) == {joined.id, alone.id}
        face.session.rollback()
        face.dispose()
    with Redis.from_url(redis_url) as redis:
        assert set(redis.zrange("decant:queue:default", 0, -1)) == {str(job.id).encode() for job in (joined, alone)}
    wait(runtime.aclose())


async def test_gathered_calls_join_the_session_of_whoever_makes_them(app: quart.Quart, db: SQLAlchemy) -> None:
    tasks = Tasks(set_as_current=False)

    @tasks.task(name="one")
    async def one() -> None: ...

    await asyncio.to_thread(tasks.init_app, app)
    async with app.app_context():
        async with db.session.begin() as transaction:
            dropped = await asyncio.gather(one.delay(), one.s().delay(), (one.si() | one.si()).apply_async())
            await transaction.rollback()
        async with db.session.begin():
            kept = await asyncio.gather(*(one.delay() for _ in range(10)), tasks.send_task("one"))
            beside = asyncio.create_task(_own(one))  # which calls it itself, in its own task
            assert await (await beside).exists()
            assert not any([await result.exists() for result in kept])
        assert all([await result.exists() for result in kept])
        assert not any([await result.exists() for result in dropped])
        late = one.delay()
        async with db.session.begin():
            pass
        assert await (await asyncio.create_task(late)).exists()
    await tasks.runtime(app).aclose()


async def _own(task: Any) -> Any:
    return await task.delay()
