"""Models: names, bind keys, and every kind of base that Flask-SQLAlchemy takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.exc import ArgumentError, UnboundExecutionError
from sqlalchemy.orm import Mapped, mapped_column

from decant.database import Model, Query, SQLAlchemy
from decant.database.model import DefaultMeta, camel_to_snake_case


class Plain(orm.DeclarativeBase):
    type_annotation_map = {str: sa.String(77)}


class NoMeta(orm.DeclarativeBaseNoMeta):
    pass


class Dataclass(orm.MappedAsDataclass, orm.DeclarativeBase):
    pass


class DataclassNoMeta(orm.MappedAsDataclass, orm.DeclarativeBaseNoMeta):
    pass


class Own(Model):
    def hello(self) -> str:
        return f"hello {self!r}"


BASES = [Model, Own, Plain, NoMeta, Dataclass, DataclassNoMeta]


def fresh(base: type[Any]) -> type[Any]:
    """A base of its own for each test, since a declarative base collects models."""
    return base if base in (Model, Own) else type(base)(base.__name__, base.__bases__, {"__module__": __name__})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("User", "user"),
        ("UserPost", "user_post"),
        ("HTTPRequest", "http_request"),
        ("MyHTTPRequest2Log", "my_http_request2_log"),
        ("_Private", "private"),
        ("FOO", "foo"),
        ("FooBAR", "foo_bar"),
        ("A2B", "a2_b"),
        ("Snake_case", "snake_case"),
    ],
)
def test_names(name: str, expected: str) -> None:
    """Acronyms stay together."""
    assert camel_to_snake_case(name) == expected


@pytest.mark.parametrize("base", BASES)
async def test_each_base_makes_models(base: type[Any], make_app: Callable[..., Any]) -> None:
    """Named by their class, with query, a repr of their own unless they are dataclasses, stored and found."""
    db = SQLAlchemy(model_class=fresh(base))

    class BlogPost(db.Model):
        __allow_unmapped__ = True
        id: Mapped[int] = mapped_column(primary_key=True, **({"init": False} if "Dataclass" in base.__name__ else {}))
        title: Mapped[str] = mapped_column()

    assert BlogPost.__tablename__ == BlogPost.__table__.name == "blog_post"
    assert BlogPost.metadata is db.metadata
    assert db.metadata.info == {"bind_key": None}
    app = make_app(db, "sqlite://")
    async with app.app_context():
        await db.create_all()
        post = BlogPost(title="one")
        if "Dataclass" not in base.__name__:
            assert repr(post) == f"<BlogPost (transient {id(post)})>"
            db.session.add(post)
            assert repr(post) == f"<BlogPost (pending {id(post)})>"
        else:
            assert "title='one'" in repr(post)
        db.session.add(post)
        await db.session.commit()
        assert (await BlogPost.query.filter_by(title="one").one()).id == 1
        if "Dataclass" not in base.__name__:
            await db.session.refresh(post)
            assert repr(post) == "<BlogPost 1>"


def test_two_databases_of_one_base_class_stay_apart() -> None:
    """Each extension has its own mixins over the base."""
    db = SQLAlchemy(model_class=fresh(Plain))
    assert issubclass(db.Model, Model)
    assert issubclass(db.Model, orm.DeclarativeBase)
    with pytest.raises(ValueError, match="Only one declarative base"):
        SQLAlchemy(model_class=type("Both", (orm.DeclarativeBase, orm.DeclarativeBaseNoMeta), {}))


def test_a_ready_made_declarative_class_is_taken_as_it_is() -> None:
    """With a metaclass of the user's own."""
    base = orm.declarative_base(cls=Model, name="Base", metaclass=DefaultMeta)
    db = SQLAlchemy(model_class=base)
    assert db.Model is base
    assert db.metadata is base.metadata

    class Thing(db.Model):
        id = db.Column(db.Integer, primary_key=True)

    assert Thing.__tablename__ == "thing"


@pytest.mark.parametrize("base", [Model, Plain, NoMeta])
def test_names_follow_inheritance(base: type[Any]) -> None:
    """Single-table inheritance has none of its own, joined-table inheritance has; mixins and abstract bases give."""
    db = SQLAlchemy(model_class=fresh(base))

    class Duck(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        kind = db.Column(db.String)
        __mapper_args__ = {"polymorphic_on": "kind"}

    class Mallard(Duck):
        __mapper_args__ = {"polymorphic_identity": "mallard"}

    class Donald(Duck):
        id = db.Column(db.ForeignKey(Duck.id), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "donald"}

    assert Mallard.__table__ is Duck.__table__
    assert "__tablename__" not in vars(Mallard)
    assert Donald.__tablename__ == "donald"

    class Named:
        __tablename__ = "named"

    class Abstract(db.Model):
        __abstract__ = True
        __tablename__ = "abstract_name"

    class Computed:
        @orm.declared_attr.directive
        def __tablename__(cls) -> str:
            return f"the_{cls.__name__.lower()}"

    class ByMixin(Named, db.Model):
        id = db.Column(db.Integer, primary_key=True)

    class ByAbstract(Abstract):
        id = db.Column(db.Integer, primary_key=True)

    class ByFunction(Computed, db.Model):
        id = db.Column(db.Integer, primary_key=True)

    class ByTable(db.Model):
        __table__ = db.Table("by_hand", sa.Column("id", sa.Integer, primary_key=True))

    class WithSchema(db.Model):
        __table_args__ = {"schema": "other"}
        id = db.Column(db.Integer, primary_key=True)

    names = [model.__table__.name for model in (ByMixin, ByAbstract, ByFunction, ByTable)]
    assert names == ["named", "abstract_name", "the_byfunction", "by_hand"]
    assert WithSchema.__table__.fullname == "other.with_schema"
    with pytest.raises(ArgumentError, match="primary key"):
        type("NoKey", (db.Model,), {"name": db.Column(db.String)})


@pytest.mark.parametrize("base", [Model, Plain])
def test_autonaming_can_be_left_out(base: type[Any]) -> None:
    """disable_autonaming=True: SQLAlchemy asks for a name."""
    db = SQLAlchemy(model_class=fresh(base), disable_autonaming=True)
    with pytest.raises(sa.exc.InvalidRequestError, match="__tablename__"):
        type("User", (db.Model,), {"id": db.Column(db.Integer, primary_key=True)})


def test_metadata_is_given_or_the_bases_own() -> None:
    """metadata= sets the default metadata, except beside a declarative base, which has its own."""
    metadata = sa.MetaData(naming_convention={"pk": "spam"})
    db = SQLAlchemy(metadata=metadata)
    assert db.metadata is db.Model.metadata is metadata
    assert db.make_metadata("other").naming_convention == metadata.naming_convention
    with pytest.warns(DeprecationWarning, match="attribute of the base"):
        db = SQLAlchemy(metadata=metadata, model_class=fresh(Plain))
    assert db.metadata is not metadata


@pytest.mark.parametrize("base", [Model, Plain, NoMeta, Dataclass])
async def test_binds(base: type[Any], make_app: Callable[..., Any], tmp_path: Path) -> None:
    """A model, its children and a table live in the database of their bind key."""
    db = SQLAlchemy(model_class=fresh(base))

    class Here(db.Model):
        id: Mapped[int] = mapped_column(primary_key=True)

    class There(db.Model):
        __bind_key__ = "there"
        id: Mapped[int] = mapped_column(primary_key=True)

    class AlsoThere(There):
        id: Mapped[int] = mapped_column(sa.ForeignKey(There.id), primary_key=True)

    table = db.Table("loose", sa.Column("id", sa.Integer), bind_key="there")
    assert There.metadata is AlsoThere.metadata is table.metadata is db.metadatas["there"]
    assert Here.metadata is db.metadata
    binds = {"there": {"url": f"sqlite:///{tmp_path / 'there.db'}", "echo": False}}
    app = make_app(db, "sqlite://", SQLALCHEMY_BINDS=binds)
    async with app.app_context():
        await db.create_all()
        assert repr(db) == "<SQLAlchemy sqlite+aiosqlite:// +1>"
        there, session = db.engines["there"].sync_engine, db.session
        assert session.get_bind(Here) is db.engine.sync_engine
        assert session.get_bind(There) is session.get_bind(AlsoThere) is there
        assert session.get_bind(clause=table) is session.get_bind(clause=sa.insert(table)) is there
        session.add_all([Here(id=1), There(id=2), AlsoThere(id=3)])
        await session.commit()
        assert await session.scalar(sa.select(There.id).order_by(There.id)) == 2
        for key, names in ((None, {"here"}), ("there", {"there", "also_there", "loose"})):
            async with db.engines[key].connect() as connection:
                assert set(await connection.run_sync(lambda c: sa.inspect(c).get_table_names())) == names
        await session.remove()
        await db.drop_all("there")
        await db.create_all(["there", None])
        db.make_metadata("nowhere")
        with pytest.raises(UnboundExecutionError, match="Bind key 'nowhere' is not in 'SQLALCHEMY_BINDS' config"):
            await db.create_all()
        await db.dispose()


async def test_without_a_default_database_only_binds_work(make_app: Callable[..., Any]) -> None:
    """The message names SQLALCHEMY_DATABASE_URI."""
    db = SQLAlchemy()
    app = make_app(db, None, SQLALCHEMY_BINDS={"a": "sqlite://"})
    async with app.app_context():
        await db.create_all("a")
        with pytest.raises(UnboundExecutionError, match="'SQLALCHEMY_DATABASE_URI' config is not set"):
            await db.create_all(None)
        assert repr(db) == "<SQLAlchemy>"


def test_every_name_of_sqlalchemy_is_an_attribute() -> None:
    """sqlalchemy's, sqlalchemy.orm's, and event; nothing else."""
    db = SQLAlchemy()
    assert db.Integer is sa.Integer
    assert db.select is sa.select
    assert db.Mapped is orm.Mapped
    assert db.joinedload is orm.joinedload
    assert db.event is sa.event
    assert db.DateTime is sa.DateTime
    for name in ("_private", "nonsense"):
        with pytest.raises(AttributeError, match=name):
            getattr(db, name)


def test_relationships_use_the_query_class() -> None:
    """relationship, relation, dynamic_loader and backrefs."""

    class Found(Query[Any]):
        pass

    db = SQLAlchemy(query_class=Found)

    class Parent(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        children = db.relationship("Child", lazy="dynamic", backref="parent")
        others = db.dynamic_loader("Child", viewonly=True)

    class Child(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        parent_id = db.Column(db.ForeignKey(Parent.id))

    assert db.Query is Parent.query_class is Found
    parent = Parent()
    assert isinstance(parent.children, Found)
    assert isinstance(parent.others, Found)
    assert sa.inspect(Child).relationships["parent"].query_class is Found
