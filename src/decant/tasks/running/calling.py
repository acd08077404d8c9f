"""Calling a task's function: on the loop, in a thread, or in a process; within its limits."""

from __future__ import annotations

import copy
from collections.abc import Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ..errors import TaskError
from . import hooks
from .child import Call
from .functions import prepared
from .limits import SoftThread
from .processes import ProcessJob

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["call"]


def call(attempt: Attempt) -> Coroutine[Any, Any, Any]:
    """What the function returns; ``before_start``, which is a part of it, has been called then.

    :raises Stopped: if it was stopped; and what it raises.
    """
    kind = attempt.task.kind
    return (_in_process if kind == "process" else _on_loop if kind == "async" else _in_thread)(attempt)


def _function(attempt: Attempt) -> Any:
    return prepared(attempt.task, attempt.envelope.args, attempt.envelope.kwargs)


async def _before(attempt: Attempt) -> None:
    task = attempt.task
    if hooks.is_own(task, "before_start"):
        request = attempt.request
        await hooks.called(attempt.running.threads, task.before_start, request.id, request.args, request.kwargs)


async def _on_loop(attempt: Attempt) -> Any:
    async def function() -> Any:
        await _before(attempt)
        value = _function(attempt)()
        return await value if isawaitable(value) else value

    return await attempt.stopper.limited(function())


async def _in_thread(attempt: Attempt) -> Any:
    threads, soft = attempt.running.threads, SoftThread(attempt.stopper.limits.soft_s)

    async def function() -> Any:
        await _before(attempt)
        work = _function(attempt)
        if soft.soft_s is None:
            value = await threads.run(work)
        else:
            value = await threads.run(soft.call, work)
        return await value if isawaitable(value) else value

    return await attempt.stopper.limited(function(), soft.fire)


async def _in_process(attempt: Attempt) -> Any:
    function, request = attempt.task.function, copy.copy(attempt.request)
    request.progress = None
    told = Call(
        function.__module__,
        function.__qualname__,
        tuple(attempt.envelope.args),
        attempt.envelope.kwargs,
        attempt.task.name,
        request,
    )
    try:
        job = ProcessJob(told, attempt.progress.set)
    except Exception as error:  # headers, say, that a receiver of a signal has changed
        raise TaskError(f"{told.qualname} cannot be sent to a process: {type(error).__name__}: {error}") from error

    async def run() -> Any:
        await _before(attempt)
        return await attempt.running.processes.run(job, attempt.stopper.start_timers)

    return await attempt.stopper.limited(run(), job.soften, timed=False)
