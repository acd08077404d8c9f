"""Jobs in the session's own transaction: kept with its commit, dropped with its rollback, pushed after it.

``delay()`` joins the transaction of ``db.session`` when that was begun explicitly, or has pending or flushed writes.
That a ``SELECT`` has begun one by itself does not count: nobody may ever commit it. What is written past the session
(``(await db.session.connection()).execute(…)``) is not seen.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import TextClause, event
from sqlalchemy.engine import URL
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, SessionTransactionOrigin

from ..bridge import flow, wait
from ..context import current_app, has_app
from ..errors import Unavailable
from ..faces import twin_of
from .dispatch import Dispatcher
from .job import Job

__all__ = ["CALLED", "JOINED", "find", "is_on", "join", "present", "watch", "watch_app"]

logger = logging.getLogger("decant.tasks")
JOINED: Final = "decant_joined"
"""In the ``info`` of a session that is going to be committed, whether it has written or not."""
CALLED: Final[ContextVar[Any]] = ContextVar("decant.tasks.called", default=None)
"""The session of whoever called what is awaited here, in another task; see :mod:`.asking`."""
_LEAD: Final = r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*"
_READS: Final = re.compile(
    _LEAD + r"(?:SELECT|VALUES|TABLE|SHOW|EXPLAIN|WITH|SET|RESET|LISTEN|UNLISTEN|SAVEPOINT|RELEASE)\b", re.I | re.S
)
_WRITES: Final = re.compile(r"\b(?:INSERT\s+INTO|UPDATE\s+[^,;)]+\s+SET|DELETE\s+FROM|MERGE\s+INTO)\b", re.I)
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class _Joined:
    """What has joined one session, and which of its transactions and savepoints have written something."""

    def __init__(self) -> None:
        self.jobs: list[tuple[SessionTransaction, Job, Dispatcher]] = []
        self.written: WeakSet[SessionTransaction] = WeakSet()
        self.lock = asyncio.Lock()


_sessions: Final[WeakKeyDictionary[Session, _Joined]] = WeakKeyDictionary()
_watched: Final[WeakSet[type[Session]]] = WeakSet()


def _of(session: Session) -> _Joined:
    return _sessions.setdefault(session, _Joined())


def _innermost(session: Session) -> SessionTransaction | None:
    """The savepoint that is open, or else the transaction."""
    return session.get_nested_transaction() or session.get_transaction()


# -- which session is joined ---------------------------------------------------------------------------------------


def find(app: Any, url: URL) -> Any:
    """The ``AsyncSession`` whose transaction a job joins here and now, or ``None``.

    :param app: whose tasks they are; the session of no other application is joined.
    :param url: of the ledger's database; a session whose default engine is on another one is not joined.
    """
    if not has_app() or current_app() is not app:
        return None
    for session in (present(), CALLED.get()):
        if session is not None and _wants(session.sync_session) and is_on(session, url):
            return session
    return None


def present() -> Any:
    """The ``AsyncSession`` of the current application that is used here, or ``None``; none is made."""
    if not has_app():
        return None
    db = twin_of(current_app().extensions.get("sqlalchemy"))
    if db is None or not hasattr(db, "session_class") or not db.session.registry.has():
        return None
    return db.session.registry()


def _wants(session: Session) -> bool:
    """Whether a session has work that somebody is going to commit or to roll back."""
    if session.new or session.dirty or session.deleted or session.info.get(JOINED):
        return True
    transaction = _innermost(session)
    if transaction is None:
        return False
    if transaction.nested or transaction.origin is SessionTransactionOrigin.BEGIN:
        return True
    return session in _sessions and len(_sessions[session].written) > 0


def is_on(session: Any, url: URL) -> bool:
    """Whether the default engine of an ``AsyncSession`` is on the database of ``url``."""
    try:
        own: URL = session.sync_session.get_bind().engine.url
    except Exception:  # it has no default engine
        return False
    return _place(own) == _place(url)


def _place(url: URL) -> tuple[Any, ...]:
    host = str(url.host or url.query.get("host") or "localhost")
    port = int(str(url.port or url.query.get("port") or 5432))
    return (
        url.get_backend_name().replace("postgresql", "postgres"),
        "localhost" if host in _LOCAL else host,
        port,
        url.database or url.username,
    )


async def join(session: Any, jobs: Iterable[Job], insert: Callable[[], Any], dispatcher: Dispatcher) -> None:
    """Insert jobs by ``await insert()``, which returns the ids that are new, and note them for the session's commit."""
    sync: Session = session.sync_session
    watch(type(sync))
    joined = _of(sync)
    async with joined.lock:  # several that were gathered: a session does one thing at a time
        new = await insert()
        transaction = _innermost(sync)
        assert transaction is not None
        joined.jobs += [(transaction, job, dispatcher) for job in jobs if job.id in new]


# -- what becomes of it --------------------------------------------------------------------------------------------


def watch_app(app: Any) -> None:
    """Watch the sessions of an application; of one whose database comes later, those of all."""
    db = twin_of(app.extensions.get("sqlalchemy"))
    watch(getattr(db, "session_class", Session))


def watch(session_class: type[Session]) -> None:
    """Note from now on what sessions of a class write, and what becomes of the jobs that join them."""
    if any(issubclass(session_class, known) for known in _watched):
        return
    _watched.add(session_class)
    event.listen(session_class, "after_transaction_create", _created)
    event.listen(session_class, "do_orm_execute", _executes)
    event.listen(session_class, "after_commit", _committed)
    event.listen(session_class, "after_transaction_end", _ended)


def _wrote(session: Session) -> None:
    transaction = _innermost(session)
    if transaction is not None:
        _of(session).written.add(transaction)


def _created(session: Session, transaction: SessionTransaction) -> None:
    """SQLAlchemy's own, within the user's, are of a flush that has something to write, and of ``bulk_…``."""
    if transaction.origin is SessionTransactionOrigin.SUBTRANSACTION:
        _wrote(session)


def _executes(state: ORMExecuteState) -> Any:
    if not _is_write(state):
        return None
    result = state.invoke_statement()
    _wrote(state.session)  # now there is a transaction
    return result


def _is_write(state: ORMExecuteState) -> bool:
    if state.is_insert or state.is_update or state.is_delete:
        return True
    if not isinstance(state.statement, TextClause):
        return False
    text = state.statement.text
    return _READS.match(text) is None or _WRITES.search(text) is not None


def _committed(session: Session) -> None:
    """Of a savepoint or the transaction: SQLAlchemy calls it for both."""
    joined, ended = _sessions.get(session), _innermost(session)
    if joined is None or ended is None:
        return
    parent = ended.parent
    while parent is not None and not parent.nested and parent.parent is not None:
        parent = parent.parent
    if ended in joined.written:
        joined.written.discard(ended)
        if parent is not None:
            joined.written.add(parent)
    if parent is not None:
        joined.jobs = [(parent if of is ended else of, job, to) for of, job, to in joined.jobs]
        return
    jobs, joined.jobs = joined.jobs, []
    for dispatcher in {to for _, _, to in jobs}:
        _push(dispatcher, [job for _, job, to in jobs if to is dispatcher])


def _push(dispatcher: Dispatcher, jobs: list[Job]) -> None:
    if not isinstance(flow(), asyncio.Runner):
        dispatcher.push_soon(jobs)
        return
    with suppress(Unavailable):  # a script's loop runs only while it is waited for; the sweeper pushes else
        wait(dispatcher.push(jobs))


def _ended(session: Session, transaction: SessionTransaction) -> None:
    joined = _sessions.get(session)
    if joined is None:
        return
    joined.written.discard(transaction)
    dropped = [job for of, job, _ in joined.jobs if of is transaction]
    if not dropped:
        return
    joined.jobs = [kept for kept in joined.jobs if kept[0] is not transaction]
    if not _is_handling(session):
        counts = Counter(job.task for job in dropped)
        logger.warning(
            "jobs were dropped with the %s that they had joined, which was not committed: %s",
            "savepoint" if transaction.nested else "transaction",
            ", ".join(f"{task} ({count})" if count > 1 else task for task, count in sorted(counts.items())),
        )


def _is_handling(session: Session) -> bool:
    """Whether an exception is under way, as far as it can be seen: greenlets begin without that of their caller."""
    noted = session.info.pop("decant_handling", False)
    if noted or sys.exc_info()[1] is not None:
        return True
    frame = sys._getframe()
    exits = SessionTransaction.__exit__.__code__
    while frame is not None:
        if frame.f_code is exits:
            return frame.f_locals.get("type_") is not None
        frame = frame.f_back  # type: ignore[assignment]
    return False
