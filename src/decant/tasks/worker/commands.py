"""The server side of the control channel: what a worker answers, and what it can be told."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from .claims import CONNECTION_ERRORS

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Commands"]

Arguments = dict[str, Any]
_AT_ONCE: Final = 100
_DEADLINE_S: Final = 5.0
_REPLIES_S: Final = 60
_SCHEDULED: Final = 100
_SECRET: Final = ("url", "password", "secret", "token", "key")
logger = logging.getLogger("decant.worker")


class Commands:
    """Handles the messages of ``<prefix>:control``. A message that cannot be read or obeyed is logged, and answered if
    it asks for answers; it never ends the worker.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._tasks: set[asyncio.Task[None]] = set()
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        own = {"handle", "aclose"}
        self._known: dict[str, Callable[[Arguments], Any]] = {
            name: getattr(self, name) for name in names if name not in own
        }

    def handle(self, data: bytes) -> None:
        """Obey a message; at most 100 at once, more are dropped."""
        try:
            message = json.loads(data)
            destination = message.get("destination")
            command, arguments = str(message["command"]), dict(message.get("arguments") or {})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("a control message of %d bytes cannot be read: %r", len(data), error)
            return
        if destination is not None and not {self.service.id, self.service.name} & set(_texts(destination)):
            return
        if len(self._tasks) >= _AT_ONCE:
            logger.warning("the control message %s is dropped: %d others are being obeyed", command, _AT_ONCE)
            return
        task = asyncio.create_task(self._obey(command, arguments, message.get("reply_to")))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Let the last answers out."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=1.0)
            for task in late:
                task.cancel()

    async def _obey(self, command: str, arguments: Arguments, reply_to: object) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                answer = await self._answer(command, arguments)
                if isinstance(reply_to, str):
                    async with self.service.redis.pipeline(transaction=True) as pipeline:
                        pipeline.rpush(reply_to, json.dumps({self.service.id: answer}, default=str))
                        pipeline.expire(reply_to, _REPLIES_S)
                        await pipeline.execute()
        except (*CONNECTION_ERRORS, ValueError, TypeError) as error:
            logger.warning("the control message %s was not answered: %s: %s", command, type(error).__name__, error)

    async def _answer(self, command: str, arguments: Arguments) -> Any:
        function = self._known.get(command)
        if function is None:
            return {"error": f"no command {command!r}: there are {', '.join(sorted(self._known))}"}
        try:
            answer = function(arguments)
            return await answer if isawaitable(answer) else answer
        except CONNECTION_ERRORS:
            raise
        except Exception as error:
            logger.warning("the control message %s could not be obeyed: %s: %s", command, type(error).__name__, error)
            return {"error": f"{type(error).__name__}: {error}"}

    # -- questions -------------------------------------------------------------------------------------------------

    def ping(self, _: Arguments) -> Any:
        return {"ok": "pong"}

    def stats(self, _: Arguments) -> Any:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        state = self.service.duties.heartbeat.state()
        return {
            **state,
            "uptime": round(time.time() - state["started"], 1),
            "pool": {"max-concurrency": self.service.worker.max_jobs, "processes": [os.getpid()]},
            "total": {"all": state["processed"]},
            "rusage": {"utime": usage.ru_utime, "stime": usage.ru_stime, "maxrss": usage.ru_maxrss},
        }

    def active(self, _: Arguments) -> Any:
        return [self._told(job) for job in list(self.service.duties.running.active.values())]

    def _told(self, job: Any) -> dict[str, Any]:
        return {
            "id": str(job.id),
            "name": job.job.task,
            "type": job.job.task,
            "attempt": job.attempt,
            "time_start": job.started,
            "hostname": self.service.id,
            "worker_pid": os.getpid(),
            "acknowledged": False,
        }

    def registered(self, arguments: Arguments) -> Any:
        items = _texts(arguments.get("taskinfoitems") or ())
        names = sorted(name for name in self.service.tasks.tasks if not name.startswith("celery."))
        if not items:
            return names
        return [f"{name} [{_attributes(self.service.tasks.tasks[name], items)}]" for name in names]

    async def scheduled(self, _: Arguments) -> Any:
        now_ms, found = time.time() * 1000, []
        for queue in self.service.worker.queues:
            key = self.service.worker.key_of(queue)
            later = await self.service.redis.zrangebyscore(
                key, f"({now_ms}", "+inf", start=0, num=_SCHEDULED, withscores=True
            )
            ids = [id_.decode() for id_, _ in later]
            running = await self.service.redis.mget([f"arq:in-progress:{id_}" for id_ in ids]) if ids else []
            found += [
                {
                    "eta": datetime.fromtimestamp(score / 1000, UTC).isoformat(),
                    "priority": 6,
                    "request": {"id": id_, "delivery_info": {"routing_key": queue}},
                }
                for id_, (_, score), holder in zip(ids, later, running, strict=True)
                if holder is None  # one that runs has the end of its claim as its score
            ]
        return found

    def reserved(self, _: Arguments) -> Any:
        active = {str(id_) for id_ in self.service.duties.running.active}
        return [{"id": id_, "hostname": self.service.id} for id_ in self.service.worker.claimed if id_ not in active]

    def revoked(self, _: Arguments) -> Any:
        return [str(id_) for id_ in self.service.duties.leases.revoked]

    def active_queues(self, _: Arguments) -> Any:
        return [{"name": name, "weight": weight} for name, weight in self.service.worker.queues.items()]

    def query_task(self, arguments: Arguments) -> Any:
        wanted = set(_texts(arguments.get("ids") or ()))
        active = list(self.service.duties.running.active.values())
        return {str(job.id): ["active", self._told(job)] for job in active if str(job.id) in wanted}

    def conf(self, arguments: Arguments) -> Any:
        conf = self.service.runtime.conf
        shown = {key: conf[key] for key in conf} if arguments.get("with_defaults") else conf.changes()
        return {
            key: "********" if any(word in key.lower() for word in _SECRET) else value for key, value in shown.items()
        }

    def report(self, _: Arguments) -> Any:
        version = self.service.duties.heartbeat.state()["version"]
        return {"ok": f"quart-decant {version} · Python {platform.python_version()} · {platform.system()}"}

    def clock(self, _: Arguments) -> Any:
        return {"clock": time.time()}

    # -- orders ----------------------------------------------------------------------------------------------------

    async def abort(self, arguments: Arguments) -> Any:
        ids = _ids(arguments)
        stopped = [id_ for id_ in ids if await self._stop(id_)]
        return {"ok": f"{len(stopped)} of {len(ids)} run here and are stopped", "stopped": stopped}

    terminate = abort

    async def _stop(self, id_: str) -> bool:
        running = self.service.duties.running
        uuid = UUID(id_)
        if uuid not in running.active:
            return False
        logger.info("job %s is stopped: it was revoked", id_)
        self.service.duties.leases.revoked.add(uuid)
        answer = running.stop(uuid, "revoked")
        if isawaitable(answer):
            await answer
        return True

    async def revoke(self, arguments: Arguments) -> Any:
        if arguments.get("terminate"):
            return await self.abort(arguments)
        return {"ok": f"tasks {', '.join(_ids(arguments))} flagged as revoked"}

    def pause(self, _: Arguments) -> Any:
        self.service.pause()
        return {"ok": "paused"}

    def resume(self, _: Arguments) -> Any:
        self.service.resume()
        return {"ok": "resumed"}

    def shutdown(self, _: Arguments) -> Any:
        self.service.stop()
        return {"ok": "shutting down"}

    def run(self, arguments: Arguments) -> Any:
        concurrency = int(arguments["concurrency"])
        if concurrency < 1:
            raise ValueError(f"concurrency is at least 1, not {concurrency}")
        self.service.worker.max_jobs = concurrency
        self.service.worker.wake()
        return {"ok": f"up to {concurrency} jobs at once"}

    def pool_grow(self, arguments: Arguments) -> Any:
        return self.run({"concurrency": self.service.worker.max_jobs + int(arguments.get("n", 1))})

    def pool_shrink(self, arguments: Arguments) -> Any:
        return self.run({"concurrency": max(1, self.service.worker.max_jobs - int(arguments.get("n", 1)))})

    def rate_limit(self, arguments: Arguments) -> Any:
        name = self._task(arguments)
        self.service.duties.running.rates.set(name, arguments.get("rate_limit"))
        return {"ok": "new rate limit set successfully"}

    def time_limit(self, arguments: Arguments) -> Any:
        name = self._task(arguments)
        self.service.duties.running.limits.set(name, arguments.get("soft"), arguments.get("hard"))
        return {"ok": "time limits set successfully"}

    def _task(self, arguments: Arguments) -> str:
        name = str(arguments.get("task_name"))
        if name not in self.service.tasks.tasks:
            raise ValueError(f"no task is called {name!r} here")
        return name

    def add_consumer(self, arguments: Arguments) -> Any:
        queue = arguments["queue"]
        self.service.worker.queues.add(queue, arguments.get("weight", 1))
        self.service.worker.wake()
        return {"ok": f"add consumer {queue}"}

    def cancel_consumer(self, arguments: Arguments) -> Any:
        self.service.worker.queues.remove(str(arguments["queue"]))
        return {"ok": f"no longer consuming from {arguments['queue']}"}

    def enable_events(self, _: Arguments) -> Any:
        self.service.duties.recorder.sends = True
        return {"ok": "task events enabled"}

    def disable_events(self, _: Arguments) -> Any:
        self.service.duties.recorder.sends = False
        return {"ok": "task events disabled"}


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, Iterable) else []


def _ids(arguments: Arguments) -> list[str]:
    for name in ("task_id", "task_ids", "ids", "id"):
        if name in arguments:
            return [str(UUID(id_)) for id_ in _texts(arguments[name])]
    raise ValueError("task_id is missing")


def _attributes(task: Any, names: list[str]) -> str:
    options = getattr(task, "options", task)
    return ", ".join(f"{name}={getattr(options, name, None)}" for name in names)
