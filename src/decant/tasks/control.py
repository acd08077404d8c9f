"""Telling workers what to do and asking what they do: Celery's ``app.control``, over a Redis channel.

::

    await tasks.control.ping()                        # [{"web1:4711:ab12cd": {"ok": "pong"}}]
    await tasks.control.inspect().active()            # {"web1:4711:ab12cd": [{"id": …, "name": "app.mail", …}]}
    await tasks.control.broadcast("pause", destination=["web1:4711:ab12cd"], reply=True)

A command is one message on ``<prefix>:control``, in JSON::

    {"command": "ping", "destination": [ids or names] | null, "arguments": {…}, "reply_to": key | null}

and each worker that is meant appends ``{worker: answer}`` to the list ``reply_to``. Redis says how many workers listen,
so an answer from all of them is not waited for any longer; from one that hangs it is, for ``timeout`` (1 s).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID, uuid4

from ..faces import called, io_method
from .dispatch import is_durable

__all__ = ["Control", "Inspect"]

Replies = list[dict[str, Any]]
_TIMEOUT_S: Final = 1.0
_PURGED_AT_ONCE: Final = 1000
_READ_AT_ONCE: Final = 100


class Control:
    """Celery's ``Control``; ``tasks.control``.

    Methods that only tell something return ``None`` unless they are called with ``reply=True``, as in Celery; then a
    list of ``{worker: answer}``.

    What differs: a worker's name is its id, or what ``decant worker --name`` gave it; ``terminate`` sends no signal to
    a worker but cancels the job (or kills the process of a ``process=True`` one).
    """

    def __init__(self, tasks: Any) -> None:
        self._tasks = tasks

    @io_method
    async def broadcast(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        destination: str | Sequence[str] | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float = _TIMEOUT_S,
        limit: int | None = None,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        **extra_kwargs: Any,
    ) -> Replies | None:
        """Send a command to all workers, or those of ``destination``.

        :param timeout: seconds to wait for answers, with ``reply=True``.
        :param limit: answers that are enough.
        :param callback: called with each answer.
        :raises Unavailable: if Redis is.
        """
        runtime = self._tasks.runtime()
        wanted = [destination] if isinstance(destination, str) else destination
        reply_to = f"{runtime.names.control}:reply:{uuid4().hex}" if reply else None
        message = {
            "command": command,
            "destination": None if wanted is None else list(wanted),
            "arguments": {**(arguments or {}), **extra_kwargs},
            "reply_to": reply_to,
        }
        listening = await runtime.redis.publish(runtime.names.control, json.dumps(message, default=str))
        if reply_to is None:
            return None
        expected = listening if wanted is None else min(listening, len(set(wanted)))
        expected = expected if limit is None else min(limit, expected)
        replies = await _replies(runtime.redis, reply_to, expected, timeout)
        for one in replies:
            if callback is not None:
                await called(callback, one)
        return replies

    @io_method
    async def ping(
        self, destination: str | Sequence[str] | None = None, timeout: float = _TIMEOUT_S, **kwargs: Any
    ) -> Replies:
        """Which workers there are: ``[{worker: {"ok": "pong"}}]``."""
        return await self.broadcast("ping", reply=True, destination=destination, timeout=timeout, **kwargs) or []

    @io_method
    async def shutdown(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies | None:
        """Stop workers as ``SIGTERM`` does: jobs may end within the grace time, the rest is given back."""
        return await self.broadcast("shutdown", destination=destination, **kwargs)

    @io_method
    async def pause(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies | None:
        """Let workers claim nothing more; what runs goes on. Not Celery's."""
        return await self.broadcast("pause", destination=destination, **kwargs)

    @io_method
    async def resume(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies | None:
        """Let paused workers claim again. Not Celery's."""
        return await self.broadcast("resume", destination=destination, **kwargs)

    @io_method
    async def revoke(
        self,
        task_id: str | UUID | Iterable[str | UUID],
        destination: str | Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **kwargs: Any,
    ) -> Replies | None:
        """Let these jobs not begin; with ``terminate`` also stop them where they run.

        It is written into the ledger, so it holds for workers that are not there yet; ``destination`` is ignored.
        """
        ids = _ids(task_id)
        await self._tasks.runtime().revoke([UUID(id_) for id_ in ids], terminate, signal)
        if kwargs.get("reply"):
            arguments = {"task_id": ids, "terminate": terminate, "signal": signal}
            return await self.broadcast("revoke", arguments, **kwargs)
        return None

    @io_method
    async def terminate(
        self,
        task_id: str | UUID | Iterable[str | UUID],
        destination: str | Sequence[str] | None = None,
        signal: str = "SIGTERM",
        **kwargs: Any,
    ) -> Replies | None:
        """``revoke(terminate=True)``."""
        return await self.revoke(task_id, destination, True, signal, **kwargs)

    @io_method
    async def purge(self, connection: Any = None) -> int:
        """Revoke every job that waits, in all queues; how many. What runs goes on."""
        runtime = self._tasks.runtime()
        number = 0
        if runtime.ledger is not None:
            while ids := await _waiting(runtime.ledger):
                await runtime.revoke(ids, False, "SIGTERM")
                number += len(ids)
        return number + await _purge_index(runtime)

    discard_all = purge

    @io_method
    async def rate_limit(
        self,
        task_name: str,
        rate_limit: str | int | float | None,
        destination: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies | None:
        """Set a task's rate limit, such as ``"10/m"``, until the workers end; ``None`` or 0 for none."""
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return await self.broadcast("rate_limit", arguments, destination, **kwargs)

    @io_method
    async def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies | None:
        """Set a task's time limits in seconds, for jobs that begin from now on, until the workers end."""
        arguments = {"task_name": task_name, "soft": soft, "hard": hard}
        return await self.broadcast("time_limit", arguments, destination, **kwargs)

    @io_method
    async def pool_grow(
        self, n: int = 1, destination: str | Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Let workers run ``n`` more jobs at once."""
        return await self.broadcast("pool_grow", {"n": n}, destination, **kwargs)

    @io_method
    async def pool_shrink(
        self, n: int = 1, destination: str | Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Let workers run ``n`` fewer jobs at once, but at least one; what runs goes on."""
        return await self.broadcast("pool_shrink", {"n": n}, destination, **kwargs)

    @io_method
    async def add_consumer(
        self, queue: str, destination: str | Sequence[str] | None = None, weight: int = 1, **kwargs: Any
    ) -> Replies | None:
        """Let workers take jobs of one more queue. Exchanges and routing keys are ignored: there are none."""
        for amqp in ("exchange", "exchange_type", "routing_key", "options"):
            kwargs.pop(amqp, None)
        return await self.broadcast("add_consumer", {"queue": queue, "weight": weight}, destination, **kwargs)

    @io_method
    async def cancel_consumer(
        self, queue: str, destination: str | Sequence[str] | None = None, **kwargs: Any
    ) -> Replies | None:
        """Let workers take no more jobs of this queue."""
        return await self.broadcast("cancel_consumer", {"queue": queue}, destination, **kwargs)

    @io_method
    async def enable_events(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies | None:
        """Let workers write the event stream, which the monitor reads; they do unless told not to."""
        return await self.broadcast("enable_events", {}, destination, **kwargs)

    @io_method
    async def disable_events(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies | None:
        """Let workers write no events; the ledger and the statistics do not need them."""
        return await self.broadcast("disable_events", {}, destination, **kwargs)

    def inspect(
        self,
        destination: str | Sequence[str] | None = None,
        timeout: float = _TIMEOUT_S,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        **kwargs: Any,
    ) -> Inspect:
        """What asks all workers, or those of ``destination``."""
        return Inspect(self, destination, timeout, callback, limit)


class Inspect:
    """Celery's ``Inspect``: each method returns ``{worker: answer}``, empty if no worker answers (Celery: ``None``)."""

    def __init__(
        self,
        control: Control,
        destination: str | Sequence[str] | None = None,
        timeout: float = _TIMEOUT_S,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        limit: int | None = None,
    ) -> None:
        self._control, self.destination, self.timeout = control, destination, timeout
        self.callback, self.limit = callback, limit

    async def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        replies = await self._control.broadcast(
            command,
            arguments,
            self.destination,
            reply=True,
            timeout=self.timeout,
            limit=self.limit,
            callback=self.callback,
        )
        return {worker: answer for reply in replies or () for worker, answer in reply.items()}

    @io_method
    async def ping(self, destination: str | Sequence[str] | None = None) -> dict[str, Any]:
        """``{"ok": "pong"}`` each."""
        if destination is not None:
            self.destination = destination
        return await self._ask("ping")

    @io_method
    async def active(self, safe: bool | None = None) -> dict[str, Any]:
        """The jobs that run: ``[{"id", "name", "attempt", "time_start", "hostname", "worker_pid", …}]``."""
        return await self._ask("active")

    @io_method
    async def stats(self) -> dict[str, Any]:
        """Counters, concurrency, process id, uptime, memory, the lag of the loop."""
        return await self._ask("stats")

    @io_method
    async def registered(self, *taskinfoitems: str) -> dict[str, Any]:
        """The names of the tasks; with attributes such as ``rate_limit``, those too."""
        return await self._ask("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    @io_method
    async def scheduled(self, safe: bool | None = None) -> dict[str, Any]:
        """The next 100 jobs of each worker's queues that are not due yet; workers hold none themselves, as Celery's."""
        return await self._ask("scheduled")

    @io_method
    async def reserved(self, safe: bool | None = None) -> dict[str, Any]:
        """The jobs that a worker has claimed and not begun: only those for which it waits for the ledger."""
        return await self._ask("reserved")

    @io_method
    async def revoked(self) -> dict[str, Any]:
        """The ids of jobs that each worker was told to stop and that still run there."""
        return await self._ask("revoked")

    @io_method
    async def active_queues(self) -> dict[str, Any]:
        """The queues that a worker takes jobs of: ``[{"name", "weight"}]``."""
        return await self._ask("active_queues")

    @io_method
    async def query_task(self, *ids: str | Iterable[str]) -> dict[str, Any]:
        """Where these jobs run: ``{id: ["active", {…}]}``."""
        flat = [str(id_) for one in ids for id_ in ([one] if isinstance(one, str | UUID) else one)]
        return await self._ask("query_task", ids=flat)

    @io_method
    async def conf(self, with_defaults: bool = False) -> dict[str, Any]:
        """The configuration, without secrets."""
        return await self._ask("conf", with_defaults=with_defaults)

    @io_method
    async def report(self) -> dict[str, Any]:
        """Versions, in one text."""
        return await self._ask("report")

    @io_method
    async def clock(self) -> dict[str, Any]:
        """The workers' time, in seconds since 1970 (Celery: a logical clock)."""
        return await self._ask("clock")


def _ids(given: str | UUID | Iterable[str | UUID]) -> list[str]:
    return [str(given)] if isinstance(given, str | UUID) else [str(one) for one in given]


async def _replies(redis: Any, key: str, expected: int, timeout_s: float) -> Replies:
    replies: Replies = []
    deadline = time.monotonic() + timeout_s
    while len(replies) < expected and (left_s := deadline - time.monotonic()) > 0:
        answer = await redis.blpop([key], timeout=left_s)
        if answer is None:
            break
        replies.append(json.loads(answer[1]))
    return replies


async def _waiting(ledger: Any) -> list[UUID]:
    async with ledger.connection() as connection:
        rows = await connection.fetch(
            "SELECT id FROM decant_jobs WHERE state IN ('PENDING', 'RETRY') LIMIT $1", _PURGED_AT_ONCE
        )
    return [row["id"] for row in rows]


async def _purge_index(runtime: Any) -> int:
    """Take out of Redis what waits there; how many of these are nowhere else, so that this is their end."""
    redis, number = runtime.redis, 0
    async for key in redis.scan_iter(match=f"{_escaped(runtime.names.queue(''))}*", count=1000):
        ids = [one.decode() for one in await redis.zrange(key, 0, -1)]
        for start in range(0, len(ids), _READ_AT_ONCE):
            number += await _purge_some(runtime, key, ids[start : start + _READ_AT_ONCE])
    return number


async def _purge_some(runtime: Any, key: Any, ids: list[str]) -> int:
    redis = runtime.redis
    running, known = await asyncio.gather(
        redis.mget([f"arq:in-progress:{id_}" for id_ in ids]), redis.mget([f"arq:job:{id_}" for id_ in ids])
    )
    waiting = {id_: job for id_, holder, job in zip(ids, running, known, strict=True) if holder is None}
    durable = [id_ for id_, job in waiting.items() if job is not None and is_durable(job)]
    alone = sum(job is not None for job in waiting.values()) - len(durable)  # without a definition: revoked before
    for id_ in await _not_ended(runtime.ledger, durable):  # asked for meanwhile
        del waiting[id_]
    if waiting:
        await asyncio.gather(redis.zrem(key, *waiting), redis.delete(*(f"arq:job:{id_}" for id_ in waiting)))
    return alone


async def _not_ended(ledger: Any, ids: list[str]) -> list[str]:
    if ledger is None or not ids:
        return []
    query = "SELECT id FROM decant_jobs WHERE id = ANY($1::uuid[]) AND finished IS NULL"
    async with ledger.connection() as connection:
        return [str(row["id"]) for row in await connection.fetch(query, ids)]


def _escaped(pattern: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in pattern)
