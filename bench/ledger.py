"""A ledger of a million finished jobs: how long the monitor's pages take, and how long forgetting half of it.

    python bench/ledger.py

The server is an embedded PostgreSQL that syncs its files. Times are of the server alone, through the test client. The
exit status is 1 if a page takes longer than it may.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Run as a script, this file's folder comes first, and the files in it would be taken for packages of their names.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402

from decant import Quart  # noqa: E402
from decant.embedded import services  # noqa: E402
from decant.monitor import Monitor  # noqa: E402
from decant.tasks import Tasks  # noqa: E402
from decant.tasks.codec import Envelope, encode, encode_envelope, encode_error  # noqa: E402
from decant.tasks.ledger.tables import metadata  # noqa: E402

LIMIT_MS = 200.0
WORKERS = 6
TASKS = ("mail.send", "pages.preview", "clicks.drain", "links.import", "links.export", "mail.digest", "qr.draw", "tidy")
JOBS = """
INSERT INTO decant_jobs (id, task, queue, payload, summary, state, attempt, worker, result, error,
  created, started, finished)
SELECT uuidv7(n * interval '-600 ms'), ($1::text[])[1 + (n * 7 + n / 13) % array_length($1::text[], 1)],
  CASE WHEN n % 10 = 0 THEN 'slow' WHEN n % 37 = 0 THEN 'rare' ELSE 'default' END, $2::bytea,
  n || ', address=''user' || n % 5000 || '@example.com''',
  CASE WHEN n % 50 = 0 THEN 'FAILURE' WHEN n % 501 = 0 THEN 'REVOKED' ELSE 'SUCCESS' END,
  1 + (n % 97 = 0)::int, 'host' || n % $3::int || ':4711:ab12cd', $4::bytea, CASE WHEN n % 50 = 0 THEN $5::bytea END,
  now() - n * interval '600 ms', now() - n * interval '600 ms' + interval '4 ms',
  now() - n * interval '600 ms' + interval '30 ms'
FROM generate_series($6::bigint, $7::bigint) AS n
"""
ATTEMPTS = """
INSERT INTO decant_attempts (job_id, attempt, worker, state, started, ended)
SELECT id, 1, worker, 'RETRY', started, started FROM decant_jobs WHERE attempt > 1
"""
STATS = """
INSERT INTO decant_stats (minute, task, worker, succeeded, failed, retried, run_s, run_max_s, wait_s)
SELECT date_trunc('minute', now()) - n * interval '1 minute', task, 'host' || w || ':4711:ab12cd',
  2 + n % 3, (n % 11 = 0)::int, (n % 13 = 0)::int, 0.05, 0.03, 0.01
FROM generate_series(0, $1::int) AS n, generate_series(0, $3::int - 1) AS w, unnest($2::text[]) AS task
"""


def failure() -> bytes:
    try:
        raise ConnectionRefusedError("the mail server refuses connections")
    except ConnectionRefusedError as error:
        return encode_error(error)


async def fill(url: str, rows: int) -> None:
    """The tables, and in them as many finished jobs, 600 ms apart."""
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    payload = encode_envelope(Envelope([17], {"address": "user@example.com"}), limit_bytes=10_000)
    values = (TASKS, payload, WORKERS, encode({"sent": True}), failure())
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        for first in range(1, rows + 1, 100_000):
            await driver.execute(JOBS, *values, first, min(rows, first + 99_999), timeout=600)
        await driver.execute(ATTEMPTS, timeout=600)
        await driver.execute(STATS, min(rows // 100, 1440 * 7), TASKS, WORKERS, timeout=600)
        await driver.execute("VACUUM ANALYZE", timeout=600)
    await engine.dispose()


def paths(jobs: dict[str, Any], rows: int) -> list[str]:
    """Pages and parts of the API, filtered in every way."""
    now = datetime.now(UTC)
    middle, later = (f"{now - timedelta(seconds=rows * 0.6 * part):%Y-%m-%dT%H:%M}" for part in (0.5, 0.49))
    worker = "host1:4711:ab12cd"
    filters = [
        *("", "state=FAILURE", "state=REVOKED", "state=SUCCESS", "state=PENDING", "task=mail.send", "task=nobody"),
        *(f"worker={worker}", "queue=slow", "queue=rare", f"until={middle}", f"since={middle}&until={later}"),
        *("task=qr.draw&state=FAILURE", "state=REVOKED&task=tidy&queue=rare", f"worker={worker}&state=FAILURE"),
        *("text=user4711%40example.com", "text=nothing+has+this", f"text=user99&until={middle}", "text=mail"),
    ]
    return [
        *(
            "/",
            "/?period=24h",
            "/?period=7d",
            "/workers",
            f"/worker/{worker}",
            "/queues",
            "/schedules",
            "/metrics",
            "/healthcheck",
        ),
        *(f"/tasks?{query}" for query in filters),
        *(f"/task/{id_}" for id_ in jobs.values()),
        *("/api/workers", "/api/queues/length", "/api/task/types"),
        *("/api/tasks", "/api/tasks?limit=50&state=FAILURE", "/api/tasks?limit=50&sort_by=name"),
        *(f"/api/task/info/{id_}" for id_ in jobs.values()),
    ]


async def one_of_each(connection: Any) -> dict[str, Any]:
    """By state, the id of a job."""
    rows = await connection.fetch(
        "SELECT state, id FROM unnest($1::text[]) AS s(state) CROSS JOIN LATERAL"
        " (SELECT id FROM decant_jobs j WHERE j.state = s.state LIMIT 1) AS one",
        ["SUCCESS", "FAILURE", "REVOKED"],
    )
    return {row["state"]: row["id"] for row in rows}


async def time_pages(app: Any, ledger: Any, rows: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each request, the first one included."""
    async with ledger.connection() as connection:
        jobs = await one_of_each(connection)
    client = app.test_client()
    took: dict[str, list[float]] = {}
    for path in paths(jobs, rows):
        for _ in range(repeats):
            begun = time.perf_counter()
            response = await client.get(f"/jobs{path}")
            took.setdefault(path, []).append((time.perf_counter() - begun) * 1e3)
            allowed = (200, 404) if path.startswith("/worker/") else (200,)  # none is online
            assert response.status_code in allowed, (path, response.status_code, await response.get_data())
    return took


async def measure(servers: Any, rows: int, repeats: int) -> bool:
    begun = time.perf_counter()
    await fill(servers.database_url, rows)
    print(f"{rows:,} jobs were written in {time.perf_counter() - begun:.0f} s")
    app = Quart(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI=servers.database_url, REDIS_URL=servers.redis_url, SECRET_KEY="bench")
    tasks = Tasks(app)
    app.register_blueprint(Monitor(tasks, guard=lambda: True), url_prefix="/jobs")
    async with app.test_app():
        ledger = tasks.runtime(app).ledger
        begun = time.perf_counter()
        await ledger.sum_up(datetime.now(UTC))  # as every worker does each minute
        print(f"the figures of a week's minutes were added up in {time.perf_counter() - begun:.1f} s")
        took = await time_pages(app, ledger, rows, repeats)
        print(f"{'ms: median, slowest':<60} {'median':>8} {'slowest':>8}")
        for path, samples in took.items():
            late = "  TOO SLOW" if max(samples) > LIMIT_MS else ""
            print(f"  {path[:56]:<58} {statistics.median(samples):8.1f} {max(samples):8.1f}{late}")
        older_than = datetime.now(UTC) - timedelta(seconds=rows * 0.3)
        begun = time.perf_counter()
        count = await ledger.prune(older_than)
        spent = time.perf_counter() - begun
        print(f"{count:,} jobs were forgotten in {spent:.1f} s, 1,000 in each transaction: {count / spent:,.0f} per s")
    return max(max(samples) for samples in took.values()) <= LIMIT_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="jobs (1,000 to 20,000,000)")
    parser.add_argument("--repeats", type=int, default=5, help="requests of each page (1 to 1,000)")
    given = parser.parse_args()
    for name, low, high in (("rows", 1_000, 20_000_000), ("repeats", 1, 1_000)):
        if not low <= getattr(given, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers = stack.enter_context(services(folder, durable=True))
        fast = asyncio.run(measure(servers, given.rows, given.repeats))
    return 0 if fast else 1


if __name__ == "__main__":
    sys.exit(main())
