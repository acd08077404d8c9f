"""What every worker does besides running jobs, ours and arq's stock one: leases, sweeping, heartbeat, schedule."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from ..beat.ticker import Ticker
from ..events import Recorder
from ..running.state import running_of
from ..signals import heartbeat_sent
from .claims import Claim, Claims
from .heartbeat import INTERVAL_S, Heartbeat
from .leases import Leases
from .loops import Loops
from .minutes import Minutes
from .sweeper import Sweeper

__all__ = ["Duties", "new_worker_id"]

_STATS_S: Final = 5.0
_SWEEP_S: Final = 1.0
_PRUNE_S: Final = 60.0
_LAST_WORDS_S: Final = 2.0


def new_worker_id(name: str | None = None) -> str:
    """``<name or host>:<pid>:<six letters>``: no two processes share one, not even after each other."""
    return f"{name or socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


class Duties:
    """Started after the application, ended before it.

    :param redis: the worker's client, with socket timeouts.
    :param ctx: the worker's; gets ``tasks app worker lease_s recorder stopping``.
    :param describe: see :class:`.Heartbeat`.
    :param claimed: what was claimed in Redis; without it, what runs is looked up there (a stock worker's).
    :param queue: the key of the queue that a stock worker serves.
    """

    def __init__(
        self,
        tasks: Any,
        app: Any,
        redis: Any,
        ctx: dict[Any, Any],
        *,
        worker: str,
        name: str,
        describe: Callable[[], dict[str, Any]],
        claims: Claims,
        claimed: Callable[[], Iterable[Claim]] | None = None,
        queue: str = "",
    ) -> None:
        self.tasks, self.app, self.redis, self.worker = tasks, app, redis, worker
        self.runtime = runtime = tasks.runtime(app)
        conf = runtime.conf
        lease_s = float(conf.lease_s)
        self.recorder = Recorder(
            redis, runtime.names.events, worker, sends=conf.worker_send_task_events, keeps=conf.max_events
        )
        ctx.update(tasks=tasks, app=app, worker=worker, lease_s=lease_s, recorder=self.recorder)
        self.stopping: asyncio.Event = ctx.setdefault("stopping", asyncio.Event())
        self.running = running_of(tasks, app, ctx)
        self.minutes = Minutes(runtime.ledger, worker)
        self.recorder.listen(self.minutes.note)
        self.heartbeat = Heartbeat(redis, runtime.names.worker(worker), worker, name, describe)
        self.sweeper = Sweeper(runtime, redis, self.recorder, conf.result_expires_s)
        self.leases = Leases(
            runtime.ledger,
            claims,
            worker,
            lease_s,
            active=lambda: list(self.running.active.values()),
            claimed=claimed or (lambda: [Claim(str(id_), queue, 0, None, 0) for id_ in self.running.active]),
            stop=self.running.stop,
            alone=claimed is not None,
        )
        self.loops = Loops()

    def start(self) -> None:
        """Begin all of them."""
        self.recorder.start()
        self.heartbeat.lag.start()
        self.recorder.record("worker-online")
        every = self.loops.every
        every(self.leases.lease_s / 3, self.leases.renew, "renewing leases")
        every(INTERVAL_S, self._beat, "the heartbeat")
        every(_STATS_S, self.minutes.write, "writing statistics")
        if self.runtime.ledger is not None:
            every(_SWEEP_S, self.sweeper.sweep, "sweeping")
            every(_PRUNE_S, self.sweeper.prune, "deleting old jobs")
        self.loops.keep(Ticker(self.tasks, self.app).run, "the schedule")

    async def _beat(self) -> None:
        state = await self.heartbeat.beat()
        counters = {key: state[key] for key in ("processed", "succeeded", "failed", "retried", "loop_lag_s")}
        self.recorder.record("worker-heartbeat", active=len(state["active"]), **counters)
        if heartbeat_sent:
            await heartbeat_sent.send(self.worker)

    async def aclose(self) -> None:
        """End them, with their last words, each within 2 s."""
        await self.loops.aclose()
        self.heartbeat.lag.stop()
        self.recorder.record("worker-offline")
        await asyncio.gather(*map(_briefly, (self.minutes.write, self.heartbeat.forget, self.recorder.aclose)))
        self.running.close()


async def _briefly(step: Callable[[], Any]) -> None:
    with suppress(Exception):  # whoever is away learns it by the lease, and the heartbeat's end
        async with asyncio.timeout(_LAST_WORDS_S):
            await step()
