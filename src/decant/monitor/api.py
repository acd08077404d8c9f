"""Flower's JSON API: workers, queues, health, metrics. Errors are texts, as Flower's."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from quart import Response, jsonify, request

from . import counting
from .problems import Problem
from .store import Worker

if TYPE_CHECKING:
    from .extension import Monitor

__all__ = ["ROUTES"]


def _epoch(when: datetime | None) -> float | None:
    return when.timestamp() if when is not None else None


def _described(worker: Worker, registered: list[str]) -> dict[str, Any]:
    """Flower's keys, as far as a worker here has them, and what it says of itself beside them."""
    return {
        "status": True,
        "timestamp": _epoch(worker.seen),
        "active_queues": [{"name": name, "weight": weight} for name, weight in worker.queues.items()],
        "active": [{**job, "name": job.get("task"), "started": _epoch(job["started"])} for job in worker.active],
        "registered": registered,
        "stats": {
            "pool": {"max-concurrency": worker.concurrency},
            "pid": worker.pid,
            "hostname": worker.host,
            "state": worker.state,
            "started": _epoch(worker.started),
            "total": worker.ended,
            "succeeded": worker.succeeded,
            "failed": worker.failed,
            "retried": worker.retried,
            "rss_bytes": worker.rss_bytes,
            "loop_lag_s": worker.loop_lag_s,
            "version": worker.version,
        },
    }


async def list_workers(monitor: Monitor) -> Any:
    """``?workername=`` one of them, ``?status=1`` only whether they are there; ``refresh`` is always so."""
    workers = await monitor.store.workers()
    if name := request.args.get("workername", ""):
        workers = [worker for worker in workers if worker.id == name]
        if not workers:
            raise Problem(404, f"Unknown worker '{name}'")
    if request.args.get("status", "") not in ("", "0", "false", "False"):
        return jsonify({worker.id: True for worker in workers})
    registered = monitor.task_names()
    return jsonify({worker.id: _described(worker, registered) for worker in workers})


async def _known(monitor: Monitor, name: str) -> None:
    if name not in {worker.id for worker in await monitor.store.workers()}:
        raise Problem(404, f"Unknown worker '{name}'")


async def told(monitor: Monitor, command: str, name: str, **arguments: Any) -> None:
    """Have a worker do something and answer.

    :raises Problem: 404 if it is not there, 403 with what it says if it does not do it.
    """
    await _known(monitor, name)
    replies = await monitor.tasks.control.broadcast(command, arguments, destination=[name], reply=True)
    answer = next((reply[name] for reply in replies or () if name in reply), None)
    if answer is None:
        raise Problem(403, f"The worker '{name}' gave no answer in time.")
    if isinstance(answer, dict) and "error" in answer:
        raise Problem(403, str(answer["error"]))


async def shut_down(monitor: Monitor, name: str) -> Any:
    await _known(monitor, name)
    await monitor.tasks.control.shutdown(destination=[name])
    return jsonify(message="Shutting down!")


async def number(parameter: str, default: int = 1) -> int:
    """A whole number from the query string or the form.

    :raises Problem: 400.
    """
    given = await parameter_of(parameter)
    try:
        value = int(given) if given else default
    except ValueError:
        value = 0
    if value < 1 or value > 100_000:
        raise Problem(400, f"{parameter} must be a whole number, at least 1, not {given[:40]!r}.")
    return value


async def parameter_of(name: str) -> str:
    """A parameter, from the query string or a form."""
    return request.args.get(name) or (await request.form).get(name) or ""


async def grow(monitor: Monitor, name: str) -> Any:
    n = await number("n")
    await told(monitor, "pool_grow", name, n=n)
    return jsonify(message=f"Growing '{name}' worker's pool by {n}")


async def shrink(monitor: Monitor, name: str) -> Any:
    n = await number("n")
    await told(monitor, "pool_shrink", name, n=n)
    return jsonify(message=f"Shrinking '{name}' worker's pool by {n}")


async def add_consumer(monitor: Monitor, name: str) -> Any:
    queue = await _queue()
    await told(monitor, "add_consumer", name, queue=queue, weight=1)
    return jsonify(message=f"Added consumer for queue '{queue}'")


async def cancel_consumer(monitor: Monitor, name: str) -> Any:
    queue = await _queue()
    await told(monitor, "cancel_consumer", name, queue=queue)
    return jsonify(message=f"Canceled consumer for queue '{queue}'")


async def _queue() -> str:
    queue = await parameter_of("queue")
    if not queue:
        raise Problem(400, "The parameter 'queue' is missing.")
    return queue


async def queue_lengths(monitor: Monitor) -> Any:
    """``{"active_queues": [{"name", "messages"}]}``, of the queues that workers take jobs of, and the default one."""
    store = monitor.store
    names = {queue for worker in await store.workers() for queue in worker.queues}
    names.add(store.runtime.conf.task_default_queue)
    lengths = await store.queue_lengths(sorted(names))
    return jsonify(active_queues=[{"name": name, "messages": length} for name, length in lengths.items()])


async def healthcheck(monitor: Monitor) -> Response:
    """That the web process answers; nothing about workers."""
    return Response("OK", content_type="text/plain; charset=utf-8")


async def metrics(monitor: Monitor) -> Response:
    if monitor.metrics == "off":
        raise Problem(404, "There are no metrics here.")
    return Response(await monitor.hub.metrics(), content_type=counting.CONTENT_TYPE)


GET: Final = ["GET"]
POST: Final = ["POST"]
ROUTES: Final = (
    ("/api/workers", "api_workers", list_workers, GET),
    ("/api/worker/shutdown/<name>", "api_shutdown", shut_down, POST),
    ("/api/worker/pool/grow/<name>", "api_grow", grow, POST),
    ("/api/worker/pool/shrink/<name>", "api_shrink", shrink, POST),
    ("/api/worker/queue/add-consumer/<name>", "api_add_consumer", add_consumer, POST),
    ("/api/worker/queue/cancel-consumer/<name>", "api_cancel_consumer", cancel_consumer, POST),
    ("/api/queues/length", "api_queues", queue_lengths, GET),
    ("/healthcheck", "healthcheck", healthcheck, GET),
    ("/metrics", "metrics", metrics, GET),
)
