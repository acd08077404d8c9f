"""Metrics have Flower's names and count what the stream of events says."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from decant.monitor import counting
from decant.monitor.counting import Counting
from decant.monitor.store import Worker

from .test_acting import sent, until, worker
from .test_live import reads_on


def read(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Name of the sample → labels → value, as Prometheus reads it."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
    return found


@pytest.mark.parity("flower", "Prometheus")
async def test_a_workers_jobs_are_counted(site: Any) -> None:
    """By type, worker and task; how long they ran; what runs now."""
    async with worker(site) as service:
        await site.text("/metrics")
        await until(lambda: reads_on(site))
        for number in range(3):
            await sent(site, "app.add", number, 1)
        await sent(site, "app.fail", "x")
        await sent(site, "app.hang")

        hanging = (("task", "app.hang"), ("worker", service.id))

        async def counted() -> Any:
            metrics = read(await site.text("/metrics"))
            running = metrics.get("flower_worker_number_of_currently_executing_tasks", {}).get(
                (("worker", service.id),)
            )
            done = metrics.get("flower_task_runtime_seconds_count", {})
            hangs = hanging in metrics.get("flower_task_prefetch_time_seconds", {})
            return metrics if sum(done.values()) == 4 and running == 1 and hangs else None

        metrics = await until(counted)
        labels = {"task": "app.add", "worker": service.id}
        of_add = tuple(sorted(labels.items()))
        succeeded = tuple(sorted({**labels, "type": "task-succeeded"}.items()))
        assert metrics["flower_events_total"][succeeded] == 3
        failed = tuple(sorted({"task": "app.fail", "worker": service.id, "type": "task-failed"}.items()))
        assert metrics["flower_events_total"][failed] == 1
        assert metrics["flower_task_runtime_seconds_count"][of_add] == 3
        assert metrics["flower_task_runtime_seconds_sum"][of_add] > 0
        assert metrics["flower_task_runtime_seconds_bucket"][tuple(sorted({**labels, "le": "+Inf"}.items()))] == 3
        assert metrics["flower_worker_prefetched_tasks"][of_add] == 0
        assert metrics["flower_worker_online"][(("worker", service.id),)] == 1


@pytest.mark.parity("flower", "Prometheus")
def test_a_histogram_adds_up() -> None:
    count = Counting()
    for runtime in (0.004, 0.03, 0.03, 3.0, 99.0):
        count.add({"type": "task-succeeded", "worker": "w", "task": "t", "runtime": str(runtime)})
    buckets = {
        dict(key)["le"]: value for key, value in read(count.text([]))["flower_task_runtime_seconds_bucket"].items()
    }
    assert [buckets[le] for le in ("0.005", "0.025", "0.05", "2.5", "5", "10", "+Inf")] == [1, 1, 3, 3, 4, 4, 5]
    assert read(count.text([]))["flower_task_runtime_seconds_sum"][(("task", "t"), ("worker", "w"))] == pytest.approx(
        102.064
    )
    assert read(count.text([]))["flower_worker_online"][(("worker", "w"),)] == 0


def test_names_are_escaped() -> None:
    count = Counting()
    evil = 'a"b\\c\nd'
    count.add({"type": "task-started", "worker": evil, "task": evil, "wait": "0.5"})
    metrics = read(count.text([Worker(evil)]))
    assert metrics["flower_worker_online"] == {(("worker", evil),): 1}


def test_series_are_bounded_and_those_of_a_worker_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MAX_SERIES", 3)
    count = Counting()
    for number in range(10):
        count.add({"type": "task-succeeded", "worker": f"w{number}", "task": "t", "runtime": "1"})
    assert count.workers() == {"w0", "w1", "w2"}
    assert count.left_out == 7
    count.forget("w1")
    assert "w1" not in count.text([])
