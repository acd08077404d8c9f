"""What can be done with links, for pages and for the JSON API."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from decant.context import current_app
from workers.jobs.previews import fetch_preview

from ..extensions import db
from ..models import Link, Tag, User, link_tags
from ..redirects import changing
from ..stats.days import forget_clicks
from ..web.forms import Invalid
from .forms import LinkInput

__all__ = ["PAGE_SIZE", "Page", "SlugTaken", "create", "delete", "find", "new_slug", "search", "tags_of", "update"]

PAGE_SIZE = 20
_ALPHABET = string.ascii_letters + string.digits
_SLUG_LENGTH = 7  # 62**7 = 3.5e12: a made-up one that is taken is rare, and then another is made up
_ATTEMPTS = 5
_MOST_WORDS = 8


class SlugTaken(Invalid):
    """The slug that was asked for is somebody's already."""

    def __init__(self, slug: str) -> None:
        super().__init__({"slug": f"The short name {slug} is taken. Choose another."})


@dataclass(frozen=True)
class Page:
    """A page of a list, the newest first. ``older`` is the id before which the next page begins, or None."""

    items: Sequence[Link]
    older: int | None


def new_slug() -> str:
    """A made-up one, which may be taken."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SLUG_LENGTH))


async def _tags(owner: User, names: Sequence[str]) -> list[Tag]:
    """The owner's tags of these names, made where they do not exist."""
    if not names:
        return []
    rows = [{"owner_id": owner.id, "name": name} for name in names]
    await db.session.execute(insert(Tag).values(rows).on_conflict_do_nothing())
    found = await db.session.scalars(
        select(Tag).where(Tag.owner_id == owner.id, Tag.name.in_(names)).order_by(Tag.name)
    )
    return list(found)


async def create(owner: User, data: LinkInput) -> Link:
    """A new link.

    :raises SlugTaken: if the slug that was asked for is.
    """
    for _ in range(_ATTEMPTS):
        link = Link(
            owner_id=owner.id,
            slug=data.slug or new_slug(),
            target=data.target,
            title=data.title,
            expires_at=data.expires_at,
            max_visits=data.max_visits,
            visits=0,
            tags=await _tags(owner, data.tags),
        )
        db.session.add(link)
        try:
            await _look_at(link)
            async with changing(link.slug):  # it may be remembered as unknown
                await db.session.commit()
        except IntegrityError as error:
            await db.session.rollback()
            await db.session.refresh(owner)  # the rollback expired it
            if "uq_links_slug" not in str(error.orig):
                raise
            if data.slug is not None:
                raise SlugTaken(data.slug) from None
            continue
        return link
    raise RuntimeError(f"{_ATTEMPTS} made-up slugs were taken: {_SLUG_LENGTH} characters are too few")


async def _look_at(link: Link) -> None:
    """Have a worker look at where it leads: once this transaction is committed, if it is."""
    await db.session.flush()  # for the link's number
    if current_app().config["PREVIEWS"] == "on":
        await fetch_preview.delay(link.id)


async def find(owner: User, slug: str, *, for_update: bool = False) -> Link | None:
    """The owner's link of that slug, with its tags.

    ``for_update`` locks it until the end of the transaction: of two that change or delete it, the second one waits.
    """
    query = select(Link).where(Link.slug == slug, Link.owner_id == owner.id).options(selectinload(Link.tags))
    if for_update:
        query = query.with_for_update(of=Link)
    link: Link | None = await db.session.scalar(query)
    return link


async def update(owner: User, link: Link, data: LinkInput) -> None:
    """Change everything but the slug."""
    if link.target != data.target:
        link.target, link.preview_at = data.target, None
        link.preview_title = link.preview_description = link.preview_problem = None
        await _look_at(link)
    link.title = data.title
    link.expires_at, link.max_visits = data.expires_at, data.max_visits
    link.tags = await _tags(owner, data.tags)
    async with changing(link.slug):
        await db.session.commit()
    await forget_clicks(link)


async def delete(link: Link) -> None:
    """Delete it, its clicks too."""
    await db.session.delete(link)
    async with changing(link.slug):
        await db.session.commit()
    await forget_clicks(link)


def _words(text: str) -> str | None:
    """A tsquery that wants every word as a prefix: ``"Exa, pa"`` → ``"exa:* & pa:*"``."""
    words = "".join(char if char.isalnum() else " " for char in text).split()[:_MOST_WORDS]
    return " & ".join(f"{word}:*" for word in words) or None


def _search(owner: User, text: str, tag: str | None, before: int | None, size: int) -> Select[Link]:
    query = select(Link).where(Link.owner_id == owner.id)
    if tag is not None:
        tagged = select(link_tags.c.link_id).join(Tag, Tag.id == link_tags.c.tag_id)
        query = query.where(Link.id.in_(tagged.where(Tag.owner_id == owner.id, Tag.name == tag)))
    if before is not None:
        query = query.where(Link.id < before)
    if (words := _words(text)) is not None:
        query = query.where(Link.search.op("@@")(func.to_tsquery("simple", words)))
    return query.order_by(Link.id.desc()).limit(size + 1).options(selectinload(Link.tags))


async def search(
    owner: User, text: str = "", *, tag: str | None = None, before: int | None = None, size: int = PAGE_SIZE
) -> Page:
    """The owner's links whose slug, title or address has all words of ``text``, or words that begin so."""
    found = (await db.session.scalars(_search(owner, text, tag, before, size))).all()
    items = found[:size]
    return Page(items, items[-1].id if len(found) > size else None)


async def tags_of(owner: User, *, most: int = 50) -> Sequence[str]:
    """The owner's tags by name, those that no link has any more left out."""
    used = select(link_tags.c.link_id).where(link_tags.c.tag_id == Tag.id).exists()
    query = select(Tag.name).where(Tag.owner_id == owner.id, used).order_by(Tag.name).limit(most)
    return (await db.session.scalars(query)).all()
