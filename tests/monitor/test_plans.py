"""Every statement of the monitor finds its rows by an index: 200,000 jobs, and no table is read through."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from decant.monitor import facts, history
from decant.monitor.filters import Cursor, JobFilter
from decant.monitor.listing import _with_known, statements

from ..ledgers import new_ledger
from .conftest import HISTORY

ROWS = 200_000
NOW = datetime.now(UTC)
MIDDLE = Cursor(NOW - timedelta(seconds=ROWS // 2), uuid.UUID(int=0))

STATS = """
INSERT INTO decant_stats (minute, task, worker, succeeded)
SELECT date_trunc('minute', now()) - n * interval '1 minute', 'app.task' || k, 'web' || w, n % 50
FROM generate_series(0, 10000) AS n, generate_series(0, 3) AS k, generate_series(0, 2) AS w
"""
ATTEMPTS = """
INSERT INTO decant_attempts (job_id, attempt, state) SELECT md5(n::text)::uuid, 1, 'RETRY'
FROM generate_series(1, 20000) AS n
"""


@pytest.fixture(scope="module")
def explain(servers: Any) -> Iterator[Any]:
    """Explains a statement on a ledger of 200,000 jobs: the types of the plan's nodes, each with its table."""
    with new_ledger(servers) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(HISTORY.format(rows=ROWS, waiting=100))
        connection.execute(STATS)
        connection.execute(ATTEMPTS)
        connection.execute(
            "INSERT INTO decant_groups (id, total, remaining)"
            " SELECT gen_random_uuid(), 1, 1 FROM generate_series(1, 5000)"
        )
        connection.execute("VACUUM ANALYZE")

        def plan(sql: str, values: Any = ()) -> set[tuple[str, str]]:
            for index, value in reversed(list(enumerate(values, 1))):
                sql = sql.replace(f"${index}", psycopg.sql.Literal(value).as_string(connection))
            (found,) = connection.execute(f"EXPLAIN (FORMAT JSON, ANALYZE) {sql}").fetchone()
            nodes: set[tuple[str, str]] = set()
            _walk(found[0]["Plan"], nodes)
            assert found[0]["Execution Time"] < 2000, json.dumps(found)[:2000]
            return nodes

        yield plan


def _walk(node: dict[str, Any], found: set[tuple[str, str]]) -> None:
    if "Relation Name" in node:
        found.add((node["Node Type"], node["Relation Name"]))
    for child in node.get("Plans", ()):
        _walk(child, found)


FILTERS = {
    "all": {},
    "failed": {"state": "FAILURE"},
    "succeeded": {"state": "SUCCESS"},
    "waiting": {"state": "PENDING"},
    "none": {"state": "REJECTED"},
    "task": {"task": "app.task3"},
    "rare task": {"task": "app.taskrare"},
    "no such task": {"task": "app.gone"},
    "worker": {"worker": "web1:1:ab"},
    "queue": {"queue": "slow"},
    "failed of a task": {"state": "FAILURE", "task": "app.task0"},
    "succeeded of a worker": {"state": "SUCCESS", "worker": "web2:1:ab"},
    "task and worker": {"task": "app.task1", "worker": "web2:1:ab"},
    "time": {"since": NOW - timedelta(hours=9), "until": NOW - timedelta(hours=8)},
    "time and task": {"since": NOW - timedelta(hours=9), "until": NOW - timedelta(hours=8), "task": "app.task2"},
    "text": {"text": "user=19000"},
    "text that is nowhere": {"text": "nobody"},
    "text of a task": {"text": "user=1900 OR worker:web1", "task": "app.task4"},
    "all at once": {"state": "FAILURE", "task": "app.task0", "worker": "web2:1:ab", "queue": "slow", "text": "user"},
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("where", ["first", "older", "newer"])
def test_a_page_of_jobs_is_found_by_an_index(explain: Any, name: str, where: str) -> None:
    """Whatever it is filtered by, and at each end and in the middle."""
    queries = statements(JobFilter(**FILTERS[name]), None if where == "first" else MIDDLE, newer=where == "newer")
    for query in queries:
        for sql, *values in ((query.select(51), *query.values), _with_known(query.edge(), query.values)):
            nodes = explain(sql, values)
            assert nodes
            assert [node for node in nodes if node[0] == "Seq Scan"] == [], sql


SOME = uuid.UUID("c4ca4238a0b923820dcc509a6f75849b")
PERIOD = history.PERIODS["1h"]
OTHERS = {
    "a job": (facts.JOB, [SOME]),
    "its attempts": (facts.ATTEMPTS, [SOME]),
    "its children": (facts.CHILDREN, [SOME]),
    "its group": (facts.GROUP, [SOME]),
    "the group's members": (facts.MEMBERS, [SOME]),
    "how many wait": (facts.WAITING, []),
    "how many run": (facts.RUNNING, []),
    "tasks": (facts.NAMES.format("task", 200), []),
    "queues": (facts.NAMES.format("queue", 200), []),
    "what waits by queue": (facts.QUEUES, []),
    "what is purged": (facts.PURGED, ["slow", NOW]),
    "history": (history.HISTORY.format(""), [PERIOD.step, NOW - PERIOD.length]),
    "history of a worker": (history.HISTORY.format(" AND worker = $3"), [PERIOD.step, NOW - PERIOD.length, "web1"]),
    "busiest tasks": (history.BUSIEST.format(""), [NOW - PERIOD.length]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_everything_else_is_found_by_an_index(explain: Any, name: str) -> None:
    sql, values = OTHERS[name]
    nodes = explain(sql, values)
    assert [node for node in nodes if node[0] == "Seq Scan"] == []
