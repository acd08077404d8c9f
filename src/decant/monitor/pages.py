"""The pages of what there is: overview, workers, schedules, queues; and the stream that keeps them up to date."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup
from quart import Response, current_app, redirect, request

from ..errors import RedisUnavailable, Unavailable
from . import charts, facts
from .history import PERIODS, History, Period, Slot, busiest_tasks, history
from .problems import Problem
from .rendering import duration
from .store import Store, Worker, settled

if TYPE_CHECKING:
    from .extension import Monitor

__all__ = ["ROUTES"]

_KEPT_S: Final = 1.0
_STREAM_S: Final = 600.0


def _period() -> Period:
    return PERIODS.get(request.args.get("period", ""), PERIODS["1h"])


def _both_away(problems: list[str], *found: Any) -> None:
    """:raises Unavailable: if nothing at all can be shown."""
    if all(one is None for one in found):
        raise Unavailable(" ".join(problems))


# -- overview ------------------------------------------------------------------------------------------------------


async def overview(monitor: Monitor) -> Response:
    store, problems, period = monitor.store, list[str](), _period()
    workers, ledger = await asyncio.gather(
        settled(store.workers(), problems), settled(_of_ledger(monitor, period), problems)
    )
    _both_away(problems, workers, ledger)
    counts, past, busiest, waiting = ledger or (None, None, None, None)
    lengths = await settled(_lengths(monitor, store, workers, waiting), problems) if workers is not None else None
    return await monitor.page(
        "overview.html",
        problems=problems,
        refresh="jobs workers",
        periods=list(PERIODS.values()),
        period=period,
        workers=workers,
        counts=counts,
        history=past,
        busiest=busiest,
        lengths=lengths,
        charts=_charts(past) if past else None,
    )


async def _of_ledger(monitor: Monitor, period: Period) -> tuple[Any, ...]:
    """Counts, history, busiest tasks, what waits by queue. The longer a period, the less its charts change."""
    store = monitor.store

    async def now_there() -> tuple[Any, ...]:
        async with store.database() as connection:
            return await facts.counts(connection), await facts.queue_counts(connection)

    async def past() -> tuple[Any, ...]:
        now = datetime.now(UTC)
        async with store.database() as connection:
            return await history(connection, period, now), await busiest_tasks(connection, period, now)

    counts, waiting = await monitor.recent.get("now", _KEPT_S, now_there)
    kept_s = max(_KEPT_S, period.step.total_seconds() / 60)
    found, busiest = await monitor.recent.get(period.name, kept_s, past)
    return counts, found, busiest, waiting


def _charts(past: History) -> list[tuple[str, Markup]]:
    """Pairs of a heading and a chart."""
    starts, slots, total, period = [slot.start for slot in past.slots], past.slots, past.total, past.period
    return [
        (
            "Throughput",
            charts.bars(
                "Jobs that ended",
                f"{total.succeeded:,} succeeded and {total.failed:,} failed in the last {period.past}.",
                period,
                starts,
                [
                    charts.Series("Succeeded", "succeeded", [slot.succeeded for slot in slots]),
                    charts.Series("Failed", "failed", [slot.failed for slot in slots]),
                ],
            ),
        ),
        (
            "Latency",
            charts.lines(
                "Seconds of running and of waiting, on average",
                f"{duration(total.run_s)} of running and {duration(total.wait_s)} of waiting"
                f" in the last {period.past}.",
                period,
                starts,
                [
                    charts.Series("Running", "running", _where_any(slots, [slot.run_s for slot in slots])),
                    charts.Series("Waiting", "waiting", _where_any(slots, [slot.wait_s for slot in slots])),
                ],
                duration,
            ),
        ),
        (
            "Failures and retries",
            charts.bars(
                "Attempts that failed",
                f"{total.failed:,} failed for good and {total.retried:,} were retried in the last {period.past}.",
                period,
                starts,
                [
                    charts.Series("Failed", "failed", [slot.failed for slot in slots]),
                    charts.Series("Retried", "retried", [slot.retried for slot in slots]),
                ],
            ),
        ),
    ]


def _where_any(slots: list[Slot], values: list[float]) -> list[float]:
    return [value if slot.ended + slot.retried else math.nan for slot, value in zip(slots, values, strict=True)]


# -- workers -------------------------------------------------------------------------------------------------------


async def workers(monitor: Monitor) -> Response:
    return await monitor.page("workers.html", refresh="workers", workers=await monitor.store.workers())


async def worker(monitor: Monitor, name: str) -> Response:
    store, problems, period = monitor.store, list[str](), _period()
    online = await settled(store.workers(), problems)
    shown = next((one for one in online or () if one.id == name), None)
    past = await settled(_of_worker(store, period, name), problems)
    _both_away(problems, online, past)
    if shown is None and (past is None or not past.total.ended):
        if online is None:
            raise RedisUnavailable(" ".join(problems))
        raise Problem(404, f"Unknown worker '{name}'")
    return await monitor.page(
        "worker.html",
        problems=problems,
        refresh="jobs workers",
        name=name,
        worker=shown,
        period=period,
        history=past,
        charts=_charts(past)[:2] if past else None,
    )


async def _of_worker(store: Store, period: Period, name: str) -> History:
    async with store.database() as connection:
        return await history(connection, period, datetime.now(UTC), name)


# -- queues and schedules ------------------------------------------------------------------------------------------


async def _lengths(
    monitor: Monitor, store: Store, workers: list[Worker], waiting: dict[str, Any] | None
) -> dict[str, int]:
    names = {queue for one in workers for queue in one.queues} | set(waiting or ())
    names.add(store.runtime.conf.task_default_queue)
    return await store.queue_lengths(sorted(names))


async def queues(monitor: Monitor) -> Response:
    store, problems = monitor.store, list[str]()
    online = await settled(store.workers(), problems)
    waiting = await settled(_waiting(store), problems)
    _both_away(problems, online, waiting)
    lengths = await settled(_lengths(monitor, store, online, waiting), problems) if online is not None else None
    return await monitor.page(
        "queues.html",
        problems=problems,
        refresh="jobs workers",
        rows=[
            {
                "name": name,
                "length": (lengths or {}).get(name),
                "waiting": (waiting or {}).get(name),
                "workers": [one for one in online or () if name in one.queues],
            }
            for name in sorted({*(lengths or ()), *(waiting or ())})
        ],
        known=online is not None,
    )


async def _waiting(store: Store) -> dict[str, facts.QueueCount]:
    async with store.database() as connection:
        return await facts.queue_counts(connection)


async def broker(monitor: Monitor) -> Any:
    """Flower's address of the page."""
    return redirect(current_app.url_for(".queues"), 301)


async def schedules(monitor: Monitor) -> Response:
    rows = await monitor.ticker.rows()
    configured = set(monitor.store.runtime.conf.beat_schedule)
    return await monitor.page("schedules.html", refresh="jobs", rows=rows, configured=configured)


# -- live ----------------------------------------------------------------------------------------------------------


async def live(monitor: Monitor) -> Response:
    """Server-sent events: ``jobs`` (``{"number", "events"}``), ``workers`` (``{"online", "active"}``), ``away``.

    They end after ten minutes: the browser asks for more, and the guard is asked whether it may have them.
    """
    hub, job = monitor.hub, request.args.get("job")
    hub.check_room()

    async def messages() -> AsyncIterator[bytes]:
        async with hub.watching(job) as watcher:
            yield b"retry: 3000\nevent: hello\ndata: {}\n\n"
            until = time.monotonic() + _STREAM_S
            while (message := await watcher.next()) is not None:
                yield message
                if time.monotonic() > until:
                    yield b"retry: 100\n\n"
                    return

    body = messages() if request.method == "GET" else b""  # of a HEAD's, nobody would read the end
    response = Response(body, content_type="text/event-stream; charset=utf-8")
    response.timeout = None
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["Cache-Control"] = "no-store"
    return response


GET: Final = ["GET"]
ROUTES: Final = (
    ("/", "overview", overview, GET),
    ("/workers", "workers", workers, GET),
    ("/worker/<name>", "worker", worker, GET),
    ("/queues", "queues", queues, GET),
    ("/broker", "broker", broker, GET),
    ("/schedules", "schedules", schedules, GET),
    ("/live", "live", live, GET),
)
