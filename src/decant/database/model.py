"""The declarative base: names tables, chooses metadata by bind key, offers ``query``."""

from __future__ import annotations

import re
from types import new_class
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm.decl_api import DeclarativeAttributeIntercept

from .query import Query

if TYPE_CHECKING:
    from .extension import SQLAlchemy

__all__ = [
    "BindMetaMixin",
    "BindMixin",
    "DefaultMeta",
    "DefaultMetaNoName",
    "Model",
    "NameMetaMixin",
    "NameMixin",
    "camel_to_snake_case",
    "make_model",
]

# Between a small letter and a capital, and before a capital that begins a word after an acronym.
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])")
_BASES = (orm.DeclarativeBase, orm.DeclarativeBaseNoMeta)


class _QueryProperty:
    def __get__(self, instance: object, cls: Any) -> Query[Any]:
        session = cls.__fsa__.session.registry().sync_session
        query: Query[Any] = cls.query_class(cls, session=session)
        return query


class Model:
    """What ``db.Model`` has over any declarative base: ``query`` and a ``repr``. Subclasses of this are given to
    ``SQLAlchemy(model_class=…)``; models subclass ``db.Model``.
    """

    if TYPE_CHECKING:
        __fsa__: ClassVar[SQLAlchemy]
        query: ClassVar[Query[Any]]

    query_class: ClassVar[type[Query[Any]]] = Query
    query = _QueryProperty()  # type: ignore[assignment]

    def __repr__(self) -> str:
        state: Any = sa.inspect(self)
        if state.transient:
            key = f"(transient {id(self)})"
        elif state.pending:
            key = f"(pending {id(self)})"
        else:
            key = ", ".join(map(str, state.identity))
        return f"<{type(self).__name__} {key}>"


def _bind(cls: Any) -> None:
    """Give a model the metadata of its ``__bind_key__``, unless it says which metadata or table it has."""
    if "metadata" in cls.__dict__ or "__table__" in cls.__dict__:
        return
    metadata = cls.__fsa__.make_metadata(getattr(cls, "__bind_key__", None))
    if metadata is not getattr(cls, "metadata", None):
        cls.metadata = metadata


def _name(cls: Any) -> None:
    """Give a model the table name that follows from its class name, if it needs one."""
    if _needs_name(cls):
        cls.__tablename__ = camel_to_snake_case(cls.__name__)


def _needs_name(cls: Any) -> bool:
    """Whether a concrete model has no name of its own: one of a mixin or an abstract base counts, a parent's does not.

    Single-table inheritance shows only later, in ``__table_cls__``, by the lack of a primary key.
    """
    if cls.__dict__.get("__abstract__", False) or any(base in _BASES for base in cls.__bases__):
        return False
    if not issubclass(cls, _BASES) and not any(isinstance(base, orm.DeclarativeMeta) for base in cls.__mro__[1:]):
        return False
    for base in cls.__mro__:
        if "__tablename__" in base.__dict__:
            if isinstance(base.__dict__["__tablename__"], orm.declared_attr):
                return False
            return base is not cls and not base.__dict__.get("__abstract__", False) and _is_declarative(base)
    return True


def _is_declarative(base: Any) -> bool:
    return isinstance(base, orm.DeclarativeMeta | DeclarativeAttributeIntercept) or issubclass(
        base, orm.DeclarativeBaseNoMeta
    )


def _table(cls: Any, *args: Any, **kwargs: Any) -> sa.Table | None:
    """The model's table; ``None`` for single-table inheritance, which has no primary key of its own."""
    name, schema = args[0], kwargs.get("schema")
    is_reflected = (name if schema is None else f"{schema}.{name}") in cls.metadata.tables
    has_key = any(
        isinstance(arg, sa.PrimaryKeyConstraint) or (isinstance(arg, sa.Column) and arg.primary_key) for arg in args
    )
    has_parent = any("__table__" in base.__dict__ for base in cls.__mro__[1:-1])
    if is_reflected or has_key or not has_parent:  # without a parent, SQLAlchemy says what is missing
        return sa.Table(*args, **kwargs)
    if "__tablename__" in cls.__dict__:
        del cls.__tablename__
    return None


def _drop_missing_table(cls: Any) -> None:
    if "__tablename__" not in cls.__dict__ and cls.__dict__.get("__table__", cls) is None:
        del cls.__table__


class BindMetaMixin(type):
    """A metaclass that chooses a model's metadata by its ``__bind_key__``."""

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> None:
        _bind(cls)
        super().__init__(name, bases, namespace, **kwargs)


class NameMetaMixin(type):
    """A metaclass that names a model's table after its class."""

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> None:
        _name(cls)
        super().__init__(name, bases, namespace, **kwargs)
        _drop_missing_table(cls)

    def __table_cls__(cls, *args: Any, **kwargs: Any) -> sa.Table | None:
        return _table(cls, *args, **kwargs)


class BindMixin:
    """What :class:`BindMetaMixin` does, for bases without a metaclass of ours."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if hasattr(cls, "__bind_key__"):
            _bind(cls)
        super().__init_subclass__(**kwargs)


class NameMixin:
    """What :class:`NameMetaMixin` does, for bases without a metaclass of ours."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        _name(cls)
        super().__init_subclass__(**kwargs)
        _drop_missing_table(cls)

    @classmethod
    def __table_cls__(cls, *args: Any, **kwargs: Any) -> sa.Table | None:
        return _table(cls, *args, **kwargs)


class DefaultMeta(BindMetaMixin, NameMetaMixin, orm.DeclarativeMeta):
    """The metaclass of ``db.Model`` where ``model_class`` is no declarative base."""


class DefaultMetaNoName(BindMetaMixin, orm.DeclarativeMeta):
    """The same with ``disable_autonaming``."""


def camel_to_snake_case(name: str) -> str:
    """
    >>> camel_to_snake_case("HTTPRequestLog")
    'http_request_log'
    """
    return _WORD_STARTS.sub("_", name).lower().lstrip("_")


def declarative_bases(model_class: type[Any]) -> list[type[Any]]:
    """The bases of a ``model_class`` that are declarative as of SQLAlchemy 2."""
    return [base for base in model_class.__bases__ if issubclass(base, _BASES)]


def make_model(db: SQLAlchemy, model_class: type[Any], disable_autonaming: bool) -> type[Any]:
    """``db.Model``, from any of the kinds of base that Flask-SQLAlchemy takes.

    :raises ValueError: if ``model_class`` has more than one declarative base.
    """
    bases = declarative_bases(model_class)
    if len(bases) > 1:
        raise ValueError(f"Only one declarative base can be passed to SQLAlchemy. Got: {model_class.__bases__}")
    model: Any
    if bases:
        mixins = (BindMixin, Model) if disable_autonaming else (BindMixin, NameMixin, Model)
        # A subclass, not a copy as in Flask-SQLAlchemy: a copy of a dataclass would be made one twice.
        model = new_class("Model", (*mixins, model_class), {}, lambda body: body.update(__abstract__=True, __fsa__=db))
    elif isinstance(model_class, orm.DeclarativeMeta):
        model = model_class
    else:
        metaclass = DefaultMetaNoName if disable_autonaming else DefaultMeta
        model = orm.declarative_base(
            metadata=db.make_metadata(None), cls=model_class, name="Model", metaclass=metaclass
        )
    if None in db.metadatas:
        model.metadata = db.metadatas[None]
    else:
        model.metadata.info["bind_key"] = None
        db.metadatas[None] = model.metadata
    model.query_class, model.query, model.__fsa__ = db.Query, _QueryProperty(), db
    return model  # type: ignore[no-any-return]
