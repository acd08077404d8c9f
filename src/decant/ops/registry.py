"""Where every part reports: counters, gauges, histograms, and whether it is ready to serve.

With prometheus-client the metrics are its own, in its default registry; without it they count nothing, so that no
caller has to ask. A metric is made by its name, as often as one likes: the same object comes back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final, Literal, TypeVar

try:
    import prometheus_client as prometheus
except ImportError:
    prometheus = None  # type: ignore[assignment]

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "Readiness",
    "check_readiness",
    "counter",
    "gauge",
    "histogram",
    "readiness",
]

Check = Callable[[], Awaitable[object]]


class _Metric:
    """A name, its labels and, with prometheus-client, the metric that counts."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...], **options: Any) -> None:  # noqa: A002
        self.name, self.help, self.labels, self.options = name, help, labels, options
        self._expected = frozenset(labels)
        kind = getattr(prometheus, type(self).__name__, None)
        self._inner: Any = kind(name, help, labels, **options) if kind else None

    def _child(self, given: dict[str, object]) -> Any:
        """The series with these labels; ``None`` without prometheus-client."""
        if given.keys() != self._expected:
            raise ValueError(f"{self.name} has the labels {list(self.labels)}, not {sorted(given)}")
        return self._inner.labels(**given) if given and self._inner is not None else self._inner


class Counter(_Metric):
    """A number that only grows."""

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Add ``amount``, which must not be negative."""
        if (child := self._child(labels)) is not None:
            child.inc(amount)


class Gauge(_Metric):
    """A number that goes up and down."""

    def set(self, value: float, **labels: object) -> None:
        if (child := self._child(labels)) is not None:
            child.set(value)

    def inc(self, amount: float = 1, **labels: object) -> None:
        if (child := self._child(labels)) is not None:
            child.inc(amount)

    def dec(self, amount: float = 1, **labels: object) -> None:
        self.inc(-amount, **labels)

    def set_function(self, function: Callable[[], float], **labels: object) -> None:
        """Ask ``function`` for the value whenever metrics are collected, in the thread that collects them."""
        if (child := self._child(labels)) is not None:
            child.set_function(function)


class Histogram(_Metric):
    """How often values fall into which bucket."""

    def observe(self, value: float, **labels: object) -> None:
        if (child := self._child(labels)) is not None:
            child.observe(value)


M = TypeVar("M", bound=_Metric)
_metrics: Final[dict[str, _Metric]] = {}
_lock: Final = threading.Lock()


def _metric(kind: type[M], name: str, help: str, labels: Sequence[str], **options: Any) -> M:  # noqa: A002
    wanted = tuple(labels)
    with _lock:
        metric = _metrics.get(name)
        if metric is None:
            metric = _metrics[name] = kind(name, help, wanted, **options)
        if type(metric) is not kind or (metric.labels, metric.options) != (wanted, options):
            raise ValueError(
                f"the metric {name!r} exists as a {type(metric).__name__} with labels {list(metric.labels)} and"
                f" {metric.options}, and cannot also be a {kind.__name__} with {list(wanted)} and {options}"
            )
        return metric


def counter(name: str, help: str, labels: Sequence[str] = ()) -> Counter:  # noqa: A002
    """The counter ``name``; as prometheus-client has it, it is exposed with the suffix ``_total``.

    :raises ValueError: if the name is another kind of metric or has other labels.
    """
    return _metric(Counter, name, help, labels)


def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Gauge:  # noqa: A002
    """The gauge ``name``.

    :raises ValueError: if the name is another kind of metric or has other labels.
    """
    return _metric(Gauge, name, help, labels)


SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def histogram(name: str, help: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS) -> Histogram:  # noqa: A002
    """The histogram ``name``; the default buckets are for durations in seconds.

    :raises ValueError: if the name is another kind of metric, or has other labels or buckets.
    """
    return _metric(Histogram, name, help, labels, buckets=tuple(buckets))


@dataclass(frozen=True)
class Readiness:
    """What one check said: ``degraded`` is the failure of a check that is not critical."""

    state: Literal["ok", "degraded", "failed"]
    text: str
    seconds: float


_EXTENSION: Final = "decant_readiness"
_global_checks: Final[dict[str, tuple[Check, bool]]] = {}
_stubborn: Final[set[asyncio.Task[object]]] = set()


def _checks(app: Any) -> dict[str, tuple[Check, bool]]:
    if app is None:
        return _global_checks
    # Not a WeakKeyDictionary: checks refer to their application, which would then never be freed.
    checks: dict[str, tuple[Check, bool]] = app.extensions.setdefault(_EXTENSION, {})
    return checks


def readiness(name: str, check: Check, *, critical: bool = True, app: Any = None) -> None:
    """Register a check; one of the same name is replaced.

    :param check: an async function that returns when the part is ready and raises when it is not.
    :param critical: ``False`` if the application serves without that part, in a reduced way.
    :param app: the application whose check it is; ``None``: the whole process.
    """
    _checks(app)[name] = (check, critical)


async def check_readiness(timeout_s: float = 2.0, *, app: Any = None) -> dict[str, Readiness]:
    """Run the checks of the process, and those of ``app`` if given, at once; each has ``timeout_s`` seconds.

    Name → result, in the order of registration. A check that fails, or is not done in time, never raises here.
    """
    checks = dict(_global_checks) | (dict(_checks(app)) if app is not None else {})
    tasks = {name: asyncio.create_task(_run(check, timeout_s)) for name, (check, _) in checks.items()}
    try:
        outcomes = {name: await task for name, task in tasks.items()}
    finally:
        for task in tasks.values():
            task.cancel()
    return {
        name: Readiness("ok" if not text else "failed" if checks[name][1] else "degraded", text, seconds)
        for name, (text, seconds) in outcomes.items()
    }


async def _run(check: Check, timeout_s: float) -> tuple[str, float]:
    """What was wrong, in words, and the seconds that it took."""
    started = time.monotonic()
    task = asyncio.ensure_future(_called(check))
    _stubborn.add(task)
    task.add_done_callback(_ended)  # from the beginning: it may fail while whoever asked goes away
    try:
        done, _ = await asyncio.wait([task], timeout=timeout_s)
    finally:
        task.cancel()  # it may be deaf to that, so it is not waited for
    seconds = time.monotonic() - started
    if not done:
        return f"no answer within {timeout_s:g} s", seconds
    if task.cancelled():
        return "CancelledError", seconds
    error = task.exception()
    return "" if error is None else f"{type(error).__name__}: {error}", seconds


async def _called(check: Check) -> object:
    awaitable = check()
    if not isawaitable(awaitable):
        raise TypeError(f"a readiness check must be async: {check!r}")
    return await awaitable


def _ended(task: asyncio.Task[object]) -> None:
    _stubborn.discard(task)
    if not task.cancelled():
        task.exception()  # seen: the check is reported as failed, or nobody asks any more
