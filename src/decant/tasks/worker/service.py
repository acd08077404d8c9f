"""A worker from its start to its end: the application, the jobs, the duties beside them, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg
from arq.worker import get_kwargs

from ...errors import CommandError, ConfigError, Unavailable
from ..signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from .claims import CONNECTION_ERRORS
from .commands import Commands
from .duties import Duties, new_worker_id
from .ears import Ears
from .queues import Queues
from .settings import load_tasks, start_app, stop_app, told
from .worker import Worker

__all__ = ["Service", "run_worker", "working"]

_GIVE_BACK_S: Final = 5.0
_LAST_CLAIM_S: Final = 2.0
_MOMENT_S: Final = 1.0
_LEDGER_S: Final = 10.0
_OURS: Final = ("on_startup", "on_shutdown", "handle_signals", "job_completion_wait", "ctx", "max_jobs", "burst")
logger = logging.getLogger("decant.worker")


class Service:
    """One worker, from :func:`.settings.worker_settings`.

    :param queues: names and weights; by default ``task_queues``, else the default queue.
    :param concurrency: jobs at once; by default the settings' ``max_jobs``.
    :param grace_s: how long running jobs may go on once it is told to stop; by default
        ``worker_soft_shutdown_timeout`` if that is set, else ``TASKS_GRACE_S``.
    :param name: instead of the host's, for the control channel and the monitor.
    :param burst: end when nothing waits.
    :param starts_app: whether the application is started and shut down, too.
    :raises ConfigError: for a wrong one.
    """

    def __init__(
        self,
        settings: Any,
        *,
        queues: Queues | Mapping[str, int] | str | None = None,
        concurrency: int | None = None,
        grace_s: float | None = None,
        name: str | None = None,
        burst: bool | None = None,
        starts_app: bool = True,
    ) -> None:
        options: dict[str, Any] = dict(get_kwargs(settings))
        self.tasks, self.app = settings.tasks, settings.app
        self.runtime = self.tasks.runtime(self.app)
        conf, names = self.runtime.conf, self.runtime.names
        self.id = new_worker_id(name)
        self.name = self.id.rpartition(":")[0].rpartition(":")[0]
        self.grace_s = _grace_s(conf, grace_s)
        self.redis: Any = options["redis_pool"]
        self._hooks = settings.app_hooks
        self._starts_app = starts_app
        self.worker = Worker(
            queues=_queues(conf, queues),
            worker=self.id,
            wake=names.wake,
            lease_s=float(conf.lease_s),
            max_jobs=_concurrency(options.get("max_jobs"), concurrency),
            burst=bool(options.get("burst", False)) if burst is None else burst,
            ctx=dict(options.get("ctx") or {}),
            **{name: value for name, value in options.items() if name not in _OURS},
        )
        self.worker.key_of = names.queue
        self.duties = Duties(
            self.tasks,
            self.app,
            self.redis,
            self.worker.ctx,
            worker=self.id,
            name=self.name,
            describe=self._describe,
            claims=self.worker.claims,
            claimed=lambda: self.worker.claimed.values(),
        )
        self.commands = Commands(self)
        handlers = {names.wake: lambda _: self.worker.wake()}
        if conf.worker_enable_remote_control:
            handlers[names.control] = self.commands.handle
        self.ears = Ears(self.redis, handlers)
        self.ready, self._stop, self._stop_now = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def _describe(self) -> dict[str, Any]:
        return {
            "queues": dict(self.worker.queues),
            "concurrency": self.worker.max_jobs,
            "paused": self.worker.paused,
            "stopping": self._stop.is_set(),
            **told(self.duties),
        }

    # -- what it can be told ---------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop gracefully; said a second time, at once. What still runs then is given back."""
        (self._stop_now if self._stop.is_set() else self._stop).set()

    def pause(self) -> None:
        """Claim nothing more for now."""
        self.worker.paused = True

    def resume(self) -> None:
        self.worker.paused = False
        self.worker.wake()

    # -- its life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until told to stop, or in burst mode until nothing waits.

        :raises CommandError: if the application does not start.
        """
        async with self._started():
            main = asyncio.create_task(self.worker.main())
            stop = asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait([main, stop], return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.cancel()
                self._stop.set()
                await self._wind_down(main)
            if not main.cancelled():
                main.result()

    @asynccontextmanager
    async def _started(self) -> AsyncIterator[None]:
        await worker_init.send(self)
        await _reported(load_tasks(self.tasks, self.app), "the tasks cannot be loaded")
        if self._starts_app:
            await _reported(start_app(self.app), "the application did not start")
        try:
            await self._see_the_ledger()
            self.duties.start()
            self.duties.loops.keep(lambda: self.ears.listen(self.worker.wake), "listening to Redis")
            try:
                if self._hooks[0] is not None:
                    self.worker.ctx["redis"] = self.redis
                    await _reported(self._hooks[0](self.worker.ctx), "on_startup failed")
                with suppress(TimeoutError):  # it begins without Redis too
                    async with asyncio.timeout(_MOMENT_S):
                        await self.ears.subscribed.wait()
                logger.info(
                    "worker %s is ready: queues %r, up to %d jobs at once",
                    *(self.id, self.worker.queues, self.worker.max_jobs),
                )
                self.ready.set()
                await worker_ready.send(self)
                yield
            finally:
                await self._ended()
        finally:
            if self._starts_app:
                await _reported(stop_app(self.app), "the application did not shut down", raises=False)
            await self.redis.aclose(close_connection_pool=True)
            logger.info("worker %s has ended", self.id)

    async def _see_the_ledger(self) -> None:
        """Without its tables nothing can be run; a database that is away may come back."""
        if self.runtime.ledger is None:
            return
        try:
            async with asyncio.timeout(_LEDGER_S):
                await self.runtime.ledger.start()
        except asyncpg.UndefinedTableError as error:
            raise CommandError(
                f"the tables of the ledger are missing ({error}): migrate the database, with"
                " decant.tasks.ledger.tables.metadata among the metadata of migrations/env.py"
            ) from error
        except (Unavailable, *CONNECTION_ERRORS) as error:
            logger.warning("the ledger's database is away: %s", error)

    async def _ended(self) -> None:
        await self.worker.claims.aclose()
        await self.commands.aclose()
        if self._hooks[1] is not None:
            await _reported(self._hooks[1](self.worker.ctx), "on_shutdown failed", raises=False)
        await self.duties.aclose()
        await worker_shutdown.send(self)

    async def _wind_down(self, main: asyncio.Task[None]) -> None:
        """Claim nothing more, let jobs end within the grace time, and have the rest given back."""
        self.worker.end()
        self.duties.stopping.set()
        await worker_shutting_down.send(self.id, sig="SIGTERM", how="Warm", exitcode=0)
        await asyncio.wait([main], timeout=_LAST_CLAIM_S)
        while not main.done():  # one cancellation may be lost: wait_for of Python 3.11 drops it when its time is over
            main.cancel()
            await asyncio.wait([main], timeout=_LAST_CLAIM_S)
        await self._beat()
        jobs = list(self.worker.tasks.values())
        if jobs:
            logger.info("waiting up to %g s for %d running jobs", self.grace_s, len(jobs))
            now = asyncio.create_task(self._stop_now.wait())
            ended = asyncio.create_task(asyncio.wait(jobs))
            ends: list[asyncio.Task[Any]] = [ended, now]
            await asyncio.wait(ends, timeout=self.grace_s, return_when=asyncio.FIRST_COMPLETED)
            now.cancel()
            ended.cancel()
        await self._give_back([job for job in jobs if not job.done()])

    async def _beat(self) -> None:
        """Say that it stops."""
        try:
            async with asyncio.timeout(_MOMENT_S):
                await self.duties.heartbeat.beat()
        except CONNECTION_ERRORS as error:
            logger.debug("the heartbeat failed: %s: %s", type(error).__name__, error)

    async def _give_back(self, jobs: list[asyncio.Task[Any]]) -> None:
        if not jobs:
            return
        logger.warning("%d jobs still run: they are cancelled and given back", len(jobs))
        for job in jobs:
            job.cancel("stopping")
        _, late = await asyncio.wait(jobs, timeout=_GIVE_BACK_S)
        if late:
            logger.error("%d jobs do not end: they are run again when their leases have ended", len(late))


async def _reported(step: Any, what: str, *, raises: bool = True) -> None:
    try:
        await step
    except Exception as error:
        logger.exception("%s", what)
        if raises:
            raise CommandError(f"{what}: {type(error).__name__}: {error}") from error


def _queues(conf: Any, given: Queues | Mapping[str, int] | str | None) -> Queues:
    if isinstance(given, Queues):
        return given
    if isinstance(given, str):
        return Queues.parse(given)
    return Queues(given or conf.task_queues or {conf.task_default_queue: 1})


def _concurrency(configured: Any, given: int | None) -> int:
    chosen = configured if given is None else given
    if isinstance(chosen, bool) or not isinstance(chosen, int) or chosen < 1:
        raise ConfigError("concurrency", chosen, "at least 1 job at once")
    return chosen


def _grace_s(conf: Any, given: float | None) -> float:
    chosen = given if given is not None else conf.worker_soft_shutdown_timeout or conf.grace_s
    if isinstance(chosen, bool) or not isinstance(chosen, int | float) or not 0 <= chosen <= 86400:
        raise ConfigError("grace", chosen, "seconds, from 0 to 86400")
    return float(chosen)


async def run_worker(settings: Any, **options: Any) -> None:
    """Run a :class:`Service` until ``SIGTERM`` or ``SIGINT``; at a second one, it ends at once.

    :raises CommandError: if the application does not start.
    """
    service, loop = Service(settings, **options), asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, service.stop)
    try:
        await service.run()
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def working(settings: Any, **options: Any) -> AsyncIterator[Service]:
    """A worker in the running loop, for as long as the block runs; it listens when the block begins."""
    service = Service(settings, **options)
    running = asyncio.create_task(service.run())
    ready = asyncio.create_task(service.ready.wait())
    try:
        await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if running.done():
            running.result()
        yield service
    finally:
        service.stop()
        await running
