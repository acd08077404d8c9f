"""``run_job``: the function of arq's that every task goes through."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import arq

from ...errors import Overloaded, Unavailable
from .. import signals
from .attempt import Attempt
from .books import Alone, Durable
from .hooks import heard
from .state import Running, running_of

__all__ = ["run_job"]

logger = logging.getLogger("decant.tasks")
_WIND_UP_S: Final = 30.0
_REVOKED: Final = frozenset({"revoked", "abort", "aborted", "terminate", "terminated"})


async def run_job(
    tasks: Any,
    app: Any,
    ctx: dict[Any, Any],
    name: str,
    id: str,  # noqa: A002
    payload: bytes | None = None,
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Run a job of the task ``name`` on behalf of a worker: begin it, unless it is another's, and see to its end.

    When the worker cancels this, the reason counts that it gives to ``cancel()``: with ``"lost"`` nothing is written,
    with ``"revoked"`` the job ends so; otherwise it is given back.

    :param ctx: arq's: ``worker``, ``lease_s`` and ``recorder``, if it is one of ours.
    :param payload: of a job that is not durable; ``extras`` what else a worker has to know of it.
    :raises arq.Retry: if it is to be brought again after a while.
    :raises asyncio.CancelledError: after it was cancelled.
    """
    running = running_of(tasks, app, ctx)
    alone = None if payload is None else Alone(running, ctx)
    await _wait_for_turn(running, alone, name, id)
    job = _Job(running, ctx)
    work = asyncio.create_task(job.run(name, UUID(id), alone, payload or b"", dict(extras or {})))
    try:
        await _end_of(work)
    except asyncio.CancelledError as cancelled:
        await _stopped(running, job, work, str(cancelled.args[0]) if cancelled.args else "")
        raise
    again_s = work.result()
    if again_s is not None:
        raise arq.Retry(defer=again_s)


def _end_of(work: asyncio.Task[Any]) -> asyncio.Future[None]:
    """Done when it is, and cancelled without it: ``asyncio.wait`` takes three times as long for the same."""
    ended: asyncio.Future[None] = work.get_loop().create_future()

    def end(_: object) -> None:
        if not ended.done():
            ended.set_result(None)

    work.add_done_callback(end)
    return ended


async def _wait_for_turn(running: Running, alone: Alone | None, name: str, id_: str) -> None:
    """The rate limit, before the job is begun.

    :raises arq.Retry: if it is not its turn.
    """
    task = running.tasks.tasks.get(name)
    if task is None or running.conf.worker_disable_rate_limits:
        return
    limit = task.options.rate_limit
    delay_s = running.rates.delay(name, running.conf.task_default_rate_limit if limit is None else limit, id_)
    if delay_s:
        if alone is not None:
            await alone.uncount(UUID(id_))
        raise arq.Retry(defer=delay_s)


class _Job:
    """A job before and after it is known to be ours."""

    def __init__(self, running: Running, ctx: dict[Any, Any]) -> None:
        self.running, self.ctx = running, ctx
        self.attempt: Attempt | None = None
        self.reason: str | None = None

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self.attempt is not None:
            self.attempt.stop(reason)

    async def run(
        self, name: str, id_: UUID, alone: Alone | None, payload: bytes, extras: dict[str, Any]
    ) -> float | None:
        """Seconds after which it is to be brought again, or ``None``."""
        books: Alone | Durable = alone or Durable(self.running)
        try:
            if isinstance(books, Alone):
                claimed = books.claim(name, id_, payload, extras)
            else:
                found = await books.claim(id_)
                if found is None:
                    return None
                claimed = found
        except (Unavailable, Overloaded) as error:
            logger.warning("job %s cannot be begun now, and is not lost: %s", id_, error)
            return random.uniform(1, 5)
        self.attempt = Attempt(self.running, books, claimed, self.ctx.get("recorder"))
        if self.reason is not None:
            self.attempt.stop(self.reason)
        try:
            return await self.attempt.run()
        except Exception as error:
            await _internal(self.attempt, error)
            return None


async def _internal(attempt: Attempt, error: Exception) -> None:
    """Nothing but a mistake of ours leads here; the job is begun again when its lease has ended."""
    logger.exception("job %s was not run properly, and is left to the sweeper", attempt.id)
    await heard(
        signals.task_internal_error,
        attempt.task,
        task_id=str(attempt.id),
        args=attempt.envelope.args,
        kwargs=attempt.envelope.kwargs,
        request=attempt.request,
        exception=error,
        traceback=error.__traceback__,
        einfo=None,
    )


async def _stopped(running: Running, job: _Job, work: asyncio.Task[Any], reason: str) -> None:
    """Stop it and see that it is written up; at a second cancellation, or after 30 s, it goes on without us."""
    job.stop("lost" if reason == "lost" else "revoked" if reason in _REVOKED else "stopping")
    running.left_behind.add(work)
    work.add_done_callback(running.left_behind.discard)
    await asyncio.wait([work], timeout=_WIND_UP_S)
    if work.done() and not work.cancelled() and (error := work.exception()) is not None:
        logger.error("a job that was stopped ended badly", exc_info=error)
