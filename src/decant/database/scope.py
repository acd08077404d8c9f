"""Which session ``db.session`` is: one for each app context and flow, closed with the one or the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakKeyDictionary

from sqlalchemy import orm
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.util import ScopedRegistry

from ..bridge import flow
from ..context import current_g, has_app
from ..faces import io_method
from .flavor import in_flask
from .session import AsyncSession

if TYPE_CHECKING:
    from .query import Query

__all__ = ["ScopedSession"]

_CLOSE_TIMEOUT_S: Final = 10.0
logger = logging.getLogger("decant.database")
_closing: set[asyncio.Task[None]] = set()
Flow = asyncio.Task[Any] | asyncio.Runner


class _Scope:
    """The sessions of one app context: that of the flow that came first, and those of its child tasks.

    A child task's session is closed when the task ends. The first one lives as long as the app context; when its
    flow has ended, the next one takes it over: so a test goes on with the session of its fixture.
    """

    def __init__(self) -> None:
        self.sessions: dict[Flow, AsyncSession] = {}
        self.first: Flow | None = None

    def find(self) -> AsyncSession | None:
        me = flow()
        found = self.sessions.get(me)
        if found is None and self.first is not None and _is_done(self.first):
            found = self.sessions.pop(self.first)
            self.sessions[me], self.first = found, me
        return found

    def put(self, session: AsyncSession) -> None:
        me = flow()
        self.sessions[me] = session
        if self.first is None:
            self.first = me
        elif me is not self.first and isinstance(me, asyncio.Task):
            me.add_done_callback(self._child_ended)

    def _child_ended(self, task: asyncio.Task[Any]) -> None:
        session = self.sessions.get(task)
        if session is not None and task is not self.first:
            del self.sessions[task]
            start_close(session)

    def discard(self) -> None:
        """Forget the session of this flow."""
        me = flow()
        self.sessions.pop(me, None)
        if self.first is me:
            self.first = None

    def take(self) -> list[AsyncSession]:
        """Those that end with the app context: of this flow and of ended ones."""
        mine = [owner for owner in self.sessions if owner is flow() or _is_done(owner)]
        if self.first in mine:
            self.first = None
        return [self.sessions.pop(owner) for owner in mine]


def _is_done(owner: Flow) -> bool:
    return isinstance(owner, asyncio.Task) and owner.done()


class _ByContext:
    """A registry, as ``scoped_session`` has one, of one session per app context and flow."""

    def __init__(self, factory: Callable[[], AsyncSession]) -> None:
        self._factory = factory
        self._scopes: WeakKeyDictionary[Any, _Scope] = WeakKeyDictionary()

    def _scope(self) -> _Scope:
        g = current_g()
        scope = self._scopes.get(g)
        return self._scopes.setdefault(g, _Scope()) if scope is None else scope

    def __call__(self) -> AsyncSession:
        scope = self._scope()
        found = scope.find()
        if found is None:
            found = self._factory()
            scope.put(found)
        return found

    def has(self) -> bool:
        return self._scope().find() is not None

    def set(self, session: AsyncSession) -> None:
        self._scope().put(session)

    def clear(self) -> None:
        self._scope().discard()

    def take(self) -> list[AsyncSession]:
        scope = self._scopes.get(current_g()) if has_app() else None
        return [] if scope is None else scope.take()


def start_close(session: AsyncSession) -> asyncio.Task[None] | None:
    """Close a session in a task of its own, which no cancelled request takes along; ``None`` if no I/O was needed."""
    plain = session.sync_session
    if not plain.in_transaction():
        if asyncio.current_task() is None:  # a child task's callback: nobody uses the session, and nothing waits
            orm.Session.close(plain)
        else:
            plain.close()
        return None
    task = asyncio.get_running_loop().create_task(_close(session))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    return task


async def _close(session: AsyncSession) -> None:
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await session.close()
    except Exception:
        logger.warning("a database session could not be closed; its connection is dropped", exc_info=True)
        try:
            await session.invalidate()
        except Exception:
            logger.exception("nor could its connection be dropped")


def _plain_factory(factory: async_sessionmaker[AsyncSession]) -> sessionmaker[Any]:
    """Makes the sessions that ``factory`` makes an ``AsyncSession`` around; listeners to it hear these, too."""
    options = dict(factory.kw)
    kind = options.pop("sync_session_class")
    plain: sessionmaker[Any] = sessionmaker(class_=kind, **options)
    plain.class_ = kind  # and not a subclass of it, which sessionmaker makes for listeners of its own
    return plain


class ScopedSession(async_scoped_session[AsyncSession]):
    """``db.session``: passes everything on to the session of the current app context and task.

    Which session is meant is decided by the call, not by the ``await``: ``wait_for(db.session.commit(), 5)`` commits
    the caller's session, and ``gather(db.session.execute(a), db.session.execute(b))`` uses one session twice at once,
    which raises :exc:`~decant.errors.SessionInUse`.
    """

    registry: Any
    # Its face passes for the scoped_session that it stands for: event.listen(db.session, …) asks for one.
    __face_members__: ClassVar[dict[str, Any]] = {
        "__class__": property(lambda face: scoped_session),
        "session_factory": property(lambda face: _plain_factory(face._twin.session_factory)),
    }

    def __init__(
        self, session_factory: async_sessionmaker[AsyncSession], scopefunc: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(session_factory, scopefunc or flow)
        if scopefunc is None:
            self.registry = _ByContext(session_factory)

    def __call__(self, **kwargs: Any) -> Any:
        """The ``AsyncSession`` itself; in a Flask context its ``sync_session``, a :class:`decant.database.Session`."""
        session = super().__call__(**kwargs)
        return session.sync_session if in_flask() else session

    def query(self, *entities: Any, **kwargs: Any) -> Query[Any]:
        """A query whose terminal methods are awaited."""
        return self._proxied.query(*entities, **kwargs)

    def taken(self) -> list[AsyncSession]:
        """Take away the sessions that end with the current app context, to close them."""
        if isinstance(self.registry, _ByContext):
            return self.registry.take()
        if not isinstance(self.registry, ScopedRegistry) or not self.registry.has():
            return []
        session: AsyncSession = self.registry()
        self.registry.clear()
        return [session]

    async def close_taken(self, sessions: list[AsyncSession]) -> None:
        """Close sessions; when cancelled, they are closed all the same."""
        tasks = [task for task in map(start_close, sessions) if task is not None]
        if tasks:
            await asyncio.wait(tasks)


def _eager(name: str) -> Callable[..., Any]:
    def method(self: ScopedSession, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        result: Coroutine[Any, Any, Any] = getattr(self._proxied, name)(*args, **kwargs)
        return result

    original = getattr(AsyncSession, name)
    method.__name__, method.__qualname__, method.__doc__ = name, f"ScopedSession.{name}", original.__doc__
    return io_method(method)


for _name in (  # noqa: SIM905
    "execute scalar scalars get get_one commit rollback flush refresh close aclose reset invalidate merge merge_all"
    " delete delete_all connection run_sync stream stream_scalars"
    " bulk_save_objects bulk_insert_mappings bulk_update_mappings"
).split():
    if hasattr(AsyncSession, _name):
        setattr(ScopedSession, _name, _eager(_name))
