"""Flask applications: the same class through its face, in plain threads, with code as for Flask-SQLAlchemy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from sqlalchemy import Engine, event, func, inspect, select
from sqlalchemy.exc import LegacyAPIWarning
from sqlalchemy.orm import scoped_session

from decant.bridge import bridged
from decant.database import Query, Session, SQLAlchemy, get_recorded_queries
from decant.database.pagination import PlainPagination
from decant.faces import face

Flask_SQLAlchemy = face(SQLAlchemy)


class PostQuery(Query[Any]):
    def titled(self, title: str) -> Any:
        return self.filter_by(title=title).first()  # type: ignore[attr-defined]


@pytest.fixture
def db() -> Any:
    return Flask_SQLAlchemy(query_class=PostQuery)


@pytest.fixture
def app(db: Any, models: SimpleNamespace, url: str, make_app: Callable[..., Any]) -> flask.Flask:
    """A blog, as one would have it with Flask-SQLAlchemy."""
    User, Post = models.User, models.Post
    app: flask.Flask = make_app(db, url, framework=flask.Flask, SQLALCHEMY_RECORD_QUERIES=True)

    @app.post("/users/<name>")
    def add(name: str) -> dict[str, Any]:
        user = User(name=name)
        user.posts.append(Post(title="hello"))
        db.session.add(user)
        db.session.commit()
        return {"id": user.id}

    @app.get("/users/<int:number>")
    def show(number: int) -> dict[str, Any]:
        user = db.get_or_404(User, number)
        with db.session.no_autoflush:
            return {"name": user.name, "posts": [post.title for post in user.posts]}

    @app.get("/users")
    def index() -> list[str]:
        page = User.query.order_by(User.name).paginate(per_page=2)
        return [user.name for user in page] + ([] if not page.has_next else [user.name for user in page.next().items])

    @app.get("/page")
    def page() -> str:
        users = db.paginate(select(User).order_by(User.id), per_page=1)
        template = "{% for u in users %}{{ u.name }}: {{ u.posts[0].title }}, {{ u.notes.count() }}{% endfor %}"
        return flask.render_template_string(template, users=users) + f" of {users.total}, then {users.next().page}"

    @app.get("/uncommitted/<name>")
    def uncommitted(name: str) -> str:
        db.session.add(User(name=name))
        db.session.flush()
        return str(User.query.count())

    with app.app_context():
        db.create_all()
    return app


def test_a_flask_application_works_unchanged(app: flask.Flask, db: Any, models: SimpleNamespace) -> None:
    """Views without await, lazy loads in views and templates, pages, 404, sessions that end with the request."""
    client = app.test_client()
    ids = [client.post(f"/users/{name}").get_json()["id"] for name in ("ada", "bob", "cid")]
    assert client.get(f"/users/{ids[0]}").get_json() == {"name": "ada", "posts": ["hello"]}
    assert client.get("/users/99").status_code == 404
    assert client.get("/users").get_json() == ["ada", "bob", "cid"]
    assert client.get("/page").text == "ada: hello, 0 of 3, then 2"
    assert client.get("/uncommitted/dan").text == "4"
    assert client.get("/uncommitted/dan").text == "4"
    assert client.get("/users?page=x").status_code == 404


def test_sync_code_has_the_session_and_the_query(app: flask.Flask, db: Any, models: SimpleNamespace) -> None:
    """Every terminal method returns its value; a query class of the user's works as written for Flask-SQLAlchemy."""
    User, Post = models.User, models.Post
    with app.app_context():
        db.session.add_all([User(name="ada", posts=[Post(title="one"), Post(title="two")]), User(name="bob")])
        db.session.commit()
        assert db.session.execute(select(User.name).order_by(User.name)).scalars().all() == ["ada", "bob"]
        assert db.session.scalar(select(func.count()).select_from(User)) == 2
        ada = User.query.filter_by(name="ada").one()
        assert Post.query.titled("one").author is ada
        assert [user.name for user in User.query.order_by(User.name)] == ["ada", "bob"]
        assert db.session.query(User).filter(User.name == "bob").count() == 1
        assert User.query.filter_by(name="bob").first_or_404().posts == []
        with pytest.warns(LegacyAPIWarning):
            assert User.query.get(ada.id) is ada
        ids = User.query.filter_by(name="ada").with_entities(User.id)
        assert db.session.scalar(select(func.count(Post.id)).where(Post.author_id.in_(ids))) == 2
        with db.session.begin_nested():
            db.session.delete(User.query.filter_by(name="bob").one())
        db.session.commit()
        ada.name = "changed"
        db.session.rollback()
        assert ada.name == "ada", "expired by the rollback, loaded again"
        assert [("ada",)] in [query.parameters for query in get_recorded_queries()]
        assert ada.notes.all() == []
        with db.engine.connect() as connection:
            assert connection.execute(db.text("SELECT 1")).scalar() == 1
        with db.engine.begin() as connection:
            connection.run_sync(db.metadata.create_all)
            assert "user" in connection.run_sync(lambda plain: db.inspect(plain).get_table_names())
        assert flask.current_app.extensions["sqlalchemy"].session.scalar(select(User.name)) == "ada"
    with app.app_context():
        db.drop_all()


def test_many_threads_at_once(app: flask.Flask, models: SimpleNamespace, url: str) -> None:
    """Each plain thread has its loop, its connections and its session."""
    names = [f"user{number}" for number in range(40)]

    def visit(name: str) -> str:
        client = app.test_client()
        response = client.post(f"/users/{name}")
        assert response.status_code == 200, response.text
        number = response.get_json()["id"]
        return str(client.get(f"/users/{number}").get_json()["name"])

    with ThreadPoolExecutor(2 if url.startswith("sqlite") else 8) as threads:
        assert list(threads.map(visit, names)) == names


def test_an_in_memory_database_is_one_for_all_threads(
    make_app: Callable[..., Any], db: Any, models: SimpleNamespace
) -> None:
    """As with Flask-SQLAlchemy's StaticPool."""
    app = make_app(db, "sqlite://", framework=flask.Flask)

    def count() -> int:
        with app.app_context():
            return int(models.User.query.count())

    with app.app_context():
        db.create_all()
        db.session.add(models.User(name="ada"))
        db.session.commit()
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(count).result() == count() == 1


def test_the_shell_and_the_commands_are_there(app: flask.Flask, db: Any, models: SimpleNamespace) -> None:
    """flask shell has the models; flask db is a command."""
    with app.app_context():
        context = app.make_shell_context()
        assert context["User"] is models.User
        assert context["db"].session.scalar(select(func.count()).select_from(models.User)) == 0
    assert "upgrade" in app.cli.commands["db"].commands  # type: ignore[attr-defined]


@pytest.fixture(params=["in a thread of its own", "in a bridge"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], None]], None]:
    """Runs a function of a Flask application: under WSGI as ever, or under the shim."""

    async def call(function: Callable[[], None]) -> None:
        function()

    if request.param == "in a bridge":
        return lambda function: asyncio.run(bridged(call(function)))
    return lambda function: function()


def test_the_engine_is_sqlalchemys_own(app: flask.Flask, db: Any, url: str, run: Any) -> None:
    """For whatever takes an Engine: inspect, create_all, listeners, execution options, transactions, savepoints."""
    opened: list[Any] = []

    def work() -> None:
        with app.app_context():
            engine = db.engine
            assert isinstance(engine, Engine)
            assert engine is db.engines[None] is db.engine
            assert engine is db.session.get_bind() is db.session().get_bind()

            @event.listens_for(engine, "connect")
            def connected(connection: Any, record: Any) -> None:
                cursor = connection.cursor()
                cursor.execute("SELECT 1")
                opened.append(cursor.fetchone())
                cursor.close()

            engine.dispose()
            table = db.Table("things", db.Column("id", db.Integer, primary_key=True))
            db.metadata.create_all(engine)
            assert inspect(engine).has_table("things")
            with engine.begin() as connection:
                connection.execute(table.insert(), [{"id": 1}, {"id": 2}])
                with connection.begin_nested() as savepoint:
                    connection.execute(table.delete())
                    savepoint.rollback()
            with engine.connect() as connection:
                assert connection.scalar(select(func.count()).select_from(table)) == 2
                connection.execute(table.delete())
                connection.rollback()
                assert [*connection.execute(select(table.c.id).order_by(table.c.id)).scalars()] == [1, 2]
            with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                connection.execute(table.delete().where(table.c.id == 1))
            with engine.connect() as connection:
                assert connection.scalar(select(func.count()).select_from(table)) == 1
            table.drop(engine)
            engine.dispose()

    run(work)
    assert opened
    assert set(opened) == {(1,)}


def test_the_engine_shows_the_url_of_the_configuration(
    make_app: Callable[..., Any], db: Any, tmp_path: Path, run: Any
) -> None:
    """Which driver answers it, `engine.driver` tells."""
    app = make_app(db, "postgres://user:secret@localhost/name", flask.Flask, SQLALCHEMY_BINDS={"a": "sqlite://"})

    def work() -> None:
        with app.app_context():
            assert db.engine.url.render_as_string() == "postgresql://user:***@localhost/name"
            assert (db.engine.driver, db.engine.name) == ("asyncpg", "postgresql")
            assert str(db.engines["a"].url) == "sqlite://"

    run(work)


def test_db_session_called_is_a_session(
    app: flask.Flask, db: Any, models: SimpleNamespace, run: Callable[[Callable[[], None]], None]
) -> None:
    """SQLAlchemy's synchronous one, the same in one context; its transactions are context managers."""

    def work() -> None:
        with app.app_context():
            session = db.session()
            assert session is db.session() is db.session().sync_session
            assert isinstance(session, Session)
            with session.begin():
                session.add(models.User(name="ada"))
                with session.begin_nested() as savepoint:
                    session.add(models.User(name="bob"))
                    savepoint.rollback()
            assert session.scalars(select(models.User.name)).all() == ["ada"]
            assert isinstance(db.session.query(models.User), Query)
            session.execute(models.User.__table__.delete())
            session.commit()
        with app.app_context():
            assert db.session() is not session

    run(work)


def test_listeners_of_the_session(app: flask.Flask, db: Any, models: SimpleNamespace, run: Any) -> None:
    """As tutorials have it: event.listen(db.session, "before_commit", …) at the top of a module."""
    heard: list[Any] = []

    @event.listens_for(db.session, "before_commit")
    def before(session: Any) -> None:
        heard.extend(session.new)

    db.event.listen(db.session, "after_commit", lambda session: heard.append(session))
    assert isinstance(db.session, scoped_session)

    def work() -> None:
        with app.app_context():
            user = models.User(name="ada")
            db.session.add(user)
            db.session.commit()
            assert heard == [user, db.session()]
            with db.session.session_factory() as other:  # beside the context's
                assert isinstance(other, db.session_class)
                assert other.get(models.User, user.id).name == "ada"
                assert other is not db.session()
            db.session.delete(user)
            db.session.commit()

    run(work)


def test_pages_of_an_applications_own_query_when_they_are_made(
    app: flask.Flask, db: Any, models: SimpleNamespace
) -> None:
    """A subclass of Flask-SQLAlchemy's Pagination is made by calling it, without an application, too."""

    class Numbers(PlainPagination):
        def _query_items(self) -> list[Any]:
            return list(range(25))[self._query_offset : self._query_offset + self.per_page]

        def _query_count(self) -> int:
            return 25

    page = Numbers(page=2, per_page=10)
    assert page.items == [*range(10, 20)]
    assert (page.total, page.pages, page.has_next, page.first, page.last) == (25, 3, True, 11, 20)
    assert page.next().items == [20, 21, 22, 23, 24]
    assert [*page.prev()] == [*range(10)]
    with app.app_context():
        assert isinstance(models.User.query.paginate(), PlainPagination)
        assert isinstance(db.paginate(select(models.User)), PlainPagination)


def test_the_extension_is_the_one_that_was_made(make_app: Callable[..., Any]) -> None:
    """`app.extensions` has it, and so has the shell."""
    app = flask.Flask("test_app")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = Flask_SQLAlchemy(app)
    assert app.extensions["sqlalchemy"] is db
    with app.app_context():
        assert app.make_shell_context()["db"] is db
