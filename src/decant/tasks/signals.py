"""Celery's signals. Receivers may be ``async``; one that raises is logged and stops nothing.

As in Celery a receiver gets ``signal``, ``sender`` and what the signal says, by keyword, so it takes ``**kwargs``::

    @task_failure.connect
    async def report(sender=None, task_id=None, exception=None, **kwargs): ...

A plain function runs on the event loop, in the job's bridge: it may use the database and ``decant.wait``, and must
not block. ``sender`` of ``connect`` is a task or its name. Receivers are kept weakly unless ``weak=False``.
"""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Final

__all__ = [
    "Signal",
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "all_signals",
    "beat_embedded_init",
    "beat_init",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "heartbeat_sent",
    "setup_logging",
    "task_failure",
    "task_internal_error",
    "task_postrun",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_success",
    "task_unknown",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
]

logger: Final = logging.getLogger("decant.tasks")
_Receiver = Callable[..., Any]


class Signal:
    """One signal. ``providing_args`` are the keywords that receivers get."""

    def __init__(self, name: str, providing_args: str = "") -> None:
        self.name, self.providing_args = name, frozenset(providing_args.split())
        self._receivers: list[tuple[Any, Any, Callable[[], _Receiver | None]]] = []

    def __bool__(self) -> bool:
        """Whether anyone listens: what is sent to nobody need not be made."""
        return bool(self._receivers)

    def __repr__(self) -> str:
        return f"<Signal {self.name}>"

    def connect(
        self,
        receiver: _Receiver | None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
    ) -> Any:
        """Call ``receiver`` from now on; also a decorator, with or without arguments.

        :param sender: only for this one: a task, or a task's name.
        :param dispatch_uid: connects once only, however often this is called with it.
        :raises TypeError: for what is not callable, or does not take ``**kwargs``.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid)
        _check(receiver)
        uid = dispatch_uid if dispatch_uid is not None else receiver
        if not any(known == uid and of == sender for known, of, _ in self._living()):
            self._receivers.append(self._kept(receiver, sender, weak, dispatch_uid))
        return receiver

    def _kept(self, receiver: _Receiver, sender: Any, weak: bool, uid: Any) -> tuple[Any, Any, Callable[[], Any]]:
        if not weak:
            return uid, sender, lambda: receiver
        reference: Any = weakref.WeakMethod if inspect.ismethod(receiver) else weakref.ref
        return uid, sender, reference(receiver)

    def disconnect(self, receiver: _Receiver | None = None, sender: Any = None, dispatch_uid: Any = None) -> bool:
        """Stop calling ``receiver``, or what was connected with ``dispatch_uid``; returns whether it was connected."""
        uid = dispatch_uid if dispatch_uid is not None else receiver
        before = len(self._receivers)
        self._receivers = [
            entry
            for entry in self._receivers
            if (made := entry[2]()) is not None and not (uid in (entry[0], made) and entry[1] == sender)
        ]
        return len(self._receivers) < before

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether a signal of ``sender`` would be heard."""
        return any(_meant(of, sender) for _, of, _ in self._living())

    @property
    def receivers(self) -> list[_Receiver]:
        """Those that are connected."""
        return [made for _, _, reference in self._living() if (made := reference()) is not None]

    def _living(self) -> list[tuple[Any, Any, Callable[[], _Receiver | None]]]:
        living = [entry for entry in self._receivers if entry[2]() is not None]
        if len(living) < len(self._receivers):
            self._receivers = living
        return [(uid if uid is not None else kept(), sender, kept) for uid, sender, kept in living]

    async def send(self, sender: Any = None, **named: Any) -> list[tuple[_Receiver, Any]]:
        """Call the receivers one after another; returns each with what it returned, or the exception that it raised."""
        answers: list[tuple[_Receiver, Any]] = []
        if not self._receivers:
            return answers
        for _, of, reference in self._living():
            receiver = reference()
            if receiver is None or not _meant(of, sender):
                continue
            try:
                answer = receiver(signal=self, sender=sender, **named)
                answers.append((receiver, await answer if isawaitable(answer) else answer))
            except Exception as error:
                logger.exception("the receiver %r of the signal %s failed", receiver, self.name)
                answers.append((receiver, error))
        return answers

    send_robust = send


def _check(receiver: Any) -> None:
    if not callable(receiver):
        raise TypeError(f"a signal's receiver is a function, not {type(receiver).__name__}: {receiver!r}")
    parameters = inspect.signature(receiver).parameters.values()
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        raise TypeError(f"the receiver {receiver!r} must take **kwargs: signals may say more in a later version")


def _meant(wanted: Any, sender: Any) -> bool:
    if wanted is None or wanted is sender:
        return True
    names = [getattr(one, "name", one) for one in (wanted, sender)]  # tasks go by their names
    return isinstance(names[0], str) and names[0] == names[1]


before_task_publish: Final = Signal(
    "before_task_publish", "body exchange routing_key headers properties declare retry_policy"
)
after_task_publish: Final = Signal("after_task_publish", "body exchange routing_key headers")
task_received: Final = Signal("task_received", "request")
task_prerun: Final = Signal("task_prerun", "task_id task args kwargs")
task_postrun: Final = Signal("task_postrun", "task_id task args kwargs retval state")
task_success: Final = Signal("task_success", "result")
task_retry: Final = Signal("task_retry", "request reason einfo")
task_failure: Final = Signal("task_failure", "task_id exception args kwargs traceback einfo")
task_internal_error: Final = Signal("task_internal_error", "task_id args kwargs request exception traceback einfo")
task_revoked: Final = Signal("task_revoked", "request terminated signum expired")
task_rejected: Final = Signal("task_rejected", "message exc")
task_unknown: Final = Signal("task_unknown", "message exc name id")
celeryd_init: Final = Signal("celeryd_init", "instance conf options")
celeryd_after_setup: Final = Signal("celeryd_after_setup", "instance conf")
worker_init: Final = Signal("worker_init")
worker_process_init: Final = Signal("worker_process_init")
worker_process_shutdown: Final = Signal("worker_process_shutdown", "pid exitcode")
worker_ready: Final = Signal("worker_ready")
worker_shutdown: Final = Signal("worker_shutdown")
worker_shutting_down: Final = Signal("worker_shutting_down", "sig how exitcode")
worker_before_create_process: Final = Signal("worker_before_create_process")
heartbeat_sent: Final = Signal("heartbeat_sent")
setup_logging: Final = Signal("setup_logging", "loglevel logfile format colorize")
after_setup_logger: Final = Signal("after_setup_logger", "logger loglevel logfile format colorize")
after_setup_task_logger: Final = Signal("after_setup_task_logger", "logger loglevel logfile format colorize")
beat_init: Final = Signal("beat_init")
beat_embedded_init: Final = Signal("beat_embedded_init")

all_signals: Final[dict[str, Signal]] = {name: value for name, value in globals().items() if type(value) is Signal}
