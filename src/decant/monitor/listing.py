"""Pages of jobs out of a million: by an index, or within a bounded number of the newest.

The jobs are in the order ``created DESC, id DESC``, and a page begins after a row, not after a number of rows. One
condition is looked up in the index that has it, of several the one whose rows reach back the farthest; the others are
tried on at most :data:`WINDOW` rows that it finds, and where that is not all of them, the page says so and leads on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ..tasks import states
from . import searching
from .filters import Cursor, JobFilter

__all__ = ["COLUMNS", "WINDOW", "Page", "Statement", "find", "sort_newest", "statements"]

WINDOW: Final = 5_000
"""How many rows a condition is tried on, at most, for one page: each may be in another block of the table."""
COLUMNS: Final = (
    "id, task, queue, state, custom_state, summary, worker, attempt, retries, created, eta, started, finished"
)
_SORTED: Final = {"name": "task", "state": "state", "started": "started", "received": "created"}


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, the newest first, and where their neighbours are.

    ``cut``: the conditions were tried on :data:`WINDOW` rows and there are more, which ``older`` (or ``newer``, where
    it was looked for those) leads to.
    """

    rows: list[Any]
    older: Cursor | None
    newer: Cursor | None
    cut: bool


class Statement:
    """A statement and its values: ``window`` selects by the index, ``rest`` is tried on each of its rows.

    :param by: which of the conditions that have an index is looked up in it, of ``choices``.
    """

    def __init__(self, wanted: JobFilter, cursor: Cursor | None, *, newer: bool = False, by: int = 0) -> None:
        self.values: list[Any] = []
        self.order = "created ASC, id ASC" if newer else "created DESC, id DESC"
        indexed, rest = self._sorted_out(wanted, by)
        if wanted.since is not None:
            indexed.append(f"created >= {self._value(wanted.since)}")
        if wanted.until is not None:
            indexed.append(f"created < {self._value(wanted.until)}")
        if cursor is not None:
            there = f"({self._value(cursor.created)}, {self._value(cursor.id)})"
            indexed.append(f"(created, id) {'>' if newer else '<'} {there}")
        self.indexed = f"WHERE {' AND '.join(indexed)}" if indexed else ""
        self.rest = rest

    def _value(self, value: Any) -> str:
        self.values.append(value)
        cast = "::text" if isinstance(value, str) else "::uuid" if isinstance(value, UUID) else "::timestamptz"
        return f"${len(self.values)}{cast}"

    def _sorted_out(self, wanted: JobFilter, by: int) -> tuple[list[str], list[str]]:
        """The condition that is looked up in its index, and the others."""
        indexed = [
            f"{name} = {self._value(value)}"
            for name, value in (("task", wanted.task), ("worker", wanted.worker), ("queue", wanted.queue))
            if value
        ]
        rest = []
        if wanted.state:
            # Not a parameter: a prepared statement would not know that the partial index has these rows. It is one of
            # filters.STATES.
            state = f"state = '{wanted.state}'"
            if wanted.state != states.SUCCESS:
                indexed.insert(0, state)
            else:
                rest.append(state)
        self.choices = len(indexed)
        found = [indexed.pop(by)] if indexed else []
        rest += indexed
        if wanted.text:
            rest.append(searching.condition(wanted.text, self._value))
        return found, rest

    def window(self, columns: str, limit: int, offset: int = 0) -> str:
        """The rows that the index finds."""
        skipped = f" OFFSET {offset}" if offset else ""
        return f"SELECT {columns} FROM decant_jobs {self.indexed} ORDER BY {self.order} LIMIT {limit}{skipped}"  # noqa: S608

    def select(self, limit: int, *, columns: str = COLUMNS, order: str | None = None, offset: int = 0) -> str:
        """The rows of the page; with ``order``, the newest :data:`WINDOW` rows are sorted."""
        if not self.rest and order is None:
            return self.window(columns, limit, offset)
        tried = f"{columns}, result" if any("result" in sql for sql in self.rest) else columns
        inner = self.window(tried, WINDOW)
        where = f"WHERE {' AND '.join(self.rest)}" if self.rest else ""
        skipped = f" OFFSET {offset}" if offset else ""
        return (
            f"SELECT {columns} FROM ({inner}) AS newest {where}"  # noqa: S608
            f" ORDER BY {order or self.order} LIMIT {limit}{skipped}"
        )

    def edge(self) -> str:
        """The last row of a full window; none where the window has everything."""
        return self.window("created, id", 1, WINDOW - 1)


def statements(wanted: JobFilter, cursor: Cursor | None = None, *, newer: bool = False) -> list[Statement]:
    """The same question by each of the indexes that can answer it.

    :raises SearchError: for a text that cannot be searched for.
    """
    first = Statement(wanted, cursor, newer=newer)
    return [first, *(Statement(wanted, cursor, newer=newer, by=by) for by in range(1, first.choices))]


async def _edge(connection: Any, query: Statement) -> Cursor | None:
    # The last values are those of what is tried on each row: the window's statement does not know them.
    row = await connection.fetchrow(*_with_known(query.edge(), query.values))
    return Cursor(row["created"], row["id"]) if row is not None else None


async def _best(connection: Any, queries: list[Statement], *, newer: bool = False) -> tuple[Statement, Cursor | None]:
    """The one whose window has everything, or reaches the farthest; and where it ends."""
    ends: list[tuple[Statement, Cursor]] = []
    for query in queries:
        edge = await _edge(connection, query)
        if edge is None:
            return query, None
        ends.append((query, edge))
    return (max if newer else min)(ends, key=lambda end: (end[1].created, end[1].id))


async def find(
    connection: Any, wanted: JobFilter, *, size: int = 50, before: Cursor | None = None, after: Cursor | None = None
) -> Page:
    """A page of ``size`` jobs older than ``before``, or newer than ``after``, or the newest.

    :param connection: asyncpg's.
    :raises SearchError: for a text that cannot be searched for.
    """
    newer = after is not None and before is None
    queries = statements(wanted, after if newer else before, newer=newer)
    query, edge = await _best(connection, queries, newer=newer) if len(queries) > 1 else (queries[0], None)
    rows = list(await connection.fetch(query.select(size + 1), *query.values))
    more = Cursor(rows[size - 1]["created"], rows[size - 1]["id"]) if len(rows) > size else None
    cut = False
    if more is None and query.rest:
        more = await _edge(connection, query) if len(queries) == 1 else edge
        cut = more is not None
    rows = rows[:size]
    if newer:
        rows.reverse()
        back = Cursor(rows[-1]["created"], rows[-1]["id"]) if rows else after
        return Page(rows, back, more, cut)
    back = Cursor(rows[0]["created"], rows[0]["id"]) if rows and before is not None else before
    return Page(rows, more, back, cut)


async def sort_newest(
    connection: Any, wanted: JobFilter, *, sort_by: str, descending: bool, limit: int, offset: int
) -> list[Any]:
    """As Flower's ``/api/tasks`` sorts: by ``name``, ``state``, ``started`` or ``received``; all but the last among the
    newest :data:`WINDOW`.
    """
    queries = statements(wanted)
    query, _ = await _best(connection, queries) if len(queries) > 1 else (queries[0], None)
    column = _SORTED[sort_by]
    order = None if column == "created" and descending else f"{column} {'DESC' if descending else 'ASC'} NULLS LAST"
    return list(await connection.fetch(query.select(limit, order=order, offset=offset), *query.values))


def _with_known(sql: str, values: list[Any]) -> tuple[Any, ...]:
    """The statement with only the values that it has, numbered anew."""
    used = [index for index in range(1, len(values) + 1) if f"${index}::" in sql]
    for new, old in enumerate(used, 1):
        sql = sql.replace(f"${old}::", f"${new}::")
    return (sql, *(values[old - 1] for old in used))
