"""Flower's JSON API: tasks."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from quart import Response, jsonify, request

from ..tasks import codec, states
from . import facts, pages_of_jobs
from .api import parameter_of, told
from .filters import JobFilter, read_time
from .listing import WINDOW, sort_newest
from .problems import Problem

if TYPE_CHECKING:
    from .extension import Monitor

__all__ = ["ROUTES"]

_MOST: Final = 1000
_SORTS: Final = ("name", "state", "received", "started")


# -- reading -------------------------------------------------------------------------------------------------------


def _whole(name: str, default: int, most: int) -> int:
    given = request.args.get(name, "")
    try:
        value = int(given) if given else default
    except ValueError:
        raise Problem(400, f"{name} must be a whole number, not {given[:40]!r}.") from None
    if not 0 <= value <= most:
        raise Problem(400, f"{name} must be from 0 to {most:,}, not {value}.")
    return value


def _wanted() -> JobFilter:
    """Flower's parameters, as ours."""
    given = request.args
    try:
        since, until = (
            read_time(given[name]) if given.get(name) else None for name in ("received_start", "received_end")
        )
        plain = {
            "state": given.get("state", ""),
            "task": given.get("taskname", ""),
            "worker": given.get("workername", ""),
            "text": given.get("search", ""),
        }
        read = JobFilter.read({name: "" if value == "All" else value for name, value in plain.items()})
    except ValueError as error:
        raise Problem(400, str(error)) from None
    return JobFilter(read.state, read.task, read.worker, "", since, until, read.text)


async def list_tasks(monitor: Monitor) -> Any:
    """``limit`` (default 1,000, which is the most), ``offset``, ``sort_by``, and what they are filtered by."""
    sort_by = request.args.get("sort_by") or "-received"
    descending, column = sort_by.startswith("-"), sort_by.lstrip("-")
    if column not in _SORTS:
        raise Problem(400, f"sort_by must be one of {', '.join(_SORTS)}, with or without a '-', not {sort_by[:40]!r}.")
    limit, offset = _whole("limit", _MOST, _MOST), _whole("offset", 0, WINDOW)
    wanted = _wanted()
    async with monitor.store.database() as connection:
        rows = await sort_newest(connection, wanted, sort_by=column, descending=descending, limit=limit, offset=offset)
    # Flower's clients rely on the order of the keys.
    answer = {str(row["id"]): _row(row) for row in rows}
    return Response(json.dumps(answer), content_type="application/json")


def _epoch(when: datetime | None) -> float | None:
    return when.timestamp() if when is not None else None


def _row(row: Any) -> dict[str, Any]:
    """Flower's keys; what a job here does not have, as an exchange, is null."""
    state, created = row["state"], row["created"].timestamp()
    started, finished = _epoch(row["started"]), _epoch(row["finished"])
    ran = started is not None and finished is not None
    return {
        "uuid": str(row["id"]),
        "name": row["task"],
        "state": row["custom_state"] if state == states.STARTED and row["custom_state"] else state,
        "args": row["summary"],
        "kwargs": "",
        "worker": row["worker"],
        "received": created,
        "sent": created,
        "started": started,
        "succeeded": finished if state == states.SUCCESS else None,
        "failed": finished if state == states.FAILURE else None,
        "revoked": finished if state == states.REVOKED else None,
        "rejected": finished if state == states.REJECTED else None,
        "retried": None,
        "retries": row["retries"],
        "attempt": row["attempt"],
        "eta": row["eta"].isoformat() if row["eta"] else None,
        "runtime": (row["finished"] - row["started"]).total_seconds() if ran else None,
        "timestamp": finished or started or created,
        "routing_key": row["queue"],
        "exchange": None,
    }


async def task_types(monitor: Monitor) -> Any:
    """The names of the tasks that the application knows, and of those in the ledger."""
    known = set(monitor.task_names())
    async with monitor.store.database() as connection:
        known.update(await facts.names(connection, "task"))
    return jsonify({"task-types": sorted(known)})


def _id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Problem(404, f"Unknown task '{given[:80]}'") from None


async def task_info(monitor: Monitor, id: str) -> Any:  # noqa: A002
    found = await pages_of_jobs.known(monitor.store, _id(id))
    if found is None:
        raise Problem(404, f"Unknown task '{id[:80]}'")
    row = found.row
    error, result = pages_of_jobs.error_of(row["error"]), _decoded(row["result"])
    return jsonify(
        {
            **_row(row),
            "result": result,
            "exception": f"{error.type}({error.message!r})" if error else None,
            "traceback": error.traceback if error else None,
            "expires": row["expires"].isoformat() if row["expires"] else None,
            "priority": row["priority"],
            "parent_id": str(row["parent"]) if row["parent"] else None,
            "root_id": str(row["root"] or row["id"]),
            "children": [str(child["id"]) for child in found.children],
        }
    )


def _decoded(data: bytes | None) -> Any:
    """A result as JSON, or that it cannot be read: another version may have written it."""
    if data is None:
        return None
    try:
        return _plain(codec.decode(data))
    except Exception as error:
        return f"It cannot be read: {type(error).__name__}: {error}"


def _plain(value: Any) -> Any:
    """A result as JSON; what JSON does not have, as its text."""
    return json.loads(json.dumps(value, default=str, skipkeys=True), parse_constant=str)


async def task_result(monitor: Monitor, id: str) -> Any:  # noqa: A002
    """With ``timeout``, in seconds, it waits for the end."""
    result = monitor.tasks.AsyncResult(str(_id(id)))
    if timeout := request.args.get("timeout", ""):
        await _waited(result, _seconds("timeout", timeout))
    return jsonify(await _outcome(monitor, result))


async def _waited(result: Any, timeout_s: float | None) -> None:
    with suppress(TimeoutError):
        await result.get(timeout=min(timeout_s if timeout_s is not None else 60.0, 300.0), propagate=False)


async def _outcome(monitor: Monitor, result: Any) -> dict[str, Any]:
    record = await monitor.store.runtime.record(UUID(str(result.id)))
    answer: dict[str, Any] = {"task-id": str(result.id), "state": states.PENDING, "result": None}
    if record is None:
        return answer
    answer["state"] = record.shown_state
    error = pages_of_jobs.error_of(record.error)
    if error is not None and record.state != states.SUCCESS:
        answer.update(result=f"{error.type}({error.message!r})", traceback=error.traceback)
    elif record.result is not None:
        answer["result"] = _decoded(record.result)
    return answer


def _seconds(name: str, given: str) -> float:
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise Problem(400, f"{name} must be a number of seconds, not {given[:40]!r}.")
    return value


# -- calling -------------------------------------------------------------------------------------------------------


async def _call() -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """The body: ``{"args": […], "kwargs": {…}, …}`` with the options of ``apply_async``.

    :raises Problem: 400.
    """
    raw = await request.get_data(as_text=False)
    try:
        body = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Problem(400, "The body must be a JSON object, with 'args' and 'kwargs'.")
    args, kwargs = body.pop("args", []), body.pop("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Problem(400, "'args' must be an array and 'kwargs' an object.")
    return args, kwargs, _options(body)


def _options(body: dict[str, Any]) -> dict[str, Any]:
    unknown = body.keys() - _ALLOWED
    if unknown:
        raise Problem(
            400, f"unknown options: {', '.join(sorted(unknown))[:200]}. Known are {', '.join(sorted(_ALLOWED))}."
        )
    try:
        if "eta" in body:
            body["eta"] = _time(body["eta"])
        if "countdown" in body:
            body["countdown"] = float(body["countdown"])
        if "expires" in body:
            expires = body["expires"]
            body["expires"] = float(expires) if _is_number(expires) else _time(expires)
        if "priority" in body:
            body["priority"] = int(body["priority"])
    except (TypeError, ValueError, OverflowError) as error:
        raise Problem(400, f"An option cannot be read: {error}") from None
    return body


_ALLOWED: Final = frozenset({"eta", "countdown", "expires", "queue", "priority", "task_id", "headers"})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.replace(".", "", 1).isdigit())


def _time(given: Any) -> datetime:
    """Flower's format, ``%Y-%m-%d %H:%M:%S.%f`` in UTC, or ISO 8601."""
    when = datetime.fromisoformat(str(given))
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _task(monitor: Monitor, name: str) -> Any:
    if name not in monitor.tasks.tasks:
        raise Problem(404, f"Unknown task '{name}'")
    return monitor.tasks.tasks[name]


async def _sent(call: Any) -> Any:
    """:raises Problem: 400 for arguments or options that cannot be sent."""
    try:
        return await call
    except (TypeError, ValueError) as error:
        raise Problem(400, f"{type(error).__name__}: {error}") from None


async def apply(monitor: Monitor, name: str) -> Any:
    """Send it and wait for its end, at most ``timeout`` seconds (60)."""
    task = _task(monitor, name)
    args, kwargs, options = await _call()
    timeout = request.args.get("timeout", "")
    result = await _sent(task.apply_async(args, kwargs, **options))
    await _waited(result, _seconds("timeout", timeout) if timeout else None)
    return jsonify(await _outcome(monitor, result))


async def async_apply(monitor: Monitor, name: str) -> Any:
    task = _task(monitor, name)
    args, kwargs, options = await _call()
    result = await _sent(task.apply_async(args, kwargs, **options))
    return jsonify({"task-id": str(result.id), "state": states.PENDING})


async def send_task(monitor: Monitor, name: str) -> Any:
    """As ``async-apply``, of a task that only the workers know."""
    args, kwargs, options = await _call()
    result = await _sent(monitor.tasks.send_task(name, args, kwargs, **options))
    return jsonify({"task-id": str(result.id)})


# -- controlling ---------------------------------------------------------------------------------------------------


async def revoke(monitor: Monitor, id: str) -> Any:  # noqa: A002
    terminate = (await parameter_of("terminate")).lower() in ("1", "true", "yes")
    signal = await parameter_of("signal") or "SIGTERM"
    await monitor.store.runtime.revoke([_id(id)], terminate, signal)
    return jsonify(message=f"Revoked '{id}'")


async def abort(monitor: Monitor, id: str) -> Any:  # noqa: A002
    await monitor.store.runtime.revoke([_id(id)], True, "SIGTERM")
    return jsonify(message=f"Aborted '{id}'")


async def _at_workers(monitor: Monitor, command: str, **arguments: Any) -> None:
    """Tell one worker, which must answer, or all."""
    if worker := await parameter_of("workername"):
        await told(monitor, command, worker, **arguments)
    else:
        await monitor.tasks.control.broadcast(command, arguments)


async def rate_limit(monitor: Monitor, name: str) -> Any:
    _task(monitor, name)
    limit = await parameter_of("ratelimit")
    if not limit:
        raise Problem(400, "The parameter 'ratelimit' is missing, as 10/m; 0 is none.")
    await _at_workers(monitor, "rate_limit", task_name=name, rate_limit=limit)
    return jsonify(message=f"New rate limit set: '{name}' {limit}")


async def timeout(monitor: Monitor, name: str) -> Any:
    _task(monitor, name)
    soft, hard = await parameter_of("soft"), await parameter_of("hard")
    limits = {"soft": _seconds("soft", soft) if soft else None, "hard": _seconds("hard", hard) if hard else None}
    if limits["soft"] is None and limits["hard"] is None:
        raise Problem(400, "One of the parameters 'soft' and 'hard' is needed, in seconds.")
    await _at_workers(monitor, "time_limit", task_name=name, **limits)
    return jsonify(message="New timeouts have been set")


GET: Final = ["GET"]
POST: Final = ["POST"]
ROUTES: Final = (
    ("/api/tasks", "api_tasks", list_tasks, GET),
    ("/api/task/types", "api_types", task_types, GET),
    ("/api/task/info/<id>", "api_info", task_info, GET),
    ("/api/task/result/<id>", "api_result", task_result, GET),
    ("/api/task/apply/<name>", "api_apply", apply, POST),
    ("/api/task/async-apply/<name>", "api_async_apply", async_apply, POST),
    ("/api/task/send-task/<name>", "api_send_task", send_task, POST),
    ("/api/task/revoke/<id>", "api_revoke", revoke, POST),
    ("/api/task/abort/<id>", "api_abort", abort, POST),
    ("/api/task/rate-limit/<name>", "api_rate_limit", rate_limit, POST),
    ("/api/task/timeout/<name>", "api_timeout", timeout, POST),
)
