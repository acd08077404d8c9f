"""``worker_settings``: what ``arq workers.WorkerSettings`` and ``decant worker`` read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from arq.connections import ArqRedis
from arq.worker import Function, func
from redis.asyncio import BlockingConnectionPool

from ...errors import ConfigError
from ..beat.ticker import Ticker
from ..codec import decode_arq, encode_arq
from ..running.wrapper import run_job
from .claims import Claims
from .duties import Duties, new_worker_id
from .worker import RUN

__all__ = ["lazy_redis", "load_tasks", "start_app", "stop_app", "told", "worker_settings"]

_SOCKET_TIMEOUT_S: Final = 5.0  # of arq's own commands, none of which blocks; it has none by default
_CONNECTIONS: Final = 50
_CONCURRENCY: Final = 40  # about as many as there are threads for plain functions
_FOREVER: Final = timedelta(days=10)
_MANY: Final = 10**9
_TAKEN: Final = ("queue_name", "job_serializer", "job_deserializer", "redis_settings", "redis_pool", "allow_abort_jobs")


def worker_settings(tasks: Any, app: Any, **arq_options: Any) -> type:
    """A class of arq settings that runs the tasks of an application.

    ::

        WorkerSettings = worker_settings(tasks, app, cron_jobs=[...], max_jobs=50)

    ``decant worker workers:WorkerSettings`` builds our worker from it. ``arq workers.WorkerSettings`` builds arq's,
    over the same ledger, leases, sweeper and schedule: safe too, but slower to pick jobs up, of the default queue
    only, and without a control channel.

    :param app: a Quart application, which is started and shut down with the worker, or a Flask one.
    :param arq_options: what else arq's worker takes: ``functions`` and ``cron_jobs`` of one's own, ``max_jobs``,
        ``ctx``, ``on_startup``, ``timezone``. ``on_startup`` runs after the application's, ``on_shutdown`` before.
    :raises ConfigError: for an option that cannot be set here.
    """
    runtime = tasks.runtime(app)
    for taken in (
        "queue_name",
        "job_serializer",
        "job_deserializer",
        "redis_settings",
        "redis_pool",
        "allow_abort_jobs",
    ):
        if taken in arq_options:
            raise ConfigError(taken, arq_options[taken], "it comes from the application's TASKS_ settings")

    async def run(
        ctx: dict[Any, Any],
        name: str,
        id_: str,
        payload: bytes | None = None,
        extras: Any = None,
    ) -> None:
        await run_job(tasks, app, ctx, name, id_, payload, extras)

    ours = func(run, name=RUN, max_tries=_MANY, keep_result=0)
    stock = _Stock(tasks, app, arq_options.pop("on_startup", None), arq_options.pop("on_shutdown", None))
    attributes: dict[str, Any] = {
        "tasks": tasks,
        "app": app,
        "functions": [ours, *_functions(arq_options.pop("functions", ()))],
        "queue_name": runtime.names.queue(runtime.conf.task_default_queue),
        "redis_pool": lazy_redis(runtime),
        "job_serializer": staticmethod(encode_arq),
        "job_deserializer": staticmethod(decode_arq),
        "on_startup": staticmethod(stock.start),
        "on_shutdown": staticmethod(stock.stop),
        "job_timeout": _FOREVER,  # a task's own limits are the wrapper's business
        "keep_result": 0,
        "log_results": False,
        "max_jobs": runtime.conf.worker_concurrency or _CONCURRENCY,
        "job_completion_wait": int(runtime.conf.grace_s),
        "ctx": {"app": app, "tasks": tasks, **arq_options.pop("ctx", {})},
        "app_hooks": (stock.on_startup, stock.on_shutdown),
        **{name: staticmethod(value) if callable(value) else value for name, value in arq_options.items()},
    }
    return type("WorkerSettings", (), attributes)


def _functions(given: Any) -> list[Function]:
    return [func(one) for one in given]


def lazy_redis(runtime: Any) -> ArqRedis:
    """arq's client, at its own connections with timeouts; it connects at its first command."""
    pool = BlockingConnectionPool.from_url(
        runtime.redis.options.url,
        socket_timeout=_SOCKET_TIMEOUT_S,
        socket_connect_timeout=_SOCKET_TIMEOUT_S,
        max_connections=_CONNECTIONS,
        timeout=_SOCKET_TIMEOUT_S,
    )
    queue = runtime.names.queue(runtime.conf.task_default_queue)
    return ArqRedis(pool_or_conn=pool, job_serializer=encode_arq, job_deserializer=decode_arq, default_queue_name=queue)


async def start_app(app: Any) -> None:
    """The application's own start, of a Quart application; Flask's have none."""
    if hasattr(app, "startup"):
        await app.startup()


async def load_tasks(tasks: Any, app: Any) -> None:
    """Import the modules that define tasks, tell who waits for that, and see that the schedule names no others.

    :raises ConfigError: for an entry of ``beat_schedule`` that cannot run.
    """

    def read_files() -> None:
        tasks.import_modules()
        _ = tasks.runtime(app).conf.tz  # a file of the time zones'

    await asyncio.to_thread(read_files)
    await tasks.finalize()
    await Ticker(tasks, app).check()


async def stop_app(app: Any) -> None:
    """Close what the application has opened."""
    if hasattr(app, "shutdown"):
        await app.shutdown()


class _Stock:
    """``on_startup`` and ``on_shutdown`` for arq's own worker: the application, and a worker's duties."""

    def __init__(self, tasks: Any, app: Any, on_startup: Any, on_shutdown: Any) -> None:
        self.tasks, self.app = tasks, app
        self.on_startup, self.on_shutdown = on_startup, on_shutdown

    async def start(self, ctx: dict[Any, Any]) -> None:
        await load_tasks(self.tasks, self.app)
        await start_app(self.app)
        runtime = self.tasks.runtime(self.app)
        worker = new_worker_id()
        queue = runtime.conf.task_default_queue
        duties = ctx["duties"] = Duties(
            self.tasks,
            self.app,
            ctx["redis"],
            ctx,
            worker=worker,
            name=worker.partition(":")[0],
            describe=lambda: _described(duties, queue),
            claims=Claims(ctx["redis"], worker, runtime.names.wake),
            queue=runtime.names.queue(queue),
        )
        duties.start()
        if self.on_startup is not None:
            await self.on_startup(ctx)

    async def stop(self, ctx: dict[Any, Any]) -> None:
        if self.on_shutdown is not None:
            await self.on_shutdown(ctx)
        await ctx["duties"].aclose()
        await stop_app(self.app)


def _described(duties: Duties, queue: str) -> dict[str, Any]:
    return {"queues": {queue: 1}, "concurrency": 0, "paused": False, "stopping": False, **told(duties)}


def told(duties: Duties) -> dict[str, Any]:
    """What a heartbeat says of any worker's jobs."""
    totals = duties.minutes.totals
    active = [
        {"id": str(job.id), "task": job.job.task, "attempt": job.attempt, "started": job.started}
        for job in list(duties.running.active.values())
    ]
    return {"active": active, "processed": sum(totals.values()), **totals}
