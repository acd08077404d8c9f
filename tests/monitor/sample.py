"""What a busy afternoon leaves in the ledger and in Redis."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psycopg
from redis import Redis

from decant.tasks import codec

__all__ = [
    "CHILD",
    "FAILED",
    "GROUP",
    "GROUPED",
    "OTHER",
    "PROGRESSING",
    "SUCCEEDED",
    "WAITING",
    "WORKER",
    "beat",
    "fill",
]

_SPACE = UUID(int=4)
SUCCEEDED, FAILED, PROGRESSING, WAITING, CHILD, GROUPED = (uuid5(_SPACE, str(number)) for number in range(6))
WORKER = "web1:4711:ab12cd"
OTHER = "web2:815:ef34ab"
GROUP = UUID(int=99)


def _failure(message: str) -> bytes:
    try:
        raise ConnectionRefusedError(message)
    except ConnectionRefusedError as error:
        return codec.encode_error(error)


def _payload(*args: Any, **kwargs: Any) -> bytes:
    return codec.encode_envelope(codec.Envelope(list(args), kwargs), limit_bytes=100_000)


def _jobs(now: datetime) -> list[dict[str, Any]]:
    def ago(seconds: float) -> datetime:
        return now - timedelta(seconds=seconds)

    call = {
        "payload": _payload("ada@example.com", subject="Hello, Ada"),
        "summary": "'ada@example.com', subject='Hello'",
    }
    ran = {"attempt": 1, "worker": WORKER, "created": ago(300), "started": ago(299.98)}
    mail = {"task": "app.mail.send", "queue": "mail", **call}
    return [
        {"id": SUCCEEDED, **mail, **ran, "state": "SUCCESS", "finished": ago(299.7), "request_id": "3f2a9c",
         "result": codec.encode({"message_id": "<1@example.com>", "sent": now.replace(microsecond=0)})},
        {"id": FAILED, **mail, **ran, "state": "FAILURE", "attempt": 3, "retries": 2, "started": ago(120),
         "finished": ago(119.9), "error": _failure("the mail server refuses connections")},
        {"id": PROGRESSING, "task": "app.links.import_csv", "queue": "imports", "payload": _payload(17),
         "summary": "17", **ran, "state": "STARTED", "custom_state": "PROGRESS",
         "lease_until": now + timedelta(hours=1),
         "progress": codec.encode({"current": 42_000, "total": 100_000, "file": "links.csv"})},
        {"id": WAITING, "task": "app.pages.preview", "queue": "default", "payload": _payload("https://example.com/"),
         "summary": "'https://example.com/'", "state": "PENDING", "created": ago(30), "eta": now + timedelta(hours=2)},
        {"id": CHILD, "task": "app.mail.log", "queue": "mail", "payload": _payload(), "summary": "", "state": "SUCCESS",
         **ran, "parent": SUCCEEDED, "root": SUCCEEDED, "finished": ago(298)},
        {"id": GROUPED, "task": "app.pages.preview", "queue": "default", "payload": _payload("https://example.org/"),
         "summary": "'https://example.org/'", "state": "REVOKED", "created": ago(50), "finished": ago(40),
         "group_id": GROUP, "group_index": 0},
    ]  # fmt: skip


def _insert(connection: Any, table: str, row: dict[str, Any]) -> None:
    columns, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row.values()))


MANY = """
INSERT INTO decant_jobs (id, task, queue, payload, summary, state, attempt, worker, created, started, finished)
SELECT md5(n::text)::uuid, (ARRAY['app.mail.send', 'app.pages.preview', 'app.clicks.drain'])[1 + n %% 3],
       'default', '\\x80', 'number ' || n, CASE WHEN n %% 40 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END, 1, %s,
       now() - n * interval '20 seconds' - interval '6 minutes', now() - n * interval '20 seconds' - interval '359 s',
       now() - n * interval '20 seconds' - interval '358.8 s'
FROM generate_series(1, %s) AS n
"""
STATS = """
INSERT INTO decant_stats (minute, task, worker, succeeded, failed, retried, run_s, run_max_s, wait_s)
SELECT date_trunc('minute', now()) - n * interval '1 minute', task, %s,
       (60 + 40 * sin(n / 9.0) + n %% 7)::int, CASE WHEN n %% 11 = 0 THEN 4 ELSE 0 END, n %% 13 / 6,
       (60 + 40 * sin(n / 9.0)) * (0.12 + 0.05 * cos(n / 14.0)), 1.5, 2 + n %% 5
FROM generate_series(0, 1500) AS n, unnest(ARRAY['app.mail.send', 'app.pages.preview', 'app.clicks.drain']) AS task
WHERE n NOT BETWEEN 20 AND 24
"""


def fill(database_url: str, redis_url: str, *, jobs: int = 400) -> None:
    """Write it; the tables are there already."""
    now = datetime.now(UTC)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for row in _jobs(now):
            _insert(connection, "decant_jobs", row)
        connection.execute(MANY, [WORKER, jobs])
        connection.execute(STATS, [WORKER])
        for attempt, state in ((1, "RETRY"), (2, "LOST")):
            started = now - timedelta(seconds=290 - attempt * 60)
            failed = {"job_id": FAILED, "attempt": attempt, "worker": WORKER, "state": state, "started": started,
                      "ended": started + timedelta(seconds=0.4)}  # fmt: skip
            _insert(connection, "decant_attempts", failed | {"error": _failure("refused") if attempt == 1 else None})
        _insert(connection, "decant_groups", {"id": GROUP, "total": 2, "remaining": 1})
        _insert(connection, "decant_schedule", {
            "name": "digest", "task": "app.mail.digest", "spec": "<crontab: 0 6 * * *> in Europe/Berlin",
            "next_run": now + timedelta(hours=9), "last_run": now - timedelta(hours=15), "last_job": SUCCEEDED,
            "runs": 41, "skipped": 1})  # fmt: skip
        _insert(connection, "decant_schedule", {
            "name": "drain clicks", "task": "app.clicks.drain", "spec": "<schedule: every 2.0 s> in UTC",
            "next_run": now + timedelta(seconds=2), "enabled": False})  # fmt: skip
        connection.execute("ANALYZE")
    with Redis.from_url(redis_url) as redis:
        redis.zadd("decant:queue:default", {str(WAITING): 1.0})
        redis.zadd("decant:queue:mail", {"a": 1.0, "b": 2.0, "c": 3.0})
        active = [{"id": str(PROGRESSING), "task": "app.links.import_csv", "attempt": 1, "started": time.time() - 75}]
        beat(redis, WORKER, active=active, queues={"default": 1, "mail": 3, "imports": 1})
        beat(redis, OTHER, paused=True, queues={"default": 1})


def beat(redis: Redis, worker: str = WORKER, ttl_s: int = 3600, **more: Any) -> None:
    """A heartbeat as a worker writes it, which is good for an hour."""
    now = time.time()
    host, pid, _ = worker.split(":")
    said = {"id": worker, "name": worker, "host": host, "pid": int(pid), "concurrency": 100,
            "queues": {"default": 1}, "active": [], "paused": False, "stopping": False, "succeeded": 12_480,
            "failed": 31, "retried": 12, "rss_bytes": 96_468_992, "loop_lag_s": 0.0012,
            "started": now - 86_000, "time": now + ttl_s, "version": "0.1.0", **more}  # fmt: skip
    redis.set(f"decant:worker:{worker}", json.dumps(said), ex=ttl_s)
    redis.zadd("decant:workers", {worker: now + ttl_s})
