"""Links as a CSV file: read from the database page by page while it is sent, so that no size is too big."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from ..extensions import db
from ..models import ImportErrors, Link, Tag, link_tags
from .cells import guarded
from .parsing import COLUMNS

__all__ = ["error_pieces", "export"]

_PAGE = 1000
_MARK = "\ufeff"  # by which spreadsheets know UTF-8


async def export(owner_id: int) -> AsyncIterator[bytes]:
    """The owner's links, the oldest first: the columns that an import reads, then ``clicks`` and ``created``.

    No connection is held while the client is slow: each page is a statement of its own, so links that are made or
    deleted meanwhile may be in it or not.
    """
    yield (_MARK + _written([[*COLUMNS, "clicks", "created"]])).encode()
    last = 0
    while rows := await _page(owner_id, last):
        last = rows[-1].id
        yield _written([_cells(row) for row in rows]).encode()


async def _page(owner_id: int, after: int) -> Sequence[Any]:
    named = select(Tag.name).join(link_tags, link_tags.c.tag_id == Tag.id).where(link_tags.c.link_id == Link.id)
    tags = func.array(named.order_by(Tag.name).scalar_subquery()).label("tags")
    columns: tuple[Any, ...] = (Link.id, Link.target, Link.slug, Link.title, Link.expires_at, Link.max_visits)
    query = select(*columns, Link.visits, Link.created_at, tags).where(Link.owner_id == owner_id, Link.id > after)
    async with db.engine.connect() as connection:
        return (await connection.execute(query.order_by(Link.id).limit(_PAGE))).all()


def _cells(row: Any) -> list[str]:
    return [
        row.target,
        row.slug,
        row.title or "",
        ", ".join(row.tags),
        _moment(row.expires_at),
        "" if row.max_visits is None else str(row.max_visits),
        str(row.visits),
        _moment(row.created_at),
    ]


def _moment(when: datetime | None) -> str:
    return "" if when is None else when.astimezone(UTC).isoformat()


def _written(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([guarded(cell) for cell in row] for row in rows)
    return text.getvalue()


async def error_pieces(import_id: int, *, after: int = -1) -> AsyncIterator[bytes]:
    """The file of the rows that an import has refused, piece by piece; without its heading from those after line 0."""
    query = select(ImportErrors.line, ImportErrors.body).where(ImportErrors.import_id == import_id)
    while True:
        async with db.engine.connect() as connection:
            following = query.where(ImportErrors.line > after).order_by(ImportErrors.line).limit(1)
            row = (await connection.execute(following)).one_or_none()
        if row is None:
            return
        after = row.line
        yield row.body
