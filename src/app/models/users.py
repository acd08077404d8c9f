"""Accounts and their API tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ..extensions import Model

__all__ = ["ApiToken", "User"]


class User(Model):
    """Somebody who owns links. ``username`` is lower case."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("digest IN ('off', 'daily', 'weekly')", name="digest_known"),
        Index("ix_users_digest_id", "digest", "id", postgresql_where=text("digest <> 'off'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    username: Mapped[str] = mapped_column(String(32), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False, server_default="false")
    session_epoch: Mapped[int] = mapped_column(default=0, server_default="0")
    """Raised to end every session of the user: a cookie holds the epoch in which it was made."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    email: Mapped[str | None] = mapped_column(String(254))
    email_confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When a link in a mail to ``email`` was followed; nothing else is sent to it before."""
    digest: Mapped[str] = mapped_column(String(8), default="off", server_default="off")
    """How often a summary is mailed: ``off``, ``daily`` or ``weekly``."""


class ApiToken(Model):
    """A bearer token of the JSON API. Only its SHA-256 is kept: a token has 256 random bits, no salt is needed."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    hint: Mapped[str] = mapped_column(String(16))
    """How the token begins, to tell one from another."""
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """To the hour, so that not every request writes."""
