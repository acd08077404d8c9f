"""Imports of links from CSV files: how far each is, its file in pieces, and the rows that were refused."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ..extensions import Model

__all__ = ["Import", "ImportChunk", "ImportErrors"]

_ACTIVE = "state IN ('waiting', 'running')"


class Import(Model):
    """A file of somebody's, and how far it is done.

    ``state``: ``waiting`` and ``running`` are under way; ``done``, ``cancelled`` and ``failed`` have ended.
    ``position``, ``line`` and the counts change in the transaction that makes the links, so they are right wherever a
    worker dies.
    """

    __tablename__ = "imports"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'running', 'done', 'cancelled', 'failed')", name="state_known"),
        Index("ix_imports_owner_id_id", "owner_id", "id"),
        # One at a time for each user, whichever process is asked.
        Index("uq_imports_owner_id_active", "owner_id", unique=True, postgresql_where=text(_ACTIVE)),
        Index("ix_imports_updated_at", "updated_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    file_name: Mapped[str] = mapped_column(String(200))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    hosts: Mapped[list[str]] = mapped_column(ARRAY(String(300)))
    """The hosts of this site, as the request that brought the file knew them: no link may lead there."""
    task_id: Mapped[UUID | None] = mapped_column(Uuid)
    state: Mapped[str] = mapped_column(String(16), default="waiting", server_default="waiting")
    problem: Mapped[str | None] = mapped_column(String(500))
    """Why it has failed: a sentence for its owner."""
    total: Mapped[int | None]
    """Rows of the file; None until they have been counted."""
    made: Mapped[int] = mapped_column(default=0, server_default="0")
    refused: Mapped[int] = mapped_column(default=0, server_default="0")
    position: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Bytes of the file that are done: always the end of a row."""
    line: Mapped[int] = mapped_column(default=1, server_default="1")
    """The number of the line that begins at ``position``."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    @property
    def done(self) -> int:
        """Rows that are done."""
        return self.made + self.refused

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("waiting", "running")


class ImportChunk(Model):
    """A piece of the file, all of one size but the last. In the database, where every worker can read it."""

    __tablename__ = "import_chunks"

    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class ImportErrors(Model):
    """The refused rows of one batch, as a piece of the CSV file that their owner can have."""

    __tablename__ = "import_errors"

    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Where the batch begins, which puts the pieces in order."""
    body: Mapped[bytes] = mapped_column(LargeBinary)
