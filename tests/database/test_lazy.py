"""SQLALCHEMY_LAZY_LOADS, and what is recorded and signalled."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import quart
from quart import render_template_string
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from decant.bridge import in_thread
from decant.database import (
    LazyLoadError,
    LazyLoadWarning,
    SQLAlchemy,
    before_models_committed,
    get_recorded_queries,
    lazy,
    models_committed,
)
from decant.errors import ConfigError


@pytest.fixture
def start(db: SQLAlchemy, models: SimpleNamespace, url: str, make_app: Callable[..., Any]) -> Callable[..., Any]:
    """An application context with a user who has posts, for a configuration."""

    async def start(**config: Any) -> Any:
        app = make_app(db, url, **config)
        context = app.app_context()
        await context.push()
        await db.create_all()
        db.session.add(models.User(name="ada", posts=[models.Post(title="one")]))
        await db.session.commit()
        return await models.User.query.first(), context

    return start


@pytest.fixture(autouse=True)
def nothing_warned_of() -> None:
    """Each test meets each place for the first time."""
    lazy._warned.clear()


def posts_of(user: Any) -> list[str]:
    return [post.title for post in user.posts]


LINE = inspect.getsourcelines(posts_of)[1] + 1


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_warn_names_the_relationship_the_line_and_the_remedy(
    start: Callable[..., Any], db: SQLAlchemy, in_a_thread: bool
) -> None:
    """Once per place, on the loop and in a thread."""
    user, context = await start(SQLALCHEMY_LAZY_LOADS="warn")
    with pytest.warns(LazyLoadWarning) as caught:
        titles = await in_thread(posts_of, user) if in_a_thread else posts_of(user)
    assert titles == ["one"]
    text = str(caught[0].message)
    assert "User.posts was loaded lazily" in text
    assert f"{__file__}:{LINE} (posts_of)" in text
    assert "select(User).options(selectinload(User.posts))" in text
    assert (caught[0].filename, caught[0].lineno) == (__file__, LINE)
    db.session.expire(user)
    await db.session.refresh(user)
    assert posts_of(user) == ["one"], "no second warning, which would be an error here"
    await context.pop(None)


async def test_warn_names_the_line_of_a_template(start: Callable[..., Any]) -> None:
    """Not that of the code that Jinja made of it."""
    user, context = await start(SQLALCHEMY_LAZY_LOADS="warn")
    with pytest.warns(LazyLoadWarning, match=r"User\.posts was loaded lazily at <template>:2 \(template\)"):
        await render_template_string("{{ user.name }}\n{% for post in user.posts %}{% endfor %}", user=user)
    await context.pop(None)


async def test_raise_refuses(start: Callable[..., Any], db: SQLAlchemy, models: SimpleNamespace) -> None:
    """What is loaded along is no lazy load; nor are columns that expired."""
    user, context = await start(SQLALCHEMY_LAZY_LOADS="raise")
    with pytest.raises(LazyLoadError, match=r"User\.posts would be loaded lazily"):
        posts_of(user)
    db.session.expire(user)
    assert user.name == "ada"
    db.session.expunge_all()
    user = await db.session.scalar(select(models.User).options(selectinload(models.User.posts)))
    assert posts_of(user) == ["one"]
    assert user.posts[0].author is user, "in the session already: no query"
    await context.pop(None)


async def test_allow_is_the_default_and_other_values_stop_the_start(
    start: Callable[..., Any], make_app: Callable[..., Any]
) -> None:
    """The message has the key, the value and what is allowed."""
    user, context = await start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert posts_of(user) == ["one"]
    await context.pop(None)
    with pytest.raises(ConfigError, match="SQLALCHEMY_LAZY_LOADS = 'never' is not valid: one of 'allow', 'warn'"):
        make_app(SQLAlchemy(), "sqlite://", SQLALCHEMY_LAZY_LOADS="never")


async def test_queries_are_recorded(start: Callable[..., Any], db: SQLAlchemy, models: SimpleNamespace) -> None:
    """Statement, parameters, times, and the place in the application's own code; per app context."""
    _, context = await start(SQLALCHEMY_RECORD_QUERIES=True)
    before = len(get_recorded_queries())
    await db.session.execute(select(models.User).filter_by(name="nobody"))
    query = get_recorded_queries()[before]
    assert query.statement is not None
    assert "SELECT" in query.statement
    assert query.parameters == [("nobody",)]
    assert 0 < query.duration < 60
    assert query.end_time - query.start_time == query.duration
    assert query.location == "<unknown>", "the application is called test_app, and this file is not"
    await context.pop(None)


async def test_the_place_of_a_query_is_the_applications_line(
    db: SQLAlchemy, models: SimpleNamespace, make_app: Callable[..., Any]
) -> None:
    """Found by the application's import name, as with Flask-SQLAlchemy."""

    class Named(quart.Quart):
        def __init__(self, name: str, **kwargs: Any) -> None:
            super().__init__(__name__, **kwargs)

    app = make_app(db, "sqlite://", framework=Named, SQLALCHEMY_RECORD_QUERIES=True)
    async with app.app_context():
        await db.create_all()

        def ask() -> None:
            models.User.query.plain().all()

        await in_thread(ask)
        location = get_recorded_queries()[-1].location
        assert location == f"{__file__}:{ask.__code__.co_firstlineno + 1} (ask)"
    async with app.app_context():
        assert get_recorded_queries() == []


async def test_nothing_is_recorded_unless_asked_for(start: Callable[..., Any]) -> None:
    """Nor signalled."""
    seen: list[Any] = []
    with models_committed.connected_to(lambda sender, changes: seen.append(changes)):
        _, context = await start()
    assert get_recorded_queries() == []
    assert seen == []
    await context.pop(None)


async def test_commits_are_signalled(start: Callable[..., Any], db: SQLAlchemy, models: SimpleNamespace) -> None:
    """Before and after, with what was inserted, updated and deleted; a rollback forgets."""
    user, context = await start(SQLALCHEMY_TRACK_MODIFICATIONS=True)
    seen: list[Any] = []

    def before(sender: Any, changes: Any) -> None:
        seen.append(("before", sender, sorted(operation for _, operation in changes)))

    def after(sender: Any, changes: Any) -> None:
        seen.append(("after", sender, sorted((type(model).__name__, operation) for model, operation in changes)))

    app = quart.current_app._get_current_object()  # type: ignore[attr-defined]
    with before_models_committed.connected_to(before), models_committed.connected_to(after):
        db.session.add(models.User(name="lost"))
        await db.session.flush()
        await db.session.rollback()
        await db.session.commit()
        assert seen == []
        user.name = "changed"
        db.session.add(models.Note(text="new"))
        await db.session.flush()
        await db.session.delete((await models.Post.query.all())[0])
        await db.session.commit()
    changes = [("Note", "insert"), ("Post", "delete"), ("User", "update")]
    assert seen == [("before", app, ["delete", "insert", "update"]), ("after", app, changes)]
    await context.pop(None)


async def test_the_shell_has_the_models(
    app: quart.Quart, db: SQLAlchemy, models: SimpleNamespace, make_app: Callable[..., Any]
) -> None:
    """And db; unless add_models_to_shell=False."""
    async with app.app_context():
        assert {"User": models.User, "Post": models.Post, "Note": models.Note, "db": db}.items() <= (
            await maybe(app.make_shell_context())
        ).items()
    plain = make_app(SQLAlchemy(add_models_to_shell=False), "sqlite://")
    async with plain.app_context():
        assert "db" not in await maybe(plain.make_shell_context())


async def maybe(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
