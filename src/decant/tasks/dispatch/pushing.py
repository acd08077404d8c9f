"""Jobs into Redis, and messages about them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import Context
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from ...bridge import flow
from ...errors import Overloaded, Unavailable
from ...redis import Redis
from ..codec import decode_arq, encode, encode_arq
from ..job import Claimed, Job
from .later import Later
from .names import ARQ_FUNCTION, Names

__all__ = ["Dispatcher", "claimed_from", "is_durable"]

T = TypeVar("T")
logger = logging.getLogger("decant.tasks")
_PUSH, _TELL = (files(__package__).joinpath(f"{name}.lua").read_text() for name in ("push", "tell"))
_BATCH: Final = 100
_NEWS: Final = 500
_PRIORITY_MS: Final = 1_000_000_000
_KEPT_MS: Final = 24 * 3600 * 1000
_KEPT_ALONE_MS: Final = 7 * _KEPT_MS  # of what is nowhere else
_Later = WeakKeyDictionary[asyncio.AbstractEventLoop, Later[T]]
_EXTRAS: Final = ("queue", "priority", "max_attempts", "retries", "group_index", "summary", "request_id")
_IDS: Final = ("parent", "root", "group")


def _extras(job: Job) -> dict[str, Any]:
    """What a worker has to know of a job that is not in the ledger."""
    kept = {name: getattr(job, name) for name in _EXTRAS}
    kept |= {name: None if getattr(job, name) is None else str(getattr(job, name)) for name in _IDS}
    expires = job.expires
    return kept | {"expires": None if expires is None else expires.timestamp(), "created": time.time()}


def _time(value: float | None) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value, UTC)


def claimed_from(
    task: str,
    id: UUID | str,  # noqa: A002
    payload: bytes,
    extras: Mapping[str, Any],
    attempt: int = 1,
) -> Claimed:
    """A job that is not durable, from the arguments of arq's job, with its ``created``, ``expires`` and all else."""
    kept = {name: extras[name] for name in _EXTRAS if name in extras}
    kept |= {name: UUID(extras[name]) for name in _IDS if extras.get(name)}
    return Claimed(
        id=id if isinstance(id, UUID) else UUID(id),
        task=task,
        payload=payload,
        durable=False,
        attempt=attempt,
        rerun=attempt > 1,
        created=_time(extras.get("created")),
        expires=_time(extras.get("expires")),
        **kept,
    )


class Dispatcher:
    """Puts jobs into Redis. For a durable one that is a hint to workers: what is lost, the sweeper pushes again.

    :param redis: the application's client: its deadline and its breaker bound every push.
    """

    def __init__(self, redis: Redis, names: Names) -> None:
        self.redis, self.names = redis, names
        self._script, self._tell = redis.script(_PUSH), redis.script(_TELL)
        self._jobs: _Later[Job] = WeakKeyDictionary()
        self._news: _Later[tuple[str, bytes]] = WeakKeyDictionary()

    async def push(self, jobs: Sequence[Job]) -> None:
        """Push jobs, 100 at a time; pushing one again does no harm.

        :raises Unavailable: if Redis does not answer (:exc:`~decant.errors.RedisUnavailable`); some may be there then.
        """
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            try:
                await self._push(batch)
            except Overloaded as error:
                raise Unavailable(str(error)) from error

    async def _push(self, jobs: Sequence[Job]) -> None:
        keys, args = self.arguments(jobs)
        await self._script(keys, [self.names.wake, *args])

    def arguments(self, jobs: Iterable[Job]) -> tuple[list[str], list[Any]]:
        """What ``push.lua`` is given of jobs: the key of its queue per job; its id, score, definition, for how many
        milliseconds that is kept, and its queue's name.
        """
        now_ms = int(time.time() * 1000)
        keys: list[str] = []
        args: list[Any] = []
        for job in jobs:
            due_ms = now_ms if job.eta is None else int(job.eta.timestamp() * 1000)
            # One that is due later has no priority over what is due before it; it is pushed again when it is due.
            score = due_ms if due_ms > now_ms else due_ms - job.priority * _PRIORITY_MS
            kept_ms = max(0, due_ms - now_ms) + (_KEPT_MS if job.durable else _KEPT_ALONE_MS)
            keys.append(self.names.queue(job.queue))
            args += (str(job.id), score, _definition(job, now_ms), kept_ms, job.queue)
        return keys, args

    def push_soon(self, jobs: Iterable[Job]) -> None:
        """Push durable jobs without waiting for it, from the loop or from a thread that works for one.

        At most 10,000 wait; what is more, and what fails, is left to the sweeper.
        """
        kept = [*jobs]
        if not kept:
            return
        loop = asyncio._get_running_loop()
        if loop is not None:
            self._take(loop, kept)
        else:
            loop = flow().get_loop()
            loop.call_soon_threadsafe(self._take, loop, kept, context=Context())

    def _take(self, loop: asyncio.AbstractEventLoop, jobs: list[Job]) -> None:
        later = self._jobs.get(loop)
        if later is None:
            later = self._jobs[loop] = Later(loop, self.push, batch=_BATCH, what=("jobs", "the sweeper takes care"))
        later.take(jobs)

    def tell_soon(self, id: UUID | str, message: Mapping[str, Any]) -> None:  # noqa: A002
        """:meth:`publish` without waiting for it, many in one round trip; on the loop. At most 10,000 wait."""
        loop = asyncio.get_running_loop()
        later = self._news.get(loop)
        if later is None:
            what = "news of jobs", "those who wait look at the ledger too"
            later = self._news[loop] = Later(loop, self._publish, batch=_NEWS, what=what)
        later.take(((self.names.job(id), encode(dict(message))),))

    async def _publish(self, news: list[tuple[str, bytes]]) -> None:
        runs = groupby(news, itemgetter(1))  # in their order, but most say the same
        await self._tell(args=[part for message, run in runs for part in (message, encode([one for one, _ in run]))])

    async def publish(self, id: UUID | str, message: Mapping[str, Any]) -> bool:  # noqa: A002
        """Tell whoever waits for a job; ``False`` if Redis is away: they look at the ledger from time to time too."""
        try:
            await self.redis.publish(self.names.job(id), encode(dict(message)))
        except (Unavailable, Overloaded) as error:
            logger.debug("the news of job %s is not told: %s", id, error)
            return False
        return True

    async def aclose(self) -> None:
        """Send what waits on the running loop, within a second."""
        loop = asyncio.get_running_loop()
        for later in (self._jobs.pop(loop, None), self._news.pop(loop, None)):
            if later is not None:
                await later.aclose()


def _definition(job: Job, now_ms: int) -> bytes:
    args: list[Any] = [job.task, str(job.id)]
    if not job.durable:
        args += (job.payload, _extras(job))
    return encode_arq({"t": None, "f": ARQ_FUNCTION, "a": args, "k": {}, "et": now_ms})


def is_durable(definition: bytes) -> bool:
    """Whether a job that Redis has is in the ledger too, by its definition; not so one that cannot be read."""
    try:
        job = decode_arq(definition)
        return job["f"] == ARQ_FUNCTION and len(job["a"]) == 2
    except Exception:  # somebody else has put it there
        return False
