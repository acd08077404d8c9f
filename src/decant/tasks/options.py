"""What a task is declared with, and what a call of it says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from fnmatch import fnmatchcase
from typing import Any, Final

from ..errors import ConfigError
from ..warn import warn
from .errors import QueueNotFound

__all__ = [
    "IGNORED_OPTIONS",
    "TaskOptions",
    "at",
    "attempts_of",
    "changed",
    "check_name",
    "check_queue",
    "declared",
    "per_second",
    "priority_of",
    "route",
]


@dataclass(slots=True, kw_only=True)
class TaskOptions:
    """The options of ``@tasks.task``; those of Celery's that a message broker needs are taken and have no effect.

    Times are in seconds. Where it says ``None``, ``tasks.conf`` decides.
    """

    bind: bool = False
    max_retries: int | None = 3
    default_retry_delay: float = 180
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: dict[str, Any] = field(default_factory=dict)
    retry_backoff: float = 0
    """The factor of the back-off; ``True`` is 1."""
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    time_limit: float | None = None
    soft_time_limit: float | None = None
    rate_limit: str | int | float | None = None
    expires: float | datetime | timedelta | None = None
    queue: str | None = None
    priority: int | None = None
    ignore_result: bool | None = None
    store_errors_even_if_ignored: bool | None = None
    acks_late: bool | None = None
    """``False``: a job whose worker dies is not begun again, but fails with ``WorkerLostError``."""
    reject_on_worker_lost: bool | None = None
    throws: tuple[type[BaseException], ...] = ()
    """Exceptions that are expected: logged without a traceback, and raised by ``get()`` as they are."""
    track_started: bool | None = None
    typing: bool = True
    """Whether ``delay`` checks the arguments against the function's signature."""
    trail: bool = True
    send_events: bool = True
    # ours
    durable: bool | None = None
    """``False``: the job is in Redis only, faster, and lost with it."""
    process: bool = False
    """Run the function in a process of its own: for work that computes."""
    transaction: bool = False
    """The job ends in the transaction of its own database session: effects and end are committed at once."""
    max_attempts: int | None = None
    """How often a worker may die with a job of it."""


IGNORED_OPTIONS: Final = frozenset(
    (  # noqa: SIM905
        "serializer compression exchange exchange_type routing_key mandatory immediate delivery_mode acks_on_failure"
        " acks_on_timeout acks_on_failure_or_timeout resultrepr_maxsize Strategy Request lazy retry_on_worker_lost"
        " pydantic_strict pydantic_context pydantic_dump_kwargs backend from_config producer connection router reply_to"
        " add_to_parent chord"
    ).split()
)
_NAMES: Final = tuple(one.name for one in fields(TaskOptions))


def declared(task: str, given: Mapping[str, Any]) -> TaskOptions:
    """Checked options of a task.

    :raises ConfigError: if a value is wrong.
    :raises TypeError: for an option that does not exist.
    """
    known = {}
    for name, value in given.items():
        if name in _NAMES:
            known[name] = value
        elif name not in IGNORED_OPTIONS:
            raise TypeError(f"the task {task!r} has an unknown option: {name}={value!r}; known are {', '.join(_NAMES)}")
    options = TaskOptions(**known)
    for name in ("autoretry_for", "dont_autoretry_for", "throws"):
        setattr(options, name, _exceptions(f"{name} of {task}", getattr(options, name)))
    options.retry_backoff = float(options.retry_backoff or 0)
    _check(task, options)
    return options


def _exceptions(name: str, value: Any) -> tuple[type[BaseException], ...]:
    given = (value,) if isinstance(value, type) else tuple(value or ())
    if not all(isinstance(one, type) and issubclass(one, BaseException) for one in given):
        raise ConfigError(name, value, "classes of exceptions are allowed")
    return given


def changed(task: str, options: TaskOptions, name: str, value: Any) -> None:
    """Set one option of a task that is there already.

    :raises ConfigError: if the value is wrong; then nothing is set.
    """
    wanted = replace(options, **{name: value})
    _check(task, wanted)
    setattr(options, name, getattr(wanted, name))


def _check(task: str, options: TaskOptions) -> None:
    for name in ("time_limit", "soft_time_limit", "default_retry_delay", "retry_backoff", "retry_backoff_max"):
        value = getattr(options, name)
        if value is not None and (not isinstance(value, int | float) or value < 0):
            raise ConfigError(f"{name} of {task}", value, "seconds, at least 0, are allowed")
    if options.max_retries is not None and (not isinstance(options.max_retries, int) or options.max_retries < 0):
        raise ConfigError(f"max_retries of {task}", options.max_retries, "an integer, at least 0, or None is allowed")
    if options.priority is not None:
        priority_of(options.priority, f"priority of {task}")
    attempts_of(options.max_attempts, f"max_attempts of {task}")
    per_second(options.rate_limit, f"rate_limit of {task}")
    soft, hard = options.soft_time_limit, options.time_limit
    if soft and hard and soft > hard:
        raise ConfigError(f"soft_time_limit of {task}", soft, f"at most its time_limit of {hard} s is allowed")
    try:
        at("expires", options.expires, UTC, datetime.now(UTC))
    except ValueError as error:
        raise ConfigError(f"expires of {task}", options.expires, "seconds, a timedelta or a datetime") from error
    if options.process and options.transaction:
        raise ConfigError(f"transaction of {task}", True, "a process has no part in the worker's database session")


def priority_of(value: Any, name: str = "priority") -> int:
    """A priority: 0 to 9, where 9 comes first. (With Celery's Redis transport 0 comes first.)

    :raises ConfigError: if it is none.
    """
    if not isinstance(value, int) or not 0 <= value <= 9:
        raise ConfigError(name, value, "an integer, 0 to 9, is allowed; 9 comes first")
    return value


def attempts_of(value: Any, name: str = "max_attempts") -> int | None:
    """How often workers may die with a job; ``None``: as ``tasks.conf`` says.

    :raises ConfigError: if it is no such number.
    """
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(name, value, "an integer, at least 1, is allowed")
    return value


_LONGEST_NAME: Final = 255
_NO_NAME: Final = re.compile("[\0\ud800-\udfff]")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*([smh])\s*)?")


def per_second(limit: str | int | float | None, name: str = "rate_limit") -> float:
    """Starts per second of ``"10/s"``, ``"100/m"``, ``"5/h"``, or a number, which is per second; 0 is no limit.

    >>> per_second("30/m")
    0.5

    :raises ConfigError: naming the value, if it is none of these.
    """
    if limit is None or limit == "":
        return 0.0
    match = _RATE.fullmatch(str(limit))
    if match is None or isinstance(limit, bool):
        raise ConfigError(name, limit, 'a number per second, or one of "10/s", "100/m", "5/h", is needed')
    return float(match[1]) / _SECONDS[match[2] or "s"]


def at(name: str, value: Any, zone: tzinfo, now: datetime) -> datetime | None:
    """The time, in UTC, for seconds from now, a timedelta, a datetime (naive: in ``zone``) or an ISO text.

    :raises ValueError: for anything else.
    """
    if value is None:
        return None
    with suppress(ValueError, OverflowError):  # a text that is no time, or a time that no calendar has
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(found, datetime):
            return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).astimezone(UTC)
        if isinstance(found, timedelta):
            return now + found
        if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
            return now + timedelta(seconds=found)
    raise ValueError(f"{name} is {value!r}: seconds, a timedelta or a datetime are allowed")


# -- routes --------------------------------------------------------------------------------------------------------


def route(routes: Any, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any) -> dict[str, Any]:
    """What ``task_routes`` says of a call: ``{"queue": …, "priority": …}`` or less.

    Routes are Celery's: ``{"feed.*": {"queue": "feeds"}}``, ``{"feed.tasks.one": "feeds"}``, patterns compiled by
    ``re``, a function ``(name, args, kwargs, options, task=None, **kw)``, or a list of them; the first that answers.
    """
    for router in routes if isinstance(routes, list | tuple) else [routes]:
        if router is None:
            continue
        if callable(router):
            found = router(name, args, kwargs, options, task=task)
        elif isinstance(router, Mapping):
            found = _of_mapping(router, name)
        else:  # a pair of pattern and route
            found = _of_mapping(dict([router]), name)
        if found:
            return {"queue": found} if isinstance(found, str) else _understood(found)
    return {}


def _of_mapping(routes: Mapping[Any, Any], name: str) -> Any:
    if name in routes:
        return routes[name]
    for pattern, found in routes.items():
        if isinstance(pattern, str):
            if fnmatchcase(name, pattern):
                return found
        elif pattern.match(name):
            return found
    return None


def _understood(found: Mapping[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in found.items() if key in ("queue", "priority", "durable")}
    if "queue" not in result and "routing_key" in found:
        warn(f"task_routes: routing_key={found['routing_key']!r} has no effect, say queue=…")
    if "queue" in result:
        result["queue"] = getattr(result["queue"], "name", result["queue"])
    return result


def check_name(what: str, name: Any) -> str:
    """The name of a task or a queue, if PostgreSQL takes it: one that it refuses would fail others in its batch.

    :raises ConfigError: if it does not.
    """
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or _NO_NAME.search(name):
        shown = name[:80] if isinstance(name, str) else name
        raise ConfigError(what, shown, f"a name of at most {_LONGEST_NAME} characters is allowed, without NUL")
    return name


def check_queue(queue: str, queues: Mapping[str, Any] | None, create: bool, default: str) -> str:
    """The queue, if it may be used.

    :raises QueueNotFound: if ``task_queues`` has other names only and ``task_create_missing_queues`` is off.
    """
    check_name("queue", queue)
    if not create and queues is not None and queue != default and queue not in queues:
        raise QueueNotFound(f"{queue!r} is not in task_queues: {', '.join(queues)}")
    return queue
