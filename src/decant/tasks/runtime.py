"""``Runtime``: the ledger, the index in Redis and the news of jobs, as one application has them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID
from weakref import ref

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ..bridge import flow
from ..errors import ConfigError, Overloaded, Unavailable
from ..redis import Redis, client
from . import joining
from .codec import decode, encode, encode_error
from .dispatch import Dispatcher, Listener, Names
from .errors import OperationalError, TaskRevokedError
from .job import Claimed, Group, Job
from .ledger import Ledger, Record
from .settings import Conf
from .states import PENDING, READY_STATES, REVOKED, STARTED

__all__ = ["AUTO", "Runtime"]

logger = logging.getLogger("decant.tasks")
AUTO: Final = object()
"""For :meth:`Runtime.submit`: the session that is to be joined, found by the rule."""
_KEPT_S: Final = 24 * 3600.0


class Runtime:
    """What the tasks of one application stand on; usable on any event loop. Made by
    :meth:`Tasks.runtime <decant.tasks.Tasks.runtime>`.

    :ivar ledger: ``None`` with ``TASKS_DURABLE = False``: every job is in Redis alone then.
    :param app: Quart or Flask.
    :param conf: its settings.
    :raises ConfigError: if the ledger's database is not PostgreSQL, or there is none, and ``TASKS_DURABLE`` is not
        ``False``; if a URL is wrong.
    """

    def __init__(self, app: Any, conf: Conf) -> None:
        self._app = ref(app)
        self.conf = conf
        self.names = Names(conf.prefix)
        self.ledger = _ledger(app, conf) if conf.durable else None
        self.redis: Redis = client(app, conf.redis_url)
        self.dispatcher = Dispatcher(self.redis, self.names)
        self.listener = Listener(self.redis, self.names)
        if self.ledger is not None:
            joining.watch_app(app)
        if hasattr(app, "after_serving"):  # Quart's; with a Flask application it ends with its loop
            with suppress(AssertionError):  # it serves already: likewise
                app.after_serving(self.aclose)

    @property
    def app(self) -> Any:
        """The application.

        :raises RuntimeError: if it is gone.
        """
        app = self._app()
        if app is None:
            raise RuntimeError("the application of these tasks is gone")
        return app

    # -- the one way in --------------------------------------------------------------------------------------------

    def session(self) -> Any:
        """The ``AsyncSession`` that :meth:`submit` would join here and now, or ``None``."""
        if self.ledger is None or not self.conf.joins:
            return None
        return joining.find(self.app, self.ledger.pool.url)

    async def submit(self, jobs: Sequence[Job], groups: Sequence[Group] = (), *, session: Any = AUTO) -> None:
        """Take jobs on. Durable ones are in the ledger when it returns: committed, or with ``session`` part of its
        transaction and pushed after that; others are in Redis. Ids that are there already are left alone.

        :param session: the ``AsyncSession`` to join; ``None`` for none; by default :meth:`session`.
        :raises OperationalError: if PostgreSQL, or for a job that is not durable Redis, does not answer.
        """
        durable = [job for job in jobs if self._is_durable(job)]
        alone = [job for job in jobs if not self._is_durable(job)]
        try:
            if durable or (groups and self.ledger is not None):
                await self._insert(durable, groups, self.session() if session is AUTO else session)
            if alone:
                await self.dispatcher.push(alone)
        except (Unavailable, Overloaded) as error:
            names = ", ".join(sorted({job.task for job in jobs}))
            raise OperationalError(f"{names or 'a group'} was not accepted: {error}") from error

    def _is_durable(self, job: Job) -> bool:
        if self.ledger is None:
            job.durable = False
        return job.durable

    async def _insert(self, jobs: list[Job], groups: Sequence[Group], session: Any) -> None:
        assert self.ledger is not None
        if session is not None:
            insert = partial(self.ledger.insert_into, session, jobs, groups)
            await joining.join(session, jobs, insert, self.dispatcher)
            return
        new = await self.ledger.insert(jobs, groups)
        await self.push([job for job in jobs if job.id in new])

    async def push(self, jobs: Sequence[Job]) -> None:
        """Push durable jobs, best-effort: in the background, or at once where nothing goes on in the background."""
        if not isinstance(flow(), asyncio.Runner):
            self.dispatcher.push_soon(jobs)
            return
        with suppress(Unavailable):  # the sweeper does
            await self.dispatcher.push(jobs)

    # -- what is known ---------------------------------------------------------------------------------------------

    async def record(self, id: UUID) -> Record | None:  # noqa: A002
        """What is known of a job, from the ledger, or from Redis if it is not durable.

        :raises Unavailable: if the ledger's database, or without a ledger Redis, does not answer.
        """
        return (await self.records([id])).get(id)

    async def records(self, ids: Iterable[UUID]) -> dict[UUID, Record]:
        """What is known of several. Errors as :meth:`record`."""
        wanted = [*ids]
        found = await self.ledger.read(wanted) if self.ledger is not None else {}
        missing = [id_ for id_ in wanted if id_ not in found]
        if not missing:
            return found
        try:
            kept = await self.redis.mget([self.names.result(id_) for id_ in missing])
        except (Unavailable, Overloaded):
            if self.ledger is None:
                raise
            return found
        return found | {id_: _record(data) for id_, data in zip(missing, kept, strict=True) if data is not None}

    async def keep(
        self,
        job: Claimed,
        state: str,
        *,
        worker: str | None = None,
        custom_state: str | None = None,
        progress: bytes | None = None,
        result: bytes | None = None,
        error: bytes | None = None,
    ) -> None:
        """Write down what became of a job that is not durable, for ``result_expires``.

        :raises Unavailable: if Redis does not answer.
        """
        now = datetime.now(UTC)
        record = _of_job(job, state, now)
        record.worker, record.custom_state, record.progress = worker, custom_state, progress
        record.result, record.error = result, error
        expires_s = self.conf.result_expires_s or _KEPT_S
        values = {field.name: getattr(record, field.name) for field in fields(record)}  # asdict would copy each, deeply
        await self.redis.set(self.names.result(job.id), encode(values), px=max(1, int(expires_s * 1000)))

    # -- what is done to it ----------------------------------------------------------------------------------------

    async def revoke(self, ids: Iterable[UUID], terminate: bool = False, signal: str = "SIGTERM") -> dict[UUID, str]:
        """End jobs that wait; with ``terminate``, stop those that run too.

        Returns the states after it, of those that are known.

        :raises Unavailable: if the ledger's database does not answer. What workers are told is best-effort: they see
            it with their next renewal.
        """
        wanted = [*ids]
        states = await self.ledger.revoke(wanted, terminate=terminate) if self.ledger is not None else {}
        alone = [id_ for id_ in wanted if id_ not in states]
        for id_, state in states.items():
            if state in READY_STATES:
                await self.dispatcher.publish(id_, {"state": state})
        try:
            await self._revoke_alone(alone, states)
            running = [str(id_) for id_ in wanted if states.get(id_, STARTED) == STARTED]
            if terminate and running:
                arguments = {"ids": running, "terminate": True, "signal": signal}
                message = {"command": "abort", "destination": None, "arguments": arguments, "reply_to": None}
                await self.redis.publish(self.names.control, json.dumps(message))
        except (Unavailable, Overloaded) as error:
            if self.ledger is None:
                raise
            logger.debug("workers are not told of a revocation: %s", error)
        return states

    async def _revoke_alone(self, ids: list[UUID], states: dict[UUID, str]) -> None:
        """What waits in Redis alone loses its definition; a worker that finds it forgets it."""
        for id_ in ids:
            if await self.redis.exists(f"arq:in-progress:{id_}") or not await self.redis.delete(f"arq:job:{id_}"):
                continue
            states[id_] = REVOKED
            job = Claimed(id=id_, task="", queue="", payload=b"", durable=False, attempt=0)
            await self.keep(job, REVOKED, error=encode_error(TaskRevokedError("revoked")))
            await self.dispatcher.publish(id_, {"state": REVOKED})

    async def forget(self, ids: Iterable[UUID]) -> None:
        """Delete what is known of jobs that have ended.

        :raises Unavailable: if the ledger's database, or without one Redis, does not answer.
        """
        wanted = [*ids]
        if self.ledger is not None:
            await self.ledger.forget(wanted)
        try:
            if wanted:
                await self.redis.delete(*map(self.names.result, wanted))
        except (Unavailable, Overloaded):
            if self.ledger is None:
                raise

    async def aclose(self) -> None:
        """Push what waits to be pushed, and close what the running loop has open."""
        await self.dispatcher.aclose()
        await self.listener.aclose()
        if self.ledger is not None:
            await self.ledger.aclose()


def _ledger(app: Any, conf: Conf) -> Ledger:
    key = "TASKS_DATABASE_URL" if conf.database_url is not None else "SQLALCHEMY_DATABASE_URI"
    value = conf.database_url or app.config.get("SQLALCHEMY_DATABASE_URI")
    advice = "the ledger of tasks needs PostgreSQL, as in postgresql://user@host/database; or set TASKS_DURABLE = False"
    try:
        url = make_url(value)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(key, None if value is None else "…", advice) from error
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigError(key, url.render_as_string(hide_password=True), advice)
    return Ledger(url, pool_size=conf.pool_size, pgbouncer=bool(app.config.get("SQLALCHEMY_PGBOUNCER", False)))


def _record(data: bytes) -> Record:
    return Record(**decode(data))


def _of_job(job: Claimed, state: str, now: datetime) -> Record:
    return Record(
        id=job.id,
        task=job.task,
        queue=job.queue,
        priority=job.priority,
        payload=b"",
        summary=job.summary,
        state=state,
        eta=job.eta,
        expires=job.expires,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        retries=job.retries,
        deaths=0,
        push_after=now,
        lease_until=None,
        worker=None,
        revoked=state == REVOKED,
        custom_state=None,
        progress=None,
        result=None,
        error=None,
        parent=job.parent,
        root=job.root,
        group_id=job.group,
        group_index=job.group_index,
        request_id=job.request_id,
        created=job.created or now,
        started=None if state == PENDING else now,
        finished=now if state in READY_STATES else None,
    )
