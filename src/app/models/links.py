"""Short links and their tags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    String,
    Table,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, deferred, mapped_column, relationship

from ..extensions import Model

__all__ = ["Link", "Tag", "link_tags"]

link_tags = Table(
    "link_tags",
    Model.metadata,
    Column("link_id", ForeignKey("links.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_link_tags_tag_id_link_id", "tag_id", "link_id"),
)

# Words of the slug, the title and the address, split at whatever is not a letter or a digit.
_SEARCHED = (
    "to_tsvector('simple', regexp_replace("
    "slug || ' ' || coalesce(title, '') || ' ' || target, '[^[:alnum:]]+', ' ', 'g'))"
)


class Link(Model):
    """``/<slug>`` leads to ``target``, until ``expires_at`` or ``max_visits``, whichever is first."""

    __tablename__ = "links"
    __table_args__ = (
        CheckConstraint("max_visits > 0", name="max_visits_positive"),
        Index("ix_links_owner_id_id", "owner_id", "id"),
        Index("ix_links_search", "search", postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    target: Mapped[str] = mapped_column(String(2048))
    title: Mapped[str | None] = mapped_column(String(200))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    max_visits: Mapped[int | None] = mapped_column(BigInteger)
    visits: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Clicks that have been drained into the database; those of the last seconds are still in Redis."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    preview_title: Mapped[str | None] = mapped_column(String(200))
    preview_description: Mapped[str | None] = mapped_column(String(500))
    preview_problem: Mapped[str | None] = mapped_column(String(200))
    """Why the target's page has no preview: a sentence for the owner."""
    preview_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the target was last looked at, with or without success."""
    search: Mapped[Any] = deferred(mapped_column(TSVECTOR, Computed(_SEARCHED, persisted=True)))

    tags: Mapped[list[Tag]] = relationship(secondary=link_tags, order_by="Tag.name", passive_deletes=True)

    @property
    def name(self) -> str | None:
        """What it is called: by its owner, else by the page that it leads to."""
        return self.title or self.preview_title

    @property
    def expired(self) -> bool:
        """Whether its time is over or its visits are used up."""
        over = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return over or (self.max_visits is not None and self.visits >= self.max_visits)


class Tag(Model):
    """A word by which an owner groups links."""

    __tablename__ = "tags"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(32))
