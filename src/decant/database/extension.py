"""``SQLAlchemy``: Flask-SQLAlchemy's extension, awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event, exc, orm
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from ..context import current_app, has_app, on_quart
from ..faces import faced, io_method
from ..warn import warn
from . import record_queries
from .anywhere import adapt, pool_class
from .app_setup import set_up
from .engines import Engines, engine_options, make_engine
from .flavor import abort, in_flask, value_or_awaitable
from .model import Model, declarative_bases, make_model
from .pagination import Pagination, paginated
from .query import Query
from .scope import ScopedSession
from .session import AsyncSession, Session
from .table import make_table_class

__all__ = ["SQLAlchemy"]

T = TypeVar("T")
BindKeys = str | None | Sequence[str | None]


class SQLAlchemy:
    """A database for Quart applications, with Flask-SQLAlchemy 3.1's interface: what talks to the database is awaited.

    Differences: ``engine`` and ``engines`` are ``AsyncEngine``, made per event loop; ``max_per_page`` is 100 where
    Flask-SQLAlchemy documents that, but sets no limit; child tasks have sessions of their own.

    :param app: initialised at once, if given.
    :param metadata: of ``db.Model``; ignored, with a warning, where ``model_class`` is a declarative base.
    :param session_options: arguments of :class:`sqlalchemy.orm.Session`; besides, ``class_``, a subclass of
        :class:`decant.database.Session`, and ``scopefunc``.
    :param query_class: of ``Model.query``, ``db.session.query`` and dynamic relationships.
    :param model_class: a subclass of :class:`decant.database.Model`, a declarative base, or a class that has one of
        ``DeclarativeBase`` and ``DeclarativeBaseNoMeta`` as a base, with ``MappedAsDataclass`` or without.
    :param engine_options: defaults of ``SQLALCHEMY_ENGINE_OPTIONS`` and of each bind.
    :param add_models_to_shell: whether a shell has ``db`` and the models.
    :param disable_autonaming: leaves it to the models to name their tables.
    :raises ValueError: if ``model_class`` has several declarative bases.
    """

    def __init__(
        self,
        app: Any = None,
        *,
        metadata: sa.MetaData | None = None,
        session_options: Mapping[str, Any] | None = None,
        query_class: type[Query[Any]] = Query,
        model_class: type[Any] = Model,
        engine_options: Mapping[str, Any] | None = None,
        add_models_to_shell: bool = True,
        disable_autonaming: bool = False,
    ) -> None:
        self.Query = query_class
        self.session_class, self.session = self._make_session(dict(session_options or {}))
        self.metadatas: dict[str | None, sa.MetaData] = {}
        if metadata is not None:
            self._set_metadata(metadata, model_class)
        self.Table = make_table_class(self)
        self.Model: Any = make_model(self, model_class, disable_autonaming)
        self.add_models_to_shell = add_models_to_shell
        self._engine_options = dict(engine_options or {})
        self._engines: WeakKeyDictionary[Any, Engines] = WeakKeyDictionary()
        if app is not None:
            self.init_app(app)

    def _make_session(self, options: dict[str, Any]) -> tuple[type[Session], ScopedSession]:
        scopefunc, base = options.pop("scopefunc", None), options.pop("class_", Session)
        options.setdefault("query_cls", self.Query)
        kind: type[Session] = type(base.__name__, (base,), {"__module__": base.__module__})  # for this db's listeners
        factory = async_sessionmaker(class_=AsyncSession, sync_session_class=kind, db=self, **options)
        return kind, ScopedSession(factory, scopefunc)

    def _set_metadata(self, metadata: sa.MetaData, model_class: type[Any]) -> None:
        if declarative_bases(model_class):
            warn(
                "With a declarative base of SQLAlchemy 2 as model_class, the metadata should be an attribute of the"
                " base. The metadata passed to SQLAlchemy() is ignored.",
                DeprecationWarning,
            )
            return
        metadata.info["bind_key"] = None
        self.metadatas[None] = metadata

    def __repr__(self) -> str:
        if not has_app() or current_app() not in self._engines:
            return f"<{type(self).__name__}>"
        options = self._engines[current_app()].options
        name = f"{type(self).__name__} {options[None]['url']}" if None in options else type(self).__name__
        return f"<{name} +{len(options) - 1}>" if len(options) > 1 else f"<{name}>"

    def init_app(self, app: Any) -> None:
        """Set up a Quart or Flask application from its configuration, which must be complete by now.

        Keys: ``SQLALCHEMY_DATABASE_URI``, ``SQLALCHEMY_ENGINE_OPTIONS``, ``SQLALCHEMY_BINDS``, ``SQLALCHEMY_ECHO``,
        ``SQLALCHEMY_RECORD_QUERIES``, ``SQLALCHEMY_TRACK_MODIFICATIONS``; and ours: ``SQLALCHEMY_LAZY_LOADS``
        (``"allow"``, ``"warn"``, ``"raise"``), ``SQLALCHEMY_PGBOUNCER``.

        :raises RuntimeError: if the application has a database already, or no URL is configured.
        :raises ConfigError: if a value is wrong.
        :raises MissingExtra: if the driver of a URL is not installed.
        """
        is_quart = on_quart(app)
        if "sqlalchemy" in app.extensions:
            raise RuntimeError(
                "A 'SQLAlchemy' instance has already been registered on this app. Import and use that instance instead."
            )
        drivernames: dict[str | None, str] = {}
        options = engine_options(
            app.config, self._engine_options, Path(app.instance_path), drivernames, unmodified=not is_quart
        )
        for key in options:
            self.make_metadata(key)
        records = bool(app.config.get("SQLALCHEMY_RECORD_QUERIES", False))
        make = self.make_engine if is_quart else self._maker_for_flask(drivernames)
        self._engines[app] = Engines(options, make, record_queries.listen if records else None)
        set_up(self, app)
        app.extensions["sqlalchemy"] = self if is_quart else faced(self)

    def options_of(self, app: Any) -> Mapping[str | None, Mapping[str, Any]]:
        """What the engines of an application are made of, by bind key."""
        return self._engines[app].options

    def share_engines(self, app: Any, other: SQLAlchemy, other_app: Any) -> bool:
        """Let ``app`` use the engines of ``other_app``, which was given to ``other``: one pool for both.

        :return: whether they are made of the same options; if not, nothing is changed.
        """
        engines = other._engines[other_app]
        if type(self).make_engine is not type(other).make_engine or not engines.is_like(self._engines[app]):
            return False
        self._engines[app] = engines
        return True

    def make_engine(self, bind_key: str | None, options: dict[str, Any]) -> AsyncEngine:
        """Make one engine; override it for engines that options do not describe."""
        return make_engine(options)

    def _maker_for_flask(self, drivernames: Mapping[str | None, str]) -> Callable[..., AsyncEngine]:
        def make(bind_key: str | None, options: dict[str, Any]) -> AsyncEngine:
            pool = options.get("poolclass")
            engine = self.make_engine(bind_key, options if pool is None else {**options, "poolclass": pool_class(pool)})
            adapt(engine.sync_engine, drivernames[bind_key])
            return engine

        return make

    def make_metadata(self, bind_key: str | None) -> sa.MetaData:
        """The metadata of a bind key, made with the default one's naming convention."""
        if bind_key not in self.metadatas:
            convention = None if bind_key is None else self.make_metadata(None).naming_convention
            self.metadatas[bind_key] = sa.MetaData(naming_convention=convention, info={"bind_key": bind_key})
        return self.metadatas[bind_key]

    @property
    def metadata(self) -> sa.MetaData:
        """The default metadata."""
        return self.metadatas[None]

    def engines_here(self) -> Mapping[str | None, AsyncEngine]:
        """The current application's engines on this event loop, by bind key.

        :raises RuntimeError: without an app context, or if the application was not given to ``init_app``.
        """
        app = current_app()
        if app not in self._engines:
            raise RuntimeError(
                "The current app is not registered with this 'SQLAlchemy' instance. Did you forget to call 'init_app',"
                " or did you create multiple 'SQLAlchemy' instances?"
            )
        return self._engines[app].here()

    @property
    def engines(self) -> Mapping[str | None, AsyncEngine]:
        """As :meth:`engines_here`; in a Flask context SQLAlchemy's plain engines, for ``inspect(db.engine)`` and
        ``with db.engine.connect() as connection``: they work in plain threads, too. Their ``url`` is as configured.
        """
        engines = self.engines_here()
        plain: Any = {key: engine.sync_engine for key, engine in engines.items()} if in_flask() else engines
        return plain  # type: ignore[no-any-return]

    @property
    def engine(self) -> AsyncEngine:
        """The default engine."""
        return self.engines[None]

    def get_engine(self, bind_key: str | None = None, **kwargs: Any) -> AsyncEngine:
        """``engines[bind_key]``; deprecated, as in Flask-SQLAlchemy."""
        warn("'get_engine' is deprecated: use 'engine' or 'engines[key]'", DeprecationWarning)
        return self.engines[kwargs.get("bind", bind_key)]

    @io_method
    async def dispose(self) -> None:
        """Close the idle connections of the current application on this event loop."""
        await self._engines[current_app()].dispose()

    @io_method
    async def get_or_404(self, entity: type[T], ident: Any, *, description: str | None = None, **kwargs: Any) -> T:
        """``session.get(entity, ident, **kwargs)``, but 404 instead of ``None``."""
        found = await self.session.get(entity, ident, **kwargs)
        return abort(404, description) if found is None else found

    @io_method
    async def first_or_404(self, statement: sa.Select[Any], *, description: str | None = None) -> Any:
        """The first column of the first row, but 404 if there is none."""
        found = (await self.session.execute(statement)).scalar()
        return abort(404, description) if found is None else found

    @io_method
    async def one_or_404(self, statement: sa.Select[Any], *, description: str | None = None) -> Any:
        """The first column of the only row, but 404 if there is none or more than one."""
        try:
            return (await self.session.execute(statement)).scalar_one()
        except (exc.NoResultFound, exc.MultipleResultsFound):
            abort(404, description)

    @io_method
    def paginate(
        self,
        select: sa.Select[Any],
        *,
        page: int | None = None,
        per_page: int | None = None,
        max_per_page: int | None = 100,
        error_out: bool = True,
        count: bool = True,
    ) -> Awaitable[Pagination]:
        """One page of what a ``select(Model)`` finds.

        :param page: from 1; by default the query string's ``page``, or 1.
        :param per_page: by default the query string's ``per_page``, or 20.
        :param max_per_page: the most that ``per_page`` may be, ``None`` for no limit.
        :param error_out: answer 404 if ``page`` or ``per_page`` is no number from 1, or a later page is empty.
        :param count: count all items, with one more query.
        """
        arguments = {
            "select": select,
            "session": self.session.registry().sync_session,
            "page": page,
            "per_page": per_page,
            "max_per_page": max_per_page,
            "error_out": error_out,
            "count": count,
        }
        awaited: Awaitable[Pagination] = value_or_awaitable(paginated(True, arguments), always_await=True)
        return awaited

    async def _for_binds(self, bind_key: BindKeys, work: Callable[[sa.MetaData], Callable[..., None]]) -> None:
        keys = list(self.metadatas) if bind_key == "__all__" else bind_key
        for key in [keys] if keys is None or isinstance(keys, str) else keys:
            if key not in self.engines_here():
                message = f"Bind key '{key}' is not in 'SQLALCHEMY_BINDS' config."
                if key is None:
                    message = f"'SQLALCHEMY_DATABASE_URI' config is not set. {message}"
                raise exc.UnboundExecutionError(message)
            async with self.engines_here()[key].begin() as connection:
                await connection.run_sync(work(self.metadatas[key]))

    @io_method
    async def create_all(self, bind_key: BindKeys = "__all__") -> None:
        """Create the tables that are missing.

        :param bind_key: one or several; by default all.
        :raises sqlalchemy.exc.UnboundExecutionError: if one is not configured.
        """
        await self._for_binds(bind_key, lambda metadata: metadata.create_all)

    @io_method
    async def drop_all(self, bind_key: BindKeys = "__all__") -> None:
        """Drop the tables. Parameters and errors as ``create_all``."""
        await self._for_binds(bind_key, lambda metadata: metadata.drop_all)

    @io_method
    async def reflect(self, bind_key: BindKeys = "__all__") -> None:
        """Load the tables' definitions from the database. Parameters and errors as ``create_all``."""
        await self._for_binds(bind_key, lambda metadata: metadata.reflect)

    def _with_query_class(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        kwargs.setdefault("query_class", self.Query)
        backref = kwargs.get("backref")
        if isinstance(backref, str):
            kwargs["backref"] = (backref, {"query_class": self.Query})
        elif backref is not None:
            backref[1].setdefault("query_class", self.Query)
        return kwargs

    def relationship(self, *args: Any, **kwargs: Any) -> Any:
        """:func:`sqlalchemy.orm.relationship`, with this extension's query class."""
        return orm.relationship(*args, **self._with_query_class(kwargs))

    relation = relationship

    def dynamic_loader(self, argument: Any, **kwargs: Any) -> Any:
        """:func:`sqlalchemy.orm.dynamic_loader`, with this extension's query class."""
        return orm.dynamic_loader(argument, **self._with_query_class(kwargs))

    def __getattr__(self, name: str) -> Any:
        """Every name of ``sqlalchemy`` and ``sqlalchemy.orm``, and ``event``."""
        if name == "event":
            return event
        for module in () if name.startswith("_") else (sa, orm):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
