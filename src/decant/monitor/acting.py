"""What can be done from the pages: forms that are answered with a redirect, the dangerous ones after a question."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from quart import current_app, redirect, request

from ..tasks import states
from . import facts
from .problems import Problem

if TYPE_CHECKING:
    from .extension import Monitor

__all__ = ["DONE", "ROUTES", "purge"]

_PURGE_S: Final = 10.0
_STOPPED: Final = (None, states.REVOKED, states.STARTED)

DONE: Final[dict[str, str]] = {
    "retry": "The job is in its queue again.",
    "revoke": "The job is revoked: it does not begin.",
    "abort": "The job was told to stop.",
    "ended": "Nothing was changed: the job has ended meanwhile, or waits already.",
    "pause": "The worker was told to pause: what runs there goes on, and nothing new begins.",
    "resume": "The worker was told to go on.",
    "shutdown": "The worker was told to shut down: what runs there may end within the grace time.",
    "run": "The schedule's task is in its queue.",
    "enable": "The schedule runs again, from its next time on.",
    "disable": "The schedule is stopped.",
    "purged": "What waited in the queue was revoked.",
    "purging": "A part of what waited in the queue was revoked. There is more: purge it again.",
}
"""What the page says after the redirect."""


@dataclass(frozen=True, slots=True)
class Question:
    """A page that asks before it is done."""

    title: str
    text: str
    button: str
    back: str
    back_label: str
    fields: dict[str, str]


async def _confirm(monitor: Monitor, question: Question) -> Any:
    if not await monitor.may_act_now():
        raise Problem(403, "Nothing can be changed here, or not by you.")
    return await monitor.page("confirm.html", question=question, action=f"{request.root_path}{request.path}")


def _back(endpoint: str, done: str, **values: Any) -> Any:
    return redirect(current_app.url_for(f".{endpoint}", done=done, **values), 303)


# -- jobs ----------------------------------------------------------------------------------------------------------


async def task_action(monitor: Monitor, id: UUID, action: str) -> Any:  # noqa: A002
    runtime = monitor.store.runtime
    if request.method == "GET":
        return await _ask_about_task(monitor, id, action)
    if action == "retry":
        job = await runtime.ledger.requeue(id) if runtime.ledger is not None else None
        if job is not None:
            await runtime.push([job])
        return _back("task", "retry" if job is not None else "ended", id=id)
    states_after = await runtime.revoke([id], action == "abort", "SIGTERM")
    return _back("task", action if states_after.get(id) in _STOPPED else "ended", id=id)


async def _ask_about_task(monitor: Monitor, id: UUID, action: str) -> Any:  # noqa: A002
    texts = {
        "retry": ("Run the job again?", "It is put into its queue as if it had never run, with the same arguments."),
        "revoke": ("Revoke the job?", "It does not begin, if it has not begun yet."),
        "abort": (
            "Abort the job?",
            "It is cancelled where it runs. What it has done is not undone, unless it did so in a transaction.",
        ),
    }
    title, text = texts[action]
    back = current_app.url_for(".task", id=id)
    return await _confirm(monitor, Question(title, f"{text} Its id is {id}.", title[:-1], back, "Back to the job", {}))


# -- workers -------------------------------------------------------------------------------------------------------


async def worker_action(monitor: Monitor, name: str, action: str) -> Any:
    if request.method == "GET":
        texts = {
            "pause": "It goes on with what it runs, and begins nothing new.",
            "resume": "It claims jobs again.",
            "shutdown": "Its jobs may end within the grace time; the rest is given back, for other workers. It does not"
            " start again by itself, unless a supervisor sees to that.",
        }
        title = {"pause": "Pause", "resume": "Resume", "shutdown": "Shut down"}[action]
        back = current_app.url_for(".worker", name=name)
        question = Question(f"{title} {name}?", texts[action], title, back, "Back to the worker", {})
        return await _confirm(monitor, question)
    known = await monitor.store.workers()
    if name not in {worker.id for worker in known}:
        raise Problem(404, f"Unknown worker '{name}'")
    await getattr(monitor.tasks.control, action)(destination=[name])
    return _back("workers", action)


# -- schedules -----------------------------------------------------------------------------------------------------


async def schedule_action(monitor: Monitor, action: str) -> Any:
    name = (await request.form).get("name", "")
    ticker = monitor.ticker
    try:
        if action == "run":
            await ticker.run_now(name)
        else:
            await ticker.enable(name, action == "enable")
    except (LookupError, TypeError, ValueError) as error:  # not configured, or not so that it could run
        raise Problem(404 if isinstance(error, LookupError) else 400, str(error)) from None
    return _back("schedules", action)


# -- queues --------------------------------------------------------------------------------------------------------


async def queue_purge(monitor: Monitor) -> Any:
    queue = (await request.form).get("queue", "") or request.args.get("queue", "")
    if not queue:
        raise Problem(400, "Which queue? Its name is missing.")
    if "\0" in queue:
        raise Problem(404, "There is no such queue.")
    if request.method == "GET":
        async with monitor.store.database() as connection:
            waiting = (await facts.queue_counts(connection)).get(queue)
        number = waiting.waiting if waiting else facts.Count(0)
        text = f"{number} jobs wait there. They are revoked, for good, and never run. What runs already goes on."
        back = current_app.url_for(".queues")
        title = f"Purge the queue {queue}?"
        return await _confirm(monitor, Question(title, text, "Purge it", back, "Back to the queues", {"queue": queue}))
    _, more = await purge(monitor, queue)
    return _back("queues", "purging" if more else "purged")


async def purge(monitor: Monitor, queue: str) -> tuple[int, bool]:
    """Revoke what waits in a queue, made before now, for at most ten seconds: how many, and whether there are more."""
    store, now, number = monitor.store, datetime.now(UTC), 0
    loop = asyncio.get_running_loop()
    until = loop.time() + _PURGE_S
    while True:
        async with store.database() as connection:
            ids = await facts.waiting_ids(connection, queue, now)
        if not ids:
            return number, False
        if loop.time() > until:
            return number, True
        await store.runtime.revoke(ids, False, "SIGTERM")
        number += len(ids)


ASKED: Final = ["GET", "POST"]
ROUTES: Final = (
    ("/task/<uuid:id>/<any(retry, revoke, abort):action>", "task_action", task_action, ASKED),
    ("/worker/<name>/<any(pause, resume, shutdown):action>", "worker_action", worker_action, ASKED),
    ("/schedules/<any(run, enable, disable):action>", "schedule_action", schedule_action, ["POST"]),
    ("/queues/purge", "queue_purge", queue_purge, ASKED),
)
