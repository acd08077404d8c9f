"""The ledger of decant.tasks, previews of targets, addresses for mail and the digests sent to them.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-26
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "digests",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_digests_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "kind", "first", name=op.f("pk_digests")),
    )
    op.create_index("ix_digests_created_at", "digests", ["created_at"], unique=False)
    op.create_table(
        "decant_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_decant_attempts_ended", "decant_attempts", ["ended"], unique=False)
    op.create_index("ix_decant_attempts_job", "decant_attempts", ["job_id", "id"], unique=False)
    op.create_table(
        "decant_groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("callback", sa.LargeBinary(), nullable=True),
        sa.Column("callback_id", sa.Uuid(), nullable=True),
        sa.Column("failed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_decant_groups_created"), "decant_groups", ["created"], unique=False)
    op.create_table(
        "decant_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("summary", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("eta", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="3", nullable=False),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.Column("push_after", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("revoked", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("custom_state", sa.Text(), nullable=True),
        sa.Column("progress", sa.LargeBinary(), nullable=True),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.Column("parent", sa.Uuid(), nullable=True),
        sa.Column("root", sa.Uuid(), nullable=True),
        sa.Column("group_id", sa.Uuid(), nullable=True),
        sa.Column("group_index", sa.Integer(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_decant_jobs_created",
        "decant_jobs",
        [sa.literal_column("created DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_decant_jobs_finished",
        "decant_jobs",
        ["finished"],
        unique=False,
        postgresql_where=sa.text("finished IS NOT NULL"),
    )
    op.create_index(
        "ix_decant_jobs_group",
        "decant_jobs",
        ["group_id", "group_index"],
        unique=False,
        postgresql_where=sa.text("group_id IS NOT NULL"),
    )
    op.create_index(
        "ix_decant_jobs_parent", "decant_jobs", ["parent"], unique=False, postgresql_where=sa.text("parent IS NOT NULL")
    )
    op.create_index(
        "ix_decant_jobs_queue_created",
        "decant_jobs",
        ["queue", sa.literal_column("created DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_decant_jobs_running",
        "decant_jobs",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'STARTED'"),
    )
    op.create_index(
        "ix_decant_jobs_state_created",
        "decant_jobs",
        ["state", sa.literal_column("created DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("state <> 'SUCCESS'"),
    )
    op.create_index(
        "ix_decant_jobs_task_created",
        "decant_jobs",
        ["task", sa.literal_column("created DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_decant_jobs_waiting",
        "decant_jobs",
        ["push_after"],
        unique=False,
        postgresql_where=sa.text("state IN ('PENDING', 'RETRY')"),
    )
    op.create_index(
        "ix_decant_jobs_worker_created",
        "decant_jobs",
        ["worker", sa.literal_column("created DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "decant_schedule",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("next_run", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_run", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_job", sa.Uuid(), nullable=True),
        sa.Column("runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "decant_stats",
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("retried", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("run_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("run_max_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("wait_s", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("minute", "task", "worker"),
    )
    op.add_column("links", sa.Column("preview_title", sa.String(length=200), nullable=True))
    op.add_column("links", sa.Column("preview_description", sa.String(length=500), nullable=True))
    op.add_column("links", sa.Column("preview_problem", sa.String(length=200), nullable=True))
    op.add_column("links", sa.Column("preview_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("email", sa.String(length=254), nullable=True))
    op.add_column("users", sa.Column("email_confirmed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("digest", sa.String(length=8), server_default="off", nullable=False))
    op.create_check_constraint(op.f("ck_users_digest_known"), "users", "digest IN ('off', 'daily', 'weekly')")
    op.create_index(
        "ix_users_digest_id", "users", ["digest", "id"], unique=False, postgresql_where=sa.text("digest <> 'off'")
    )


def downgrade() -> None:
    op.drop_index("ix_users_digest_id", table_name="users")
    op.drop_constraint(op.f("ck_users_digest_known"), "users")
    for column in ("digest", "email_confirmed_at", "email"):
        op.drop_column("users", column)
    for column in ("preview_at", "preview_problem", "preview_description", "preview_title"):
        op.drop_column("links", column)
    for table in ("decant_stats", "decant_schedule", "decant_jobs", "decant_groups", "decant_attempts", "digests"):
        op.drop_table(table)
