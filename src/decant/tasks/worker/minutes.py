"""What a worker does in each minute, added up into ``decant_stats``: the source of the monitor's charts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["Minutes"]

_COLUMNS: Final = ("succeeded", "failed", "retried", "run_s", "run_max_s", "wait_s")
_UPSERT: Final = """
INSERT INTO decant_stats AS kept (minute, task, worker, succeeded, failed, retried, run_s, run_max_s, wait_s)
SELECT new.minute, new.task, $3, new.succeeded, new.failed, new.retried, new.run_s, new.run_max_s, new.wait_s
FROM unnest($1::timestamptz[], $2::text[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::float8[], $8::float8[], $9::float8[])
     AS new (minute, task, succeeded, failed, retried, run_s, run_max_s, wait_s)
ON CONFLICT (minute, task, worker) DO UPDATE SET
    succeeded = kept.succeeded + excluded.succeeded,
    failed = kept.failed + excluded.failed,
    retried = kept.retried + excluded.retried,
    run_s = kept.run_s + excluded.run_s,
    run_max_s = greatest(kept.run_max_s, excluded.run_max_s),
    wait_s = kept.wait_s + excluded.wait_s
"""
_COUNTED: Final = {
    "task-succeeded": "succeeded",
    "task-failed": "failed",
    "task-rejected": "failed",
    "task-revoked": "failed",
    "task-retried": "retried",
}
_MOST: Final = 10_000


@dataclass(slots=True)
class _Row:
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    run_s: float = 0.0
    run_max_s: float = 0.0
    wait_s: float = 0.0

    def add(self, other: _Row) -> None:
        for name in _COLUMNS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.run_max_s = max(self.run_max_s - other.run_max_s, other.run_max_s)


class Minutes:
    """Listens to events (:meth:`~decant.tasks.events.Recorder.listen`); :meth:`write` adds them to the ledger's rows.

    ``totals`` counts the same since the worker's start: ``succeeded``, ``failed``, ``retried``. While the database is
    away up to 10,000 rows are kept; the ledger itself still has what they would have said.
    """

    def __init__(self, ledger: Any, worker: str) -> None:
        self._ledger, self._worker = ledger, worker
        self._rows: defaultdict[tuple[int, str], _Row] = defaultdict(_Row)
        self.totals = dict.fromkeys(("succeeded", "failed", "retried"), 0)

    def note(self, event: dict[str, Any]) -> None:
        """Count a task's event; others are not for here."""
        counted = _COUNTED.get(event["type"])
        if counted is not None:
            self.totals[counted] += 1
        elif event["type"] != "task-started":
            return
        key = int(event["time"] // 60), str(event.get("task") or "?")
        if key not in self._rows and len(self._rows) >= _MOST:
            return
        row = self._rows[key]
        if counted is None:
            row.wait_s += max(0.0, event.get("wait") or 0.0)
            return
        setattr(row, counted, getattr(row, counted) + 1)
        run_s = event.get("runtime") or 0.0
        row.run_s += run_s
        row.run_max_s = max(row.run_max_s, run_s)

    async def write(self) -> None:
        """Add what was counted since the last time, in one statement.

        :raises Unavailable: if the database is; nothing is lost then.
        """
        if self._ledger is None or not self._rows:
            self._rows.clear()
            return
        rows, self._rows = self._rows, defaultdict(_Row)
        columns = [[getattr(row, name) for row in rows.values()] for name in _COLUMNS]
        minutes = [datetime.fromtimestamp(minute * 60, UTC) for minute, _ in rows]
        try:
            async with self._ledger.connection() as connection:
                await connection.execute(_UPSERT, minutes, [task for _, task in rows], self._worker, *columns)
        except BaseException:
            for key, row in rows.items():
                self._rows[key].add(row)
            raise
