"""The pages of jobs: the list, and one of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from quart import Response, current_app, request

from ..tasks import codec, states
from . import facts
from .filters import STATES, Cursor, JobFilter
from .listing import WINDOW, find
from .problems import Problem
from .searching import SearchError
from .showing import laid_out, masked, told
from .store import Store, settled

if TYPE_CHECKING:
    from .extension import Monitor

__all__ = ["ROUTES", "Step", "error_of", "known", "shown_state", "timeline"]


def shown_state(row: Any) -> str:
    """The state as its task says it while it runs."""
    custom: str | None = row["custom_state"]
    return custom if custom is not None and row["state"] == states.STARTED else row["state"]


# -- the list ------------------------------------------------------------------------------------------------------


async def tasks(monitor: Monitor) -> Any:
    error, wanted, before, after = "", JobFilter(), None, None
    try:
        wanted = JobFilter.read(request.args)
        before, after = (
            Cursor.read(given) if (given := request.args.get(name)) else None for name in ("before", "after")
        )
    except ValueError as problem:
        error = str(problem)
    if (found := _uuid(wanted.text)) is not None:
        return current_app.redirect(current_app.url_for(".task", id=found))
    store = monitor.store
    async with store.database() as connection:
        page = None
        if not error:
            try:
                page = await find(connection, wanted, before=before, after=after)
            except SearchError as problem:
                error = str(problem)
        names = {column: await facts.names(connection, column) for column in ("task", "queue")}
        total = facts.Count(int(await connection.fetchval(facts.ALL) or 0))
    return await monitor.page(
        "tasks.html",
        400 if error else 200,
        refresh="" if before or after or error else "jobs",
        page=page,
        error=error,
        wanted=wanted,
        given={name: request.args.get(name, "") for name in JobFilter.names()},
        states=STATES,
        names={"task": sorted({*names["task"], *monitor.task_names()}), "queue": names["queue"]},
        total=total,
        window=WINDOW,
        shown_state=shown_state,
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip()) if len(text.strip()) >= 32 else None
    except ValueError:
        return None


# -- one job -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a job, or will. ``css`` is the class of its mark; ``after``: since the step before."""

    when: datetime
    what: str
    css: str = ""
    detail: str = ""
    after: timedelta | None = None


def timeline(found: facts.Job) -> list[Step]:
    """From its creation to its end, in order."""
    row = found.row
    steps = [Step(row["created"], "Enqueued", detail=f"in the queue {row['queue']}")]
    for attempt in found.attempts:
        if attempt["started"] is not None:
            steps.append(Step(attempt["started"], f"Attempt {attempt['attempt']} began", "started", _on(attempt)))
        ended = {"RETRY": "failed, and is tried again", "LOST": "was lost with its worker"}.get(
            attempt["state"], "failed"
        )
        steps.append(
            Step(attempt["ended"], f"Attempt {attempt['attempt']} {ended}", "failed", _message(attempt["error"]))
        )
    known = {attempt["started"] for attempt in found.attempts}
    if row["started"] is not None and row["started"] not in known:
        steps.append(Step(row["started"], f"Attempt {row['attempt']} began", "started", _on(row)))
    if row["finished"] is not None:
        words = {"SUCCESS": "Succeeded", "FAILURE": "Failed", "REVOKED": "Revoked", "REJECTED": "Rejected"}
        steps.append(Step(row["finished"], words.get(row["state"], row["state"].title()), row["state"].lower()))
    elif row["eta"] is not None and row["state"] in (states.PENDING, states.RETRY):
        steps.append(Step(row["eta"], "Due", "due"))
    steps.sort(key=lambda step: step.when)
    return [
        Step(step.when, step.what, step.css, step.detail, step.when - steps[index - 1].when if index else None)
        for index, step in enumerate(steps)
    ]


def _on(row: Any) -> str:
    return f"on {row['worker']}" if row["worker"] else ""


def _message(data: bytes | None) -> str:
    if data is None:
        return ""
    try:
        error = codec.decode_error(data)
    except Exception as problem:
        return f"(its error cannot be read: {type(problem).__name__})"
    return f"{error.type}: {error.message}"[:500]


async def task(monitor: Monitor, id: UUID) -> Response:  # noqa: A002
    store, problems = monitor.store, list[str]()
    found = await known(store, id)
    if found is None:
        raise Problem(404, f"Unknown task '{id}'")
    return await monitor.page(
        "task.html",
        problems=problems,
        refresh="jobs",
        job=found.row,
        found=found,
        state=shown_state(found.row),
        call=_call(found.row["payload"]),
        progress=_progress(found.row),
        result=told(found.row["result"]) if found.row["state"] == states.SUCCESS else "",
        error=error_of(found.row["error"]),
        steps=timeline(found),
        attempts=[(attempt, _message(attempt["error"]), error_of(attempt["error"])) for attempt in found.attempts],
        shown_state=shown_state,
        ended=found.row["state"] in states.READY_STATES,
        durable=store.runtime.ledger is not None and bool(found.row["payload"]),
        waits=found.row["state"] in (states.PENDING, states.RETRY),
        online=await settled(_online(store), problems) if found.row["state"] == states.STARTED else None,
    )


async def known(store: Store, id: UUID) -> facts.Job | None:  # noqa: A002
    """A job, from the ledger or, if it is not durable, from Redis."""
    found = None
    if store.runtime.ledger is not None:
        async with store.database() as connection:
            found = await facts.job(connection, id)
    if found is None and (record := await store.runtime.record(id)) is not None:
        return facts.Job(asdict(record), [], [], None, [])
    return found


async def _online(store: Store) -> set[str]:
    return {worker.id for worker in await store.workers()}


def _call(payload: bytes) -> list[tuple[str, str]]:
    """Pairs of what it is called and what it is, of a job's arguments. In Redis they are not kept."""
    if not payload:
        return []
    try:
        envelope = codec.decode_envelope(payload)
    except Exception as error:
        return [("Arguments", f"They cannot be read: {type(error).__name__}: {error}")]
    parts = [("Arguments", envelope.args), ("Keyword arguments", envelope.kwargs), ("Options", envelope.options)]
    parts += [("Headers", envelope.headers), ("Then", envelope.chain or envelope.link)]
    parts += [("If it fails", envelope.link_error)]
    return [(name, laid_out(masked(value), len(payload))) for name, value in parts if value]


@dataclass(frozen=True, slots=True)
class _Progress:
    text: str
    done: float | None
    total: float | None


def _progress(row: Any) -> _Progress | None:
    """What ``update_state`` said; ``current`` and ``total`` in it, as in Celery's documentation, make a bar."""
    if row["progress"] is None or row["state"] != states.STARTED:
        return None
    try:
        meta = codec.decode(row["progress"])
    except Exception:
        meta = None
    numbers = [meta.get(name) for name in ("current", "total")] if isinstance(meta, dict) else [None, None]
    if all(isinstance(value, int | float) for value in numbers) and numbers[1]:
        return _Progress(told(row["progress"]), *numbers)
    return _Progress(told(row["progress"]), None, None)


def error_of(data: bytes | None) -> codec.ErrorInfo | None:
    """What was encoded; one that cannot be decoded says so."""
    if data is None:
        return None
    try:
        return codec.decode_error(data)
    except Exception as error:
        return codec.ErrorInfo("Unreadable", f"The error cannot be read: {error}", "", error)


GET: Final = ["GET"]
ROUTES: Final = (("/tasks", "tasks", tasks, GET), ("/task/<uuid:id>", "task", task, GET))
