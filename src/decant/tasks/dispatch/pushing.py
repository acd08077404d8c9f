"""Jobs into Redis, and messages about them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from ...bridge import flow
from ...errors import Overloaded, Unavailable
from ...redis import Redis
from ..codec import encode, encode_arq
from ..job import Claimed, Job
from .names import ARQ_FUNCTION, Names

__all__ = ["Dispatcher", "claimed_from"]

logger = logging.getLogger("decant.tasks")
_SOURCE: Final = files(__package__).joinpath("push.lua").read_text()
_BATCH: Final = 100
_WAITING: Final = 10_000
_PRIORITY_MS: Final = 1_000_000_000
_KEPT_MS: Final = 24 * 3600 * 1000
_KEPT_ALONE_MS: Final = 7 * _KEPT_MS  # of what is nowhere else
_LAST_S: Final = 1.0
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
        self._script = redis.script(_SOURCE)
        self._soon: WeakKeyDictionary[asyncio.AbstractEventLoop, _Soon] = WeakKeyDictionary()

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
        soon = self._soon.get(loop)
        if soon is None:
            soon = self._soon[loop] = _Soon(self, loop)
        soon.take(jobs)

    async def publish(self, id: UUID | str, message: Mapping[str, Any]) -> bool:  # noqa: A002
        """Tell whoever waits for a job; ``False`` if Redis is away: they look at the ledger from time to time too."""
        try:
            await self.redis.publish(self.names.job(id), encode(dict(message)))
        except (Unavailable, Overloaded) as error:
            logger.debug("the news of job %s is not told: %s", id, error)
            return False
        return True

    async def aclose(self) -> None:
        """Push what waits on the running loop, within a second."""
        soon = self._soon.pop(asyncio.get_running_loop(), None)
        if soon is not None:
            await soon.aclose()


def _definition(job: Job, now_ms: int) -> bytes:
    args: list[Any] = [job.task, str(job.id)]
    if not job.durable:
        args += (job.payload, _extras(job))
    return encode_arq({"t": None, "f": ARQ_FUNCTION, "a": args, "k": {}, "et": now_ms})


class _Soon:
    """What is to be pushed on one loop, and the task that does."""

    def __init__(self, dispatcher: Dispatcher, loop: asyncio.AbstractEventLoop) -> None:
        self._dispatcher, self._loop = dispatcher, loop
        self._jobs: deque[Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._full = False

    def take(self, jobs: list[Job]) -> None:
        room = _WAITING - len(self._jobs)
        if room < len(jobs) and not self._full:
            self._full = True
            logger.warning("%d jobs wait to be pushed into Redis: more are left to the sweeper", _WAITING)
        self._jobs.extend(jobs[:room])
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._flush(), context=Context())

    async def _flush(self) -> None:
        try:
            while self._jobs:
                await self._one()
        except asyncio.CancelledError:  # the loop ends: once more, bounded, for those who began it to end now
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    while self._jobs:
                        await self._one()
            raise
        finally:
            self._full = False

    async def _one(self) -> None:
        batch = [self._jobs[index] for index in range(min(_BATCH, len(self._jobs)))]
        try:
            await self._dispatcher.push(batch)
        except Unavailable as error:
            logger.debug("%d jobs are not pushed, the sweeper will: %s", len(self._jobs), error)
            self._jobs.clear()
        except Exception:
            logger.exception("jobs cannot be pushed")
            self._jobs.clear()
        else:
            for _ in batch:
                self._jobs.popleft()

    async def aclose(self) -> None:
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=_LAST_S)
            self._task.cancel()
            await asyncio.wait([self._task], timeout=2 * _LAST_S)
