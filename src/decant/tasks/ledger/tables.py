"""The ledger's tables, in a metadata of their own: a project's ``migrations/env.py`` gives it to ``run_migrations``."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)

__all__ = ["attempts", "groups", "jobs", "metadata", "schedule", "stats"]

metadata: Final = MetaData()
_TIME: Final = DateTime(timezone=True)
_NOW: Final = func.now()

jobs: Final = Table(
    "decant_jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("task", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("payload", LargeBinary, nullable=False),
    Column("summary", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False, server_default="PENDING"),
    Column("eta", _TIME),
    Column("expires", _TIME),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False, server_default="3"),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("deaths", Integer, nullable=False, server_default="0"),  # attempts whose worker died
    Column("push_after", _TIME, nullable=False, server_default=_NOW),  # what waits is pushed into Redis again after it
    Column("lease_until", _TIME),
    Column("worker", Text),
    Column("revoked", Boolean, nullable=False, server_default="false"),  # asked to stop while it ran
    Column("custom_state", Text),  # of update_state
    Column("progress", LargeBinary),  # its meta
    Column("result", LargeBinary),
    Column("error", LargeBinary),
    Column("parent", Uuid),
    Column("root", Uuid),
    Column("group_id", Uuid),
    Column("group_index", Integer),
    Column("request_id", Text),
    Column("created", _TIME, nullable=False, server_default=_NOW),
    Column("started", _TIME),
    Column("finished", _TIME),
    Index("ix_decant_jobs_created", text("created DESC"), text("id DESC")),
    Index("ix_decant_jobs_task_created", "task", text("created DESC"), text("id DESC")),
    Index("ix_decant_jobs_waiting", "push_after", postgresql_where=text("state IN ('PENDING', 'RETRY')")),
    Index("ix_decant_jobs_running", "lease_until", postgresql_where=text("state = 'STARTED'")),
    Index(
        "ix_decant_jobs_state_created",
        "state",
        text("created DESC"),
        text("id DESC"),
        postgresql_where=text("state <> 'SUCCESS'"),  # most are, and are found by the other indexes
    ),
    Index("ix_decant_jobs_worker_created", "worker", text("created DESC"), text("id DESC")),
    Index("ix_decant_jobs_queue_created", "queue", text("created DESC"), text("id DESC")),
    Index("ix_decant_jobs_finished", "finished", postgresql_where=text("finished IS NOT NULL")),
    Index("ix_decant_jobs_parent", "parent", postgresql_where=text("parent IS NOT NULL")),
    Index("ix_decant_jobs_group", "group_id", "group_index", postgresql_where=text("group_id IS NOT NULL")),
)
"""One row per job; the truth about it."""

attempts: Final = Table(
    "decant_attempts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("job_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", Text),
    Column("state", Text, nullable=False),  # RETRY, FAILURE or LOST: how it ended
    Column("error", LargeBinary),
    Column("started", _TIME),
    Column("ended", _TIME, nullable=False, server_default=_NOW),
    Index("ix_decant_attempts_job", "job_id", "id"),
    Index("ix_decant_attempts_ended", "ended"),
)
"""Attempts that did not end a job well, so that a retried job shows what went wrong before."""

groups: Final = Table(
    "decant_groups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("total", Integer, nullable=False),
    Column("remaining", Integer, nullable=False),
    Column("callback", LargeBinary),
    Column("callback_id", Uuid),
    Column("failed", Boolean, nullable=False, server_default="false"),
    Column("created", _TIME, nullable=False, server_default=_NOW, index=True),
)
"""Groups and chords. ``remaining`` is counted down in the transaction that ends a job."""

schedule: Final = Table(
    "decant_schedule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("spec", Text, nullable=False),  # the schedule as text, to see that it was changed in the code
    Column("next_run", _TIME, nullable=False),
    Column("last_run", _TIME),
    Column("last_job", Uuid),
    Column("runs", BigInteger, nullable=False, server_default="0"),
    Column("skipped", BigInteger, nullable=False, server_default="0"),  # missed ticks that were not caught up with
    Column("enabled", Boolean, nullable=False, server_default="true"),
    Column("updated", _TIME, nullable=False, server_default=_NOW),
)
"""The periodic tasks; their next run survives every process."""

stats: Final = Table(
    "decant_stats",
    metadata,
    Column("minute", _TIME, primary_key=True),
    Column("task", Text, primary_key=True),
    Column("worker", Text, primary_key=True),
    Column("succeeded", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("retried", BigInteger, nullable=False, server_default="0"),
    Column("run_s", Double, nullable=False, server_default="0"),  # seconds of running, added up
    Column("run_max_s", Double, nullable=False, server_default="0"),
    Column("wait_s", Double, nullable=False, server_default="0"),  # seconds between due and begun, added up
)
"""What each worker did in each minute: the charts' source, written every few seconds by the worker itself."""
