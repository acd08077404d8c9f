"""What a worker process does: one job after another, told and answered through a pipe, until its parent has gone.

Messages are pickled, between a parent and its own child only. The parent sends a :class:`Call`; the child answers with
``("taken",)``, any number of ``("progress", state, meta)``, and ``("end", value, error, traceback)``.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from werkzeug.local import LocalProxy

from ... import bridge
from ...faces import twin_of
from ...processes import end_with_parent
from .. import signals
from ..errors import InvalidTaskError, SoftTimeLimitExceeded, TaskError
from ..extension import Tasks
from ..request import Context, pushed
from ..shared import current_tasks
from ..task import Task
from .functions import prepared
from .limits import SoftThread, Stopper

__all__ = ["Call", "find", "main"]

logger = logging.getLogger("decant.tasks")


@dataclass(slots=True)
class Call:
    """A call of a task's function, which the child finds in ``module`` by its ``qualname``."""

    module: str
    qualname: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    task: str = ""
    """The name of the task, if it is one and not just a function."""
    request: Context | None = None
    """What ``self.request`` is in the child."""


def find(module: str, qualname: str) -> Any:
    """What a module calls so: the task itself, where its function was decorated.

    :raises InvalidTaskError: if it is not there, as what is defined in a function is not.
    """
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
        if found is None:
            raise InvalidTaskError(
                f"{qualname} is not to be found in the module {module}, so it cannot run in a process: define it at the"
                " top of a module, under the name that it keeps there"
            )
    return found


def _task(call: Call) -> Task:
    """The task: what its module has under the name of its function, or whoever is registered under its own."""
    found = twin_of(find(call.module, call.qualname))
    if isinstance(found, LocalProxy):
        found = twin_of(found._get_current_object())
    if isinstance(found, Task) and found.name == call.task:
        return found
    return current_tasks().tasks[call.task]


class _Progress:
    """As :class:`.Progress`, on the other end of the pipe."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        self.set = send


@contextmanager
def _prepared(call: Call, progressed: Callable[[str, Any], None]) -> Iterator[Callable[[], Any]]:
    """The function with its arguments, in whose time its task is the current one."""
    if not call.task:
        yield partial(find(call.module, call.qualname), *call.args, **call.kwargs)
        return
    task, request = _task(call), call.request or Context()
    request.progress = _Progress(progressed)
    with pushed(task, request):
        yield prepared(task, call.args, call.kwargs)


class _Child:
    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.soft: SoftThread | None = None
        self.stopper: Stopper | None = None
        self.soft_due = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lock = threading.Lock()  # a task may report its progress from a thread of its own

    def serve(self) -> None:
        while True:
            try:
                work = self.pipe.recv_bytes()
                self.soft_due = False  # what came late for the job before
                self.send(("taken",))
            except (EOFError, OSError):
                return
            answer = self.answer(work)
            with self.lock:
                self.pipe.send_bytes(answer)

    def send(self, message: tuple[Any, ...]) -> None:
        with self.lock:
            self.pipe.send_bytes(ForkingPickler.dumps(message))

    def answer(self, work: bytes) -> bytes:
        try:
            call = pickle.loads(work)  # from our parent  # noqa: S301
            value = self.called(call)
        except BaseException as error:  # belongs to who asks for the result
            return _told(error, traceback.format_exc())
        try:
            return bytes(ForkingPickler.dumps(("end", value, None, "")))
        except Exception as error:
            told = f"what {call.qualname} returned cannot be sent from its process: {type(error).__name__}: {error}"
            return _told(TaskError(told), "")

    def called(self, call: Call) -> Any:
        try:
            self.soft = SoftThread()
            if self.soft_due:
                raise SoftTimeLimitExceeded
            with _prepared(call, self.progressed) as function:
                value = self.soft.call(function)
                return bridge.wait(self.awaited(value)) if isawaitable(value) else value
        finally:
            self.soft = self.stopper = None

    def progressed(self, state: str, meta: Any) -> None:
        """What ``self.update_state`` said."""
        self.send(("progress", state, meta))

    async def awaited(self, value: Awaitable[Any]) -> Any:
        self.loop, self.stopper = asyncio.get_running_loop(), Stopper()
        return await asyncio.create_task(self.stopper.run(self.stopper.limited(bridge.bridged(value))))

    def soften(self, *_: Any) -> None:
        """SIGUSR1: the soft time limit of what runs now has passed."""
        if self.stopper is not None and self.loop is not None:
            self.loop.call_soon_threadsafe(self.stopper.soften)
        elif self.soft is not None and self.soft.waits and self.soft.loop is not None:
            self.soft.loop.call_soon_threadsafe(self.soft.fire)
        elif self.soft is not None:
            raise SoftTimeLimitExceeded
        else:
            self.soft_due = True


def _told(error: BaseException, text: str) -> bytes:
    try:
        answer = bytes(ForkingPickler.dumps(("end", None, error, text)))
        pickle.loads(answer)  # an exception may be pickled, and then not be made again  # noqa: S301
    except Exception:
        return bytes(ForkingPickler.dumps(("end", None, TaskError(f"{type(error).__name__}: {error}"), text)))
    return answer


def _owner() -> Tasks:
    """Somebody whose the shared tasks are, where nothing else was imported."""
    try:
        return current_tasks()
    except RuntimeError:
        return Tasks(set_as_current=False)


def main(pipe: Connection, modules: Iterable[str] = ()) -> None:
    """Serve; ``modules`` are imported first, so that they can connect to ``worker_process_init``."""
    child = _Child(pipe)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the parent, which then ends this
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so is a supervisor's SIGTERM to the whole group
    signal.signal(signal.SIGUSR1, child.soften)
    threading.Thread(target=end_with_parent, daemon=True).start()
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # the job that needs it fails, and says why
            logger.exception("the module %s cannot be imported in a worker process", module)
    tasks = _owner()
    bridge.wait(signals.worker_process_init.send(sender=None))
    child.serve()
    bridge.wait(signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0))
    del tasks
