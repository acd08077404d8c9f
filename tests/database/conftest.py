"""Databases of both kinds, and an application with a few models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import quart
from blockbuster import BlockBuster

from decant.database import SQLAlchemy


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, as a Flask application would have it: PostgreSQL's, then SQLite's."""
    if request.param == "postgresql":
        return request.getfixturevalue("database_url")
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def db() -> SQLAlchemy:
    return SQLAlchemy()


@pytest.fixture
def models(db: SQLAlchemy) -> SimpleNamespace:
    """Users have posts."""

    class User(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String, unique=True)
        posts = db.relationship("Post", back_populates="author", order_by="Post.id")
        notes = db.relationship("Note", lazy="dynamic", backref="owner")

    class Post(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        title = db.Column(db.String, nullable=False)
        author_id = db.Column(db.ForeignKey("user.id"))
        author = db.relationship(User, back_populates="posts")

    class Note(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String)
        owner_id = db.Column(db.ForeignKey("user.id"))

    return SimpleNamespace(User=User, Post=Post, Note=Note)


@pytest.fixture
def make_app(tmp_path: Path, no_blocking: BlockBuster) -> Callable[..., Any]:
    """Makes an application with a database. That may block, as it does before a server's loop runs."""

    def make(db: Any, url: str | None = None, framework: Any = quart.Quart, **config: Any) -> Any:
        no_blocking.deactivate()
        try:
            app = framework("test_app", instance_path=str(tmp_path / "instance"))
            app.config.update(SQLALCHEMY_DATABASE_URI=url, **config)
            db.init_app(app)
        finally:
            no_blocking.activate()
        return app

    return make


@pytest.fixture
def app(db: SQLAlchemy, models: SimpleNamespace, url: str, make_app: Callable[..., Any]) -> quart.Quart:
    """An application with the models, whose tables do not exist yet."""
    return make_app(db, url)


@pytest.fixture
async def context(app: quart.Quart, db: SQLAlchemy) -> AsyncIterator[None]:
    """An app context around the test, and the tables."""
    async with app.app_context():
        await db.create_all()
        yield
