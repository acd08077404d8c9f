"""``transaction=True``: a job's end and its effects, committed at once."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event

from ...errors import ConfigError
from ...faces import twin_of
from ..errors import InvalidTaskError
from ..job import Outcome
from ..joining import JOINED, is_on
from ..ledger import Finished, Ledger

__all__ = ["Transaction"]

_NO_COMMIT: Final = (
    "{task} has transaction=True: it must not commit, since the worker commits what it wrote together with the end of"
    " the job. Leave the commit out, or the option"
)
_OTHER_SESSION: Final = (
    "{task} has transaction=True, and took db.session away from the worker (remove() or close()): what it wrote before"
    " is lost. Leave that out, or the option"
)


class Transaction:
    """The session's transaction in which a job ends: ``with Transaction(…) as transaction: …; await …finish(…)``.

    Whatever the function does in ``db.session`` is committed by :meth:`finish`, or rolled back, with the jobs that it
    asks for. Savepoints are its own.

    :raises ConfigError: if the application has no ``decant.database``, or the ledger is in another database.
    """

    def __init__(self, app: Any, ledger: Ledger | None, task: str) -> None:
        self._db, self._task = twin_of(app.extensions.get("sqlalchemy")), task
        if self._db is None or not hasattr(self._db, "session_class"):
            raise ConfigError(f"transaction of {task}", True, "it needs decant.database's SQLAlchemy")
        if ledger is None:
            raise ConfigError(f"transaction of {task}", True, "it needs durable jobs")
        self._ledger: Ledger = ledger
        # The AsyncSession itself: db.session() is its synchronous one in a Flask application.
        self._session: Any = self._db.session.registry()
        if not is_on(self._session, ledger.pool.url):
            raise ConfigError(f"transaction of {task}", True, "TASKS_DATABASE_URL must be SQLALCHEMY_DATABASE_URI")

    def __enter__(self) -> Transaction:
        event.listen(self._session.sync_session, "before_commit", self._refuse)
        self._session.sync_session.info[JOINED] = True
        return self

    def __exit__(self, *_: object) -> None:
        self._session.sync_session.info.pop(JOINED, None)
        event.remove(self._session.sync_session, "before_commit", self._refuse)

    def _refuse(self, session: Any) -> None:
        if not session.in_nested_transaction():
            raise InvalidTaskError(_NO_COMMIT.format(task=self._task))

    async def finish(self, outcome: Outcome) -> Finished:
        """Write the end of the job and commit; if the attempt is not the worker's any more, roll back.

        :raises InvalidTaskError: if the session is not the one that the function began with.
        """
        if self._db.session.registry() is not self._session:
            raise InvalidTaskError(_OTHER_SESSION.format(task=self._task))
        finished = await self._ledger.finish_in(self._session, outcome)
        if finished:
            await self._session.commit()
        else:
            await self._session.rollback()
        return finished

    async def rollback(self) -> None:
        """Drop what the function wrote."""
        await self._session.rollback()
