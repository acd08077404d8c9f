"""What Flask-SQLAlchemy promises, awaited: the same on PostgreSQL and on SQLite."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import quart
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, LegacyAPIWarning, MultipleResultsFound, NoResultFound
from sqlalchemy.orm import selectinload
from werkzeug.exceptions import NotFound

from decant.database import Pagination, Query, SQLAlchemy

pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
async def people(context: None, db: SQLAlchemy, models: SimpleNamespace) -> list[str]:
    """ada, bob and cid, ada with two posts and a note."""
    ada = models.User(name="ada", posts=[models.Post(title="one"), models.Post(title="two")])
    db.session.add_all([ada, models.User(name="bob"), models.User(name="cid")])
    ada.notes.append(models.Note(text="remember"))
    await db.session.commit()
    return ["ada", "bob", "cid"]


async def test_what_is_added_and_committed_is_found(db: SQLAlchemy, models: SimpleNamespace, people: list[str]) -> None:
    """add, commit, and each way to read."""
    everyone = select(models.User).order_by(models.User.name)
    assert [user.name for user in await db.session.scalars(everyone)] == people
    assert (await db.session.execute(everyone)).scalars().first().name == "ada"
    assert await db.session.scalar(select(func.count()).select_from(models.User)) == 3
    ada = await db.session.scalar(everyone)
    assert await db.session.get(models.User, ada.id) is ada
    assert await db.session.get_one(models.User, ada.id) is ada
    assert ada in db.session
    assert await db.session.run_sync(lambda session: session.scalar(everyone)) is ada
    assert [user.name async for user in await db.session.stream_scalars(everyone)] == people


async def test_the_session_has_sqlalchemys_methods(db: SQLAlchemy, models: SimpleNamespace, people: list[str]) -> None:
    """flush, refresh, rollback, delete, merge, begin_nested, connection, bulk inserts, close and remove."""
    User = models.User
    dan = User(name="dan")
    db.session.add(dan)
    assert dan in db.session.new
    await db.session.flush()
    assert dan.id is not None
    await db.session.rollback()
    assert await db.session.scalar(select(User).filter_by(name="dan")) is None
    ada = await db.session.scalar(select(User).filter_by(name="ada"))
    ada.name = "changed"
    assert ada in db.session.dirty
    await db.session.refresh(ada)
    assert ada.name == "ada"
    await db.session.delete(await db.session.scalar(select(User).filter_by(name="cid")))
    await db.session.merge(User(id=ada.id, name="ada!"))
    await db.session.commit()
    assert ada.name == "ada!"
    async with db.session.begin_nested() as nested:
        db.session.add(User(name="eve"))
        await nested.rollback()
    await db.session.bulk_insert_mappings(User, [{"name": "fay"}])
    await (await db.session.connection()).execute(User.__table__.insert().values(name="gus"))
    await db.session.commit()
    names = select(User.name).order_by(User.name)
    assert (await db.session.scalars(names)).all() == ["ada!", "bob", "fay", "gus"]
    first = db.session()
    assert db.session() is first
    await db.session.remove()
    assert db.session() is not first
    assert db.session.get_bind(models.User) is db.engine.sync_engine


async def test_a_violated_constraint_is_an_integrity_error(
    db: SQLAlchemy, models: SimpleNamespace, people: list[str]
) -> None:
    """It is raised by the commit; after a rollback the session goes on."""
    db.session.add(models.User(name="ada"))
    with pytest.raises(IntegrityError):
        await db.session.commit()
    await db.session.rollback()
    assert await models.User.query.count() == 3


async def test_terminal_methods_of_a_query_are_awaited(models: SimpleNamespace, people: list[str]) -> None:
    """all, first, one, one_or_none, scalar, count, update, delete, async for; the rest builds, as ever."""
    User = models.User
    assert isinstance(User.query, Query)
    ordered = User.query.order_by(User.name)
    assert [user.name for user in await ordered.all()] == people
    assert [user.name async for user in ordered] == people
    assert [user.name for user in ordered] == people, "plain iteration works in a bridge"
    assert [user.name for user in ordered[1:3]] == people[1:3]
    assert (await ordered.first()).name == "ada"
    assert (await User.query.filter_by(name="bob").one()).name == "bob"
    assert await User.query.filter_by(name="nobody").one_or_none() is None
    assert await User.query.filter(User.name != "ada").count() == 2
    assert await User.query.with_entities(func.max(User.name)).scalar() == "cid"
    with pytest.raises(NoResultFound):
        await User.query.filter_by(name="nobody").one()
    with pytest.raises(MultipleResultsFound):
        await User.query.one()
    assert await User.query.filter_by(name="cid").update({"name": "kid"}) == 1
    assert await User.query.filter_by(name="kid").delete() == 1
    assert await User.query.count() == 2


async def test_queries_are_parts_of_statements(db: SQLAlchemy, models: SimpleNamespace, people: list[str]) -> None:
    """exists, subquery, in_, union, join and options work as in SQLAlchemy."""
    User, Post = models.User, models.Post
    exists = User.query.filter_by(name="ada").exists()
    assert await db.session.query(exists).scalar() is True
    ids = User.query.filter_by(name="ada").with_entities(User.id)
    assert await db.session.scalar(select(func.count(Post.id)).where(Post.author_id.in_(ids))) == 2
    assert await User.query.join(Post).distinct().count() == 1
    assert await User.query.filter_by(name="ada").union(User.query.filter_by(name="bob")).count() == 2
    ada = await User.query.options(selectinload(User.posts)).filter_by(name="ada").first()
    assert [post.title for post in ada.posts] == ["one", "two"]


async def test_lazy_loads_work_in_a_bridge(models: SimpleNamespace, people: list[str]) -> None:
    """user.posts, post.author and dynamic relationships."""
    ada = await models.User.query.filter_by(name="ada").first()
    assert [post.title for post in ada.posts] == ["one", "two"]
    post = await models.Post.query.first()
    assert post.author is ada
    assert await ada.notes.count() == 1
    assert (await ada.notes.filter_by(text="remember").first()).owner is ada
    assert [note.text for note in await ada.notes.all()] == ["remember"]


async def test_or_404(db: SQLAlchemy, models: SimpleNamespace, people: list[str]) -> None:
    """Each way to get one, or a 404 with a description."""
    User = models.User
    ada = await db.first_or_404(select(User).filter_by(name="ada"))
    assert await db.get_or_404(User, ada.id) is ada
    assert await db.one_or_404(select(User).filter_by(name="ada")) is ada
    assert await User.query.filter_by(name="ada").first_or_404() is ada
    assert await User.query.filter_by(name="ada").one_or_404() is ada
    nobody = select(User).filter_by(name="nobody")
    for missing in (
        db.get_or_404(User, -1, description="who?"),
        db.first_or_404(nobody, description="who?"),
        db.one_or_404(nobody, description="who?"),
        db.one_or_404(select(User), description="who?"),
        User.query.filter_by(name="nobody").first_or_404("who?"),
        User.query.one_or_404(description="who?"),
    ):
        with pytest.raises(NotFound, match="who"):
            await missing


async def test_the_legacy_get_warns_as_sqlalchemys(models: SimpleNamespace, people: list[str]) -> None:
    """Query.get and get_or_404 work, and are marked as legacy by SQLAlchemy itself."""
    ada = await models.User.query.first()
    with pytest.warns(LegacyAPIWarning):
        assert await models.User.query.get(ada.id) is ada
    with pytest.warns(LegacyAPIWarning), pytest.raises(NotFound):
        await models.User.query.get_or_404(-1)


async def test_pages(db: SQLAlchemy, models: SimpleNamespace, people: list[str]) -> None:
    """Items, numbers and neighbours of a page; next and prev are awaited."""
    User = models.User
    for make in (
        lambda **options: db.paginate(select(User).order_by(User.name), **options),
        lambda **options: User.query.order_by(User.name).paginate(**options),
    ):
        page = await make(per_page=2)
        assert isinstance(page, Pagination)
        assert [user.name for user in page] == [user.name for user in page.items] == ["ada", "bob"]
        assert (page.page, page.per_page, page.total, page.pages, page.first, page.last) == (1, 2, 3, 2, 1, 2)
        assert (page.has_prev, page.prev_num, page.has_next, page.next_num) == (False, None, True, 2)
        after = await page.next()
        assert [user.name for user in after.items] == ["cid"]
        assert (after.page, after.total, after.first, after.last, after.has_next) == (2, 3, 3, 3, False)
        assert [user.name for user in (await after.prev()).items] == ["ada", "bob"]
        assert list(after.iter_pages()) == [1, 2]
        assert (await make(per_page=2, count=False)).total is None
        assert (await make(per_page=1000)).per_page == 100
        assert (await make(per_page=1000, max_per_page=None)).per_page == 1000
        for wrong in ({"page": 3, "per_page": 2}, {"page": 0}, {"per_page": -1}):
            with pytest.raises(NotFound):
                await make(**wrong)
            assert (await make(**wrong, error_out=False)).items is not None


async def test_a_page_reads_the_query_string(
    app: quart.Quart, db: SQLAlchemy, models: SimpleNamespace, people: list[str]
) -> None:
    """page and per_page; what is no number is a 404."""

    @app.get("/users")
    async def users() -> list[str]:
        return [user.name for user in await db.paginate(select(models.User).order_by(models.User.name))]

    client = app.test_client()
    assert await (await client.get("/users?page=2&per_page=2")).get_json() == ["cid"]
    assert await (await client.get("/users")).get_json() == people
    for wrong in ("page=9", "page=x", "per_page=x", "page=0", "per_page=0", "page=9" * 500):
        assert (await client.get(f"/users?{wrong}")).status_code == 404


@pytest.fixture
def other(make_app: Any, url: str) -> SimpleNamespace:
    """Another application, and its extension, on the same database."""
    db = SQLAlchemy()
    return SimpleNamespace(db=db, app=make_app(db, url))


async def test_reflect_and_drop(db: SQLAlchemy, models: SimpleNamespace, other: SimpleNamespace) -> None:
    """drop_all drops, create_all makes, reflect learns the tables that exist."""
    await db.drop_all()
    other.db.Table("gone", db.Column("id", db.Integer, primary_key=True))
    async with other.app.app_context():
        await other.db.create_all()
        other.db.metadata.clear()
        await other.db.reflect()
        assert set(other.db.metadata.tables) == {"gone"}
        await other.db.drop_all()
    await db.create_all()
    assert await models.User.query.count() == 0
