"""Which summaries have been mailed."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Date, DateTime, ForeignKey, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from ..extensions import Model

__all__ = ["Digest"]


class Digest(Model):
    """One summary for one user and one period: the key keeps a schedule that runs twice from mailing it twice."""

    __tablename__ = "digests"
    __table_args__ = (Index("ix_digests_created_at", "created_at"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    """``daily`` or ``weekly``."""
    first: Mapped[date] = mapped_column(Date, primary_key=True)
    """The period's first day, in UTC."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the mail server took it; None until then, and for a period without clicks, of which nothing is mailed."""
