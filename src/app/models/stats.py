"""Clicks by day, and which batches of clicks have been counted."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, DateTime, ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from ..extensions import Model

__all__ = ["ClickDay", "DrainedBatch"]


class ClickDay(Model):
    """The clicks of a link on one day, in UTC. A day without clicks has no row."""

    __tablename__ = "click_days"

    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    clicks: Mapped[int] = mapped_column(BigInteger)


class DrainedBatch(Model):
    """A batch of clicks that was counted, written in the same transaction, so that no batch counts twice."""

    __tablename__ = "drained_batches"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    drained_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), index=True)
