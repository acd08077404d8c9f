"""From the call of a task to jobs on their way: options are merged, arguments encoded, the runtime takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from .. import context
from . import signals
from .codec import Envelope, decode_envelope, encode_envelope, summarize
from .errors import OperationalError
from .ids import as_uuid, new_id
from .job import Group, Job
from .options import IGNORED_OPTIONS, at, attempts_of, check_name, check_queue, priority_of, route
from .request import current
from .settings import Conf

__all__ = ["Origin", "build", "origin", "submit"]

_OF_THE_WORKER: Final = ("time_limit", "soft_time_limit", "ignore_result", "shadow", "store_errors_even_if_ignored")
_KNOWN: Final = frozenset(_OF_THE_WORKER).union(
    (
        "task_id",
        "countdown",
        "eta",
        "expires",
        "queue",
        "priority",
        "link",
        "link_error",
        "chain",
        "headers",
        "durable",
    ),
    ("group_id", "group_index", "retries", "max_attempts", "retry", "retry_policy", "root_id", "parent_id"),
    ("stamped_headers", "stamps", "replaced_task_nesting"),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from: the job that makes it, and the HTTP request."""

    parent: UUID | None = None
    root: UUID | None = None
    request_id: str | None = None
    priority: int | None = None


def origin() -> Origin:
    """Of a call that is made here and now."""
    found = current()
    if found is None or found[1].id is None:
        return Origin(request_id=_request_id())
    task, request = found
    if not task.options.trail:
        return Origin(root=as_uuid(request.root_id or request.id), request_id=request.request_id)
    priority = request.delivery_info.get("priority")
    return Origin(as_uuid(request.id), as_uuid(request.root_id or request.id), request.request_id, priority)


def _request_id() -> str | None:
    if not context.has_request():
        return None
    with suppress(RuntimeError):
        given: str | None = context.current_request().headers.get("X-Request-ID")
        return given[:64] if given else None
    return None


def build(
    tasks: Any,
    name: str,
    args: Iterable[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
    where: Origin,
    *,
    conf: Conf | None = None,
) -> Job:
    """One job.

    ``options`` are those of ``apply_async``; ``link``, ``link_error`` and ``chain`` are lists of plain signatures.
    What they do not say, the task's declaration does, then ``task_routes``, then ``tasks.conf``.

    :raises TypeError: for an unknown option, or arguments that cannot be handed over.
    :raises ValueError: for a value that is wrong.
    """
    task, conf = tasks.registry.get(name), tasks.conf if conf is None else conf
    for option in options:
        if option not in _KNOWN and option not in IGNORED_OPTIONS:
            raise TypeError(f"apply_async() of {name} has an unknown option: {option}={options[option]!r}")
    given, named = (list(args), dict(kwargs)) if task is None else task.to_plain(args, kwargs)
    said = _merged(conf, task, name, given, named, options)
    now = datetime.now(UTC)
    eta = _eta(said, conf.tz, now)
    return Job(
        id=as_uuid(options["task_id"]) if options.get("task_id") else new_id(),
        task=name if task is not None else check_name("task", name),
        queue=check_queue(said["queue"], conf.task_queues, conf.task_create_missing_queues, conf.task_default_queue),
        payload=encode_envelope(_envelope(given, named, options), limit_bytes=conf.limit_bytes),
        priority=_priority(conf, said, where),
        eta=eta,
        expires=at("expires", said.get("expires"), conf.tz, now),
        max_attempts=_max_attempts(conf, said),
        retries=options.get("retries") or 0,
        durable=conf.durable and said["durable"] is not False,
        parent=_id(options.get("parent_id")) or where.parent,
        root=_id(options.get("root_id")) or where.root,
        group=_id(options.get("group_id")),
        group_index=options.get("group_index"),
        summary=summarize(given, named),
        request_id=where.request_id,
    )


def _id(value: Any) -> UUID | None:
    return None if value is None else as_uuid(value)


_MERGED: Final = ("queue", "priority", "expires", "durable", "max_attempts", "acks_late", "reject_on_worker_lost")


def _merged(
    conf: Conf, task: Any, name: str, args: list[Any], kwargs: dict[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    said = {key: getattr(task.options, key) for key in _MERGED} if task is not None else dict.fromkeys(_MERGED)
    given = {key: value for key, value in options.items() if value is not None or key == "expires"}
    said |= given
    if conf.task_routes:
        found = route(conf.task_routes, name, args, kwargs, options, task)
        said |= {key: value for key, value in found.items() if said.get(key) is None}
    queue = said["queue"]
    said["queue"] = conf.task_default_queue if queue is None else getattr(queue, "name", queue)
    return said


def _eta(said: Mapping[str, Any], zone: Any, now: datetime) -> datetime | None:
    countdown, eta = said.get("countdown"), said.get("eta")
    if countdown is not None and eta is not None:
        raise ValueError("countdown and eta are two ways to say when: give one of them")
    return at("countdown", countdown, zone, now) if countdown is not None else at("eta", eta, zone, now)


def _priority(conf: Any, said: Mapping[str, Any], where: Origin) -> int:
    if said["priority"] is not None:
        return priority_of(said["priority"])
    if conf.task_inherit_parent_priority and where.priority is not None:
        return where.priority
    return int(conf.task_default_priority)


def _max_attempts(conf: Any, said: Mapping[str, Any]) -> int:
    attempts = attempts_of(said["max_attempts"])
    if attempts is not None:
        return attempts
    late = conf.task_acks_late if said["acks_late"] is None else said["acks_late"]
    again = conf.task_reject_on_worker_lost if said["reject_on_worker_lost"] is None else said["reject_on_worker_lost"]
    return int(conf.max_attempts) if late and again else 1


def _envelope(args: list[Any], kwargs: dict[str, Any], options: Mapping[str, Any]) -> Envelope:
    soft, hard = options.get("soft_time_limit"), options.get("time_limit")
    for name, value in (("soft_time_limit", soft), ("time_limit", hard)):
        if value is not None and (not isinstance(value, int | float) or value < 0):
            raise ValueError(f"{name} is {value!r}: seconds, at least 0, are allowed")
    if soft and hard and soft > hard:
        raise ValueError(f"soft_time_limit is {soft} s, but must be at most the time_limit of {hard} s")
    return Envelope(
        args=args,
        kwargs=kwargs,
        link=list(options.get("link") or ()),
        link_error=list(options.get("link_error") or ()),
        chain=list(options.get("chain") or ()),
        options={key: options[key] for key in _OF_THE_WORKER if options.get(key) is not None},
        headers=dict(options.get("headers") or {}),
    )


# -- handing over --------------------------------------------------------------------------------------------------


async def submit(
    tasks: Any,
    jobs: Sequence[Job],
    groups: Sequence[Group] = (),
    *,
    retry: bool | None = None,
    retry_policy: Mapping[str, Any] | None = None,
) -> None:
    """Hand jobs to the runtime: all of them, or none.

    :param retry: try again for as long as ``retry_policy`` says; without it ``tasks.conf`` decides. A job that joins
        the session's transaction is never tried again.
    :raises OperationalError: if the database (or Redis, for those that are not durable) does not answer.
    """
    runtime = tasks.runtime()
    if signals.before_task_publish:
        for job in jobs:
            _changed(job, await _send(signals.before_task_publish, job), tasks.conf.limit_bytes)
    policy = {**tasks.conf.task_publish_retry_policy, **(retry_policy or {})}
    retries = policy["max_retries"] if (tasks.conf.task_publish_retry if retry is None else retry) else 0
    pause, session = policy["interval_start"], runtime.session()
    while True:
        try:
            await runtime.submit(list(jobs), list(groups), session=session)
            break
        except OperationalError:
            if not retries or session is not None:
                raise
        await asyncio.sleep(min(pause, policy["interval_max"]))
        pause, retries = pause + policy["interval_step"], retries - 1
    found = current()
    if found is not None and found[0].options.trail:
        found[1].asked_for(str(job.id) for job in jobs)
    if signals.after_task_publish:
        for job in jobs:
            await _send(signals.after_task_publish, job)


async def _send(signal: signals.Signal, job: Job) -> tuple[dict[str, Any], Envelope]:
    """Celery's shape of a message: headers, and a body of arguments and callbacks. Headers may be added to."""
    envelope = decode_envelope(job.payload)
    headers: dict[str, Any] = {
        **envelope.headers,
        "id": str(job.id),
        "task": job.task,
        "root_id": None if job.root is None else str(job.root),
        "parent_id": None if job.parent is None else str(job.parent),
        "group": None if job.group is None else str(job.group),
        "eta": job.eta,
        "expires": job.expires,
        "retries": job.retries,
        "argsrepr": job.summary,
        "timelimit": [envelope.options.get("time_limit"), envelope.options.get("soft_time_limit")],
    }
    embed = {"callbacks": envelope.link, "errbacks": envelope.link_error, "chain": envelope.chain, "chord": None}
    told: dict[str, Any] = {
        "body": (envelope.args, envelope.kwargs, embed),
        "exchange": "",
        "routing_key": job.queue,
        "headers": headers,
    }
    if signal is signals.before_task_publish:
        properties = {"priority": job.priority, "correlation_id": str(job.id)}
        told |= {"properties": properties, "declare": [], "retry_policy": None}
    await signal.send(sender=job.task, **told)
    return headers, envelope


_SET_BY_US: Final = frozenset(
    ("id", "task", "root_id", "parent_id", "group", "eta", "expires", "retries", "argsrepr", "timelimit")
)


def _changed(job: Job, sent: tuple[dict[str, Any], Envelope], limit_bytes: int) -> None:
    """Receivers of ``before_task_publish`` add headers of their own, as in Celery: those go along."""
    headers, envelope = sent
    own = {key: value for key, value in headers.items() if key not in _SET_BY_US}
    if own != envelope.headers:
        envelope.headers = own
        job.payload = encode_envelope(envelope, limit_bytes=limit_bytes)
