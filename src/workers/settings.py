"""arq's settings: the jobs, their schedule, and Redis, all from the application's own settings.

Without ``REDIS_URL`` or ``DATABASE_URL`` the worker shares the embedded servers of ``DATA_DIR`` with the web process.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any, ClassVar

from arq import cron
from arq.connections import ArqRedis
from arq.cron import CronJob
from redis.asyncio import ConnectionPool

from app import create_app

from .jobs.drain import drain_clicks, forget_batches
from .running import in_app, start, stop
from .serializer import decode, encode

__all__ = ["WorkerSettings"]

_app = create_app()
_SOCKET_TIMEOUT_S = 5.0  # of arq's own commands, none of which blocks; it has none by default


def _lazy_redis() -> ArqRedis:
    """arq's client; it connects at its first command, so that the worker's supervisor sees why it cannot."""
    pool = ConnectionPool.from_url(
        _app.config["REDIS_URL"],
        socket_timeout=_SOCKET_TIMEOUT_S,
        socket_connect_timeout=_SOCKET_TIMEOUT_S,
        max_connections=50,
    )
    return ArqRedis(pool_or_conn=pool, job_serializer=encode, job_deserializer=decode)


class WorkerSettings:
    """What arq reads."""

    cron_jobs: ClassVar[list[CronJob]] = [
        cron(in_app(drain_clicks), second=set(range(0, 60, 2)), run_at_startup=True, timeout=60, keep_result=0),
        cron(in_app(forget_batches), hour=3, minute=17, timeout=60, keep_result=0),
    ]
    redis_pool = _lazy_redis()
    job_serializer = staticmethod(encode)
    job_deserializer = staticmethod(decode)
    on_startup = staticmethod(start)
    on_shutdown = staticmethod(stop)
    ctx: ClassVar[dict[Any, Any]] = {"app": _app}
    timezone = UTC
    job_completion_wait = 10  # seconds in which running jobs may end after SIGTERM
    log_results = False
