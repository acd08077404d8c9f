"""Sessions: SQLAlchemy's own at the core, its asyncio session outside, one for each app context and flow."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from greenlet import getcurrent
from sqlalchemy import Engine, Table, UpdateBase, exc, inspect, orm
from sqlalchemy.ext import asyncio as sa_asyncio

from ..bridge import flow, wait
from ..errors import SessionInUse

if TYPE_CHECKING:
    from .extension import SQLAlchemy
    from .query import Query

__all__ = ["AsyncSession", "Session"]

T = TypeVar("T")
_IN_USE: Final = (
    "this database session is executing for {user}, and {other} used it at the same time. A session belongs to one"
    " task: in tasks that run at once (gather, TaskGroup, create_task), each function must ask `db.session` itself,"
    " which is another session in each task, and not be given the session, a coroutine of it, or lazily loaded"
    " objects of another task. Or await one after the other."
)
_NO_BRIDGE: Final = (
    "Synchronous code needed the database on the event loop, outside a bridge. Requests, commands and jobs are bridged;"
    " in a child task, or a test without Decant's pytest plugin, run the coroutine through decant.bridge.bridged()."
)


class Session(orm.Session):
    """A session that chooses its engine by bind key, runs wherever :func:`decant.bridge.wait` may be called, and
    refuses to be used by two tasks at once.

    As Flask-SQLAlchemy's, it is synchronous, and what ``session_options={"class_": …}`` takes a subclass of.
    """

    def __init__(self, db: SQLAlchemy, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._db = db
        self.model_changes: dict[object, tuple[Any, str]] = {}
        self._user: object = None
        self._depth = 0

    @property
    def sync_session(self) -> Self:
        """This session: for what takes an ``AsyncSession``, which has one, or in Flask ``db.session()``."""
        return self

    def get_bind(
        self, mapper: Any | None = None, *, clause: Any | None = None, bind: Any | None = None, **kwargs: Any
    ) -> Any:
        """The engine of the bind key of the mapper's, or the clause's, metadata; else the default one.

        :raises sqlalchemy.exc.UnboundExecutionError: if the bind key is not configured.
        """
        if bind is not None:
            return bind
        engines = self._db.engines_here()
        for table in (_table_of_mapper(mapper), clause):
            engine = _engine_of(table, engines)
            if engine is not None:
                return engine
        if None in engines:
            return engines[None].sync_engine
        return super().get_bind(mapper, clause=clause, bind=bind, **kwargs)

    def _io(self, work: Callable[[], T]) -> T:
        """Do what may need the database: in a bridge here and now, in a plain thread on its own loop."""
        bridged = getattr(getcurrent(), "__sqlalchemy_greenlet_provider__", False)
        if not bridged and asyncio._get_running_loop() is None:
            return wait(self._in_bridge(work))
        me = flow()
        if self._depth and self._user is not me:
            raise SessionInUse(_IN_USE.format(user=_name(self._user), other=_name(me)))
        self._user = me
        self._depth += 1
        try:
            return work()
        except (exc.MissingGreenlet, exc.StatementError) as error:
            if _lacks_bridge(error) and _NO_BRIDGE not in getattr(error, "__notes__", ()):
                error.add_note(_NO_BRIDGE)
            raise
        finally:
            self._depth -= 1

    async def _in_bridge(self, work: Callable[[], T]) -> T:
        return self._io(work)


def _lacks_bridge(error: exc.MissingGreenlet | exc.StatementError) -> bool:
    """Whether that is what is wrong: asked of a connection that is open already, some drivers wrap it."""
    return isinstance(error, exc.MissingGreenlet) or isinstance(error.orig, exc.MissingGreenlet)


def _name(user: object) -> str:
    return f"task {user.get_name()!r}" if isinstance(user, asyncio.Task) else f"a thread ({user!r})"


def _guarded(name: str) -> Callable[..., Any]:
    original = getattr(orm.Session, name)

    @wraps(original)
    def method(self: Session, /, *args: Any, **kwargs: Any) -> Any:
        return self._io(partial(original, self, *args, **kwargs))

    return method


for _method in (  # noqa: SIM905
    "execute scalar scalars get get_one commit rollback flush refresh close reset invalidate merge merge_all delete"
    " delete_all connection prepare begin_nested bulk_save_objects bulk_insert_mappings bulk_update_mappings"
).split():
    if hasattr(orm.Session, _method):
        setattr(Session, _method, _guarded(_method))


def _table_of_mapper(mapper: Any | None) -> Any | None:
    if mapper is None:
        return None
    try:
        return inspect(mapper).local_table
    except exc.NoInspectionAvailable as error:
        if isinstance(mapper, type):
            raise orm.exc.UnmappedClassError(mapper) from error
        raise


def _engine_of(clause: Any | None, engines: Mapping[str | None, sa_asyncio.AsyncEngine]) -> Engine | None:
    table = clause.table if isinstance(clause, UpdateBase) else clause
    if not isinstance(table, Table) or "bind_key" not in table.metadata.info:
        return None
    key = table.metadata.info["bind_key"]
    if key not in engines:
        if key is None:
            return None
        raise exc.UnboundExecutionError(f"Bind key '{key}' is not in 'SQLALCHEMY_BINDS' config.")
    return engines[key].sync_engine


class AsyncSession(sa_asyncio.AsyncSession):
    """SQLAlchemy's ``AsyncSession`` with what Flask-SQLAlchemy's users call besides: ``query`` and ``bulk_*``."""

    sync_session_class: type[orm.Session] = Session

    def rollback(self) -> Coroutine[Any, Any, None]:
        """As SQLAlchemy's. Whether it is because of an exception is noted in ``info["decant_handling"]``, for those who
        listen: they are called in a greenlet, which knows nothing of it.
        """
        self.info["decant_handling"] = sys.exc_info()[1] is not None
        return super().rollback()

    def close(self) -> Coroutine[Any, Any, None]:
        """As SQLAlchemy's; like :meth:`rollback`."""
        self.info["decant_handling"] = sys.exc_info()[1] is not None
        return super().close()

    def query(self, *entities: Any, **kwargs: Any) -> Query[Any]:
        """A query whose terminal methods are awaited."""
        query: Query[Any] = self.sync_session.query(*entities, **kwargs)
        return query

    async def bulk_save_objects(self, *args: Any, **kwargs: Any) -> None:
        """As SQLAlchemy's legacy method."""
        await self.run_sync(lambda session: session.bulk_save_objects(*args, **kwargs))

    async def bulk_insert_mappings(self, *args: Any, **kwargs: Any) -> None:
        """As SQLAlchemy's legacy method."""
        await self.run_sync(lambda session: session.bulk_insert_mappings(*args, **kwargs))

    async def bulk_update_mappings(self, *args: Any, **kwargs: Any) -> None:
        """As SQLAlchemy's legacy method."""
        await self.run_sync(lambda session: session.bulk_update_mappings(*args, **kwargs))
