"""``self.request``: what a task knows of the job that it runs for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from werkzeug.local import LocalProxy

__all__ = ["Context", "current", "current_request", "current_task", "pushed"]


_CHILDREN: Final = 1000


@dataclass(kw_only=True)
class Context:
    """Celery's ``Context``, with its names. ``retries`` counts the task's own, ``attempt`` all beginnings of the job.

    Without a job, where a task is called directly, ``called_directly`` is true and ``id`` is ``None``.
    """

    id: str | None = None
    task: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    attempt: int = 0
    """Which try of how many workers: 1, or more after a retry or the death of a worker."""
    rerun: bool = False
    """Whether a worker died with it before: what it does may be half done."""
    eta: datetime | None = None
    expires: datetime | None = None
    hostname: str | None = None
    """The id of the worker."""
    delivery_info: dict[str, Any] = field(default_factory=dict)
    """``{"routing_key": queue, "priority": …, "redelivered": …, "is_eager": …}``."""
    headers: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    group_index: int | None = None
    chord: dict[str, Any] | None = None
    chain: list[dict[str, Any]] = field(default_factory=list)
    """The signatures that come after this task, the next one first (in Celery: the last)."""
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    errbacks: list[dict[str, Any]] = field(default_factory=list)
    called_directly: bool = True
    is_eager: bool = False
    ignore_result: bool = False
    time_limit: float | None = None
    soft_time_limit: float | None = None
    request_id: str | None = None
    """Of the HTTP request that asked for the job."""
    origin: str | None = None
    shadow: str | None = None
    utc: bool = True
    stamps: dict[str, Any] = field(default_factory=dict)
    stamped_headers: list[str] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    replaced_task_nesting: int = 0
    reply_to: str | None = None
    taskset: str | None = None
    loglevel: int | None = None
    logfile: str | None = None
    progress: Any = None
    """Where ``update_state`` goes: an object with ``set(state, meta)``, the worker's."""

    @property
    def task_id(self) -> str | None:
        """``id``."""
        return self.id

    @property
    def correlation_id(self) -> str | None:
        """``id``, as in Celery's messages."""
        return self.id

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """``(time_limit, soft_time_limit)``, in seconds."""
        return self.time_limit, self.soft_time_limit

    @property
    def children(self) -> list[str]:
        """The ids of the jobs that this one has asked for so far, the first 1,000 of them."""
        return self._children

    def asked_for(self, ids: Iterable[str]) -> None:
        """Note more :attr:`children`."""
        self._children += islice(ids, _CHILDREN - len(self._children))

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dictionary."""
        return getattr(self, key, default)

    def __post_init__(self) -> None:
        self._children: list[str] = []


_current: Final[ContextVar[tuple[Any, Context] | None]] = ContextVar("decant.tasks.current", default=None)


def current() -> tuple[Any, Context] | None:
    """The task that runs here and its context; ``None`` outside of one."""
    return _current.get()


def current_request(task: Any = None) -> Context:
    """The context of the job that runs here, if it is one of ``task``; else one that says it was called directly."""
    found = _current.get()
    if found is None or (task is not None and found[0].name != task.name):
        return Context()
    return found[1]


@contextmanager
def pushed(task: Any, context: Context) -> Iterator[Context]:
    """Make ``task`` the current one, and ``context`` its request, for the code within."""
    token = _current.set((task, context))
    try:
        yield context
    finally:
        _current.reset(token)


def _task() -> Any:
    found = _current.get()
    return None if found is None else found[0]


current_task: Any = LocalProxy(_task)
"""The task that runs here; as Celery's, it is ``None`` (and false) outside of one."""
