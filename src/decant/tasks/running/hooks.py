"""Hooks and signals: what a project hears of its jobs. None of them changes what becomes of a job."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any

from ...bridge import Threads
from ..signals import Signal

__all__ = ["ExceptionInfo", "called", "heard", "hook", "is_own"]

logger = logging.getLogger("decant.tasks")


@dataclass(frozen=True, slots=True, eq=False)
class ExceptionInfo:
    """Celery's ``einfo``: an exception, its class, and its traceback as text, which is also its ``str()``."""

    type: type[BaseException]
    exception: BaseException
    traceback: str
    tb: TracebackType | None

    @classmethod
    def of(cls, error: BaseException) -> ExceptionInfo:
        """That of an exception that was raised."""
        return cls(type(error), error, "".join(traceback.format_exception(error)), error.__traceback__)

    def __str__(self) -> str:
        return self.traceback


async def hook(threads: Threads, task: Any, name: str, *args: Any) -> None:
    """Call a task's hook, in a thread if it is a plain function; what it raises is logged."""
    if not is_own(task, name):
        return
    try:
        await called(threads, getattr(task, name), *args)
    except Exception:
        logger.exception("%s of the task %s failed", name, task.name)


def is_own(task: Any, name: str) -> bool:
    """Whether the project has a hook of that name, or it is the empty one."""
    return getattr(getattr(task, name), "__module__", None) != "decant.tasks.task"


async def called(threads: Threads, method: Any, *args: Any) -> Any:
    """Call a user's function: on the loop if it is async, else in a thread."""
    if iscoroutinefunction(method):
        return await method(*args)
    return await threads.run(method, *args)


async def heard(signal: Signal, sender: Any, **named: Any) -> None:
    """Send a signal, if anyone listens."""
    if signal:
        await signal.send(sender, **named)
