"""Prometheus' text format, with Flower's names, out of the stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .store import Worker

__all__ = ["BUCKETS", "CONTENT_TYPE", "Counting"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds; Flower's, which are prometheus-client's."""
_MAX_SERIES: Final = 20_000
_ENDS: Final = frozenset({"task-succeeded", "task-failed", "task-retried", "task-revoked"})
_MEASURED: Final = frozenset({"task-succeeded", "task-failed", "task-retried"})


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    number: int = 0
    total: float = 0.0

    def observe(self, value: float) -> None:
        self.number += 1
        self.total += value
        for index, bound in enumerate(BUCKETS):
            if value <= bound:
                self.counts[index] += 1


class Counting:
    """Counts events since it was made. Series of a worker are kept while it, or its name, is known; at most 20,000."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str, str], int] = {}
        self._runtimes: dict[tuple[str, str], _Histogram] = {}
        self._waits: dict[tuple[str, str], float] = {}
        self._seen: set[str] = set()
        self.left_out = 0

    def add(self, event: Mapping[str, Any]) -> None:
        """One event of the stream."""
        type_, worker, task = event.get("type", ""), event.get("worker", ""), event.get("task", "")
        key = (worker, type_, task)
        if key not in self._events and len(self._events) >= _MAX_SERIES:
            self.left_out += 1
            return
        self._events[key] = self._events.get(key, 0) + 1
        self._seen.add(worker)
        if type_ == "task-started" and event.get("wait") is not None:
            self._waits[worker, task] = float(event["wait"])
        elif type_ in _ENDS:
            self._waits.pop((worker, task), None)
        if type_ in _MEASURED and event.get("runtime") is not None:
            self._runtimes.setdefault((worker, task), _Histogram()).observe(float(event["runtime"]))

    def text(self, workers: Iterable[Worker]) -> str:
        """All of it, with what ``workers`` say of themselves now."""
        known = {worker.id: worker for worker in workers}
        lines: list[str] = []
        _head(lines, "flower_events_total", "counter", "Number of events")
        for (worker, type_, task), number in self._events.items():
            lines.append(f"flower_events_total{_labels(worker=worker, type=type_, task=task)} {number}")
        _head(lines, "flower_task_prefetch_time_seconds", "gauge", "The time the task spent waiting to be executed.")
        for (worker, task), seconds in self._waits.items():
            lines.append(f"flower_task_prefetch_time_seconds{_labels(worker=worker, task=task)} {seconds:g}")
        _head(lines, "flower_worker_prefetched_tasks", "gauge", "Tasks fetched and not begun: a worker fetches none.")
        for worker, task in dict.fromkeys((worker, task) for worker, _, task in self._events if task and worker):
            lines.append(f"flower_worker_prefetched_tasks{_labels(worker=worker, task=task)} 0")
        self._histograms(lines)
        _head(lines, "flower_worker_online", "gauge", "Whether the worker is online")
        names = sorted((self._seen | known.keys()) - {""})
        lines.extend(f"flower_worker_online{_labels(worker=name)} {int(name in known)}" for name in names)
        _head(lines, "flower_worker_number_of_currently_executing_tasks", "gauge", "Tasks that the worker executes now")
        for name, worker_ in known.items():
            labels = _labels(worker=name)
            lines.append(f"flower_worker_number_of_currently_executing_tasks{labels} {len(worker_.active)}")
        return "\n".join(lines) + "\n"

    def _histograms(self, lines: list[str]) -> None:
        name = "flower_task_runtime_seconds"
        _head(lines, name, "histogram", "Task runtime")
        for (worker, task), histogram in self._runtimes.items():
            for bound, number in zip(BUCKETS, histogram.counts, strict=True):
                lines.append(f"{name}_bucket{_labels(worker=worker, task=task, le=f'{bound:g}')} {number}")
            lines.append(f"{name}_bucket{_labels(worker=worker, task=task, le='+Inf')} {histogram.number}")
            lines.append(f"{name}_count{_labels(worker=worker, task=task)} {histogram.number}")
            lines.append(f"{name}_sum{_labels(worker=worker, task=task)} {histogram.total:.6g}")

    def workers(self) -> set[str]:
        """The ids of those that events came from."""
        return set(self._seen)

    def forget(self, worker: str) -> None:
        """Drop what is counted of a worker, which has ended: each start has an id of its own."""
        self._seen.discard(worker)
        self._events = {key: number for key, number in self._events.items() if key[0] != worker}
        self._runtimes = {key: histogram for key, histogram in self._runtimes.items() if key[0] != worker}
        self._waits = {key: seconds for key, seconds in self._waits.items() if key[0] != worker}


def _head(lines: list[str], name: str, kind: str, text: str) -> None:
    lines.append(f"# HELP {name} {text}")
    lines.append(f"# TYPE {name} {kind}")


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
