"""Where the pages' data comes from: the ledger and Redis. Every question has a deadline."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from asyncpg import InterfaceError, PostgresError

from ..errors import DatabaseUnavailable, RedisUnavailable
from .problems import NoLedger

__all__ = ["Store", "Worker", "settled"]

T = TypeVar("T")
_DEADLINE_S: Final = 5.0
# One plan for all values would read all jobs by their time in search of a task that has none.
_PREPARE: Final = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL statement_timeout = '4s'"
_RECENT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker last said of itself. Sizes are bytes, times seconds or in UTC."""

    id: str
    name: str = ""
    host: str = ""
    pid: int = 0
    queues: dict[str, float] = field(default_factory=dict)
    concurrency: int = 0
    active: list[dict[str, Any]] = field(default_factory=list)
    paused: bool = False
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    rss_bytes: int | None = None
    loop_lag_s: float | None = None
    started: datetime | None = None
    seen: datetime | None = None
    version: str = ""
    stopping: bool = False

    @property
    def state(self) -> str:
        return "stopping" if self.stopping else "paused" if self.paused else "online"

    @property
    def uptime_s(self) -> float | None:
        return None if self.started is None else (datetime.now(UTC) - self.started).total_seconds()

    @property
    def ended(self) -> int:
        """Attempts that came to an end."""
        return self.succeeded + self.failed + self.retried

    @classmethod
    def read(cls, beat: dict[str, Any]) -> Worker:
        """From the JSON of a heartbeat; what it does not say has its default."""
        known = {name: beat[name] for name in cls.__slots__ if beat.get(name) is not None and name != "seen"}
        queues = known.get("queues", {})
        known["queues"] = queues if isinstance(queues, dict) else dict.fromkeys(queues, 1.0)
        known["started"] = _time(beat.get("started"))
        known["active"] = [{**job, "started": _time(job.get("started"))} for job in known.get("active", ())]
        return cls(**known, seen=_time(beat.get("time")))


def _time(given: Any) -> datetime | None:
    """Seconds since 1970, or ISO 8601."""
    if given is None:
        return None
    if isinstance(given, int | float):
        return datetime.fromtimestamp(given, UTC)
    return datetime.fromisoformat(given)


class Store:
    """The runtime of one application's tasks, as the monitor reads it."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """An asyncpg connection to the ledger, in a transaction that only reads, of at most 5 s.

        :raises NoLedger: if the tasks have none.
        :raises DatabaseUnavailable: if it does not answer, or in time.
        """
        if self.runtime.ledger is None:
            raise NoLedger
        try:
            async with (
                asyncio.timeout(_DEADLINE_S),
                self.runtime.ledger.connection() as connection,
                connection.transaction(readonly=True),
            ):
                await connection.execute(_PREPARE)
                yield connection
        except TimeoutError as error:
            raise DatabaseUnavailable(f"PostgreSQL gave no answer within {_DEADLINE_S:g} s") from error
        except (PostgresError, InterfaceError, OSError) as error:
            raise DatabaseUnavailable(f"PostgreSQL: {type(error).__name__}: {error}") from error

    async def workers(self) -> list[Worker]:
        """Those whose heartbeat is not older than its time to live, by their ids.

        :raises RedisUnavailable: if Redis does not answer.
        """
        redis, names = self.runtime.redis, self.runtime.names
        since = time.time() - _RECENT_S
        ids = [one.decode() for one in await redis.zrangebyscore(names.worker("")[:-1] + "s", since, "+inf")]
        beats = await redis.mget([names.worker(id_) for id_ in ids]) if ids else []
        found = [json.loads(beat) for beat in beats if beat is not None]
        return sorted((Worker.read(beat) for beat in found), key=lambda worker: worker.id)

    async def queue_lengths(self, queues: list[str]) -> dict[str, int]:
        """Queue → how many jobs are in Redis for it.

        :raises RedisUnavailable: if Redis does not answer.
        """
        redis, names = self.runtime.redis, self.runtime.names
        lengths = await asyncio.gather(*(redis.zcard(names.queue(queue)) for queue in queues))
        return dict(zip(queues, lengths, strict=True))


async def settled(question: Awaitable[T], problems: list[str]) -> T | None:
    """The answer, or ``None`` and one more sentence in ``problems`` where it is not to be had now."""
    try:
        return await question
    except NoLedger as error:
        problems.append(str(error))
    except DatabaseUnavailable as error:
        problems.append(f"PostgreSQL does not answer, so what comes from the ledger is missing here. ({error})")
    except RedisUnavailable as error:
        problems.append(f"Redis does not answer, so workers and queues are not known. ({error})")
    return None
