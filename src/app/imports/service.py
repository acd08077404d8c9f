"""Imports: taken in, listed, found, cancelled, forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import IO
from uuid import UUID

from quart import current_app
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from workers.jobs.imports import run_import

from ..extensions import db
from ..links.forms import own_hosts
from ..models import Import, ImportChunk, User
from ..web.forms import Invalid
from . import exporting, reports, running
from .parsing import Malformed, read_header

__all__ = ["Importing", "UnderWay", "begin", "cancel", "find", "first_errors", "recent"]

_LISTED = 50
_LONGEST_NAME = 200
_STALE = timedelta(days=1)


class UnderWay(Invalid):
    """Its owner has an import that has not ended."""

    def __init__(self) -> None:
        super().__init__({"file": "An import of yours is under way. Wait for its end, or cancel it."})


async def begin(owner: User, file: IO[bytes], name: str) -> Import:
    """Keep the file, piece by piece, and enqueue the job that makes its links.

    :raises UnderWay: if one of the owner's has not ended.
    :raises Invalid: if it cannot be an import.
    """
    piece = file.read(running.CHUNK_BYTES)
    try:
        read_header(piece, whole=len(piece) < running.CHUNK_BYTES)
    except Malformed as malformed:
        raise Invalid({"file": str(malformed)}) from None
    made = Import(owner_id=owner.id, file_name=_shown(name), size_bytes=0, hosts=sorted(own_hosts()))
    db.session.add(made)
    try:
        await db.session.flush()
    except IntegrityError as error:
        await db.session.rollback()
        await db.session.refresh(owner)  # the rollback expired it
        if "uq_imports_owner_id_active" not in str(error.orig):
            raise
        raise UnderWay from None
    number = 0
    while piece:
        chunk = {"import_id": made.id, "number": number, "body": piece}
        await db.session.execute(insert(ImportChunk).values(chunk))
        made.size_bytes += len(piece)
        piece, number = file.read(running.CHUNK_BYTES), number + 1
    result = await run_import.delay(made.id)  # in the transaction of the file
    made.task_id = UUID(str(result.id))
    await db.session.commit()
    return made


def _shown(name: str) -> str:
    """A file's name without what is no text."""
    return "".join(char for char in name if char.isprintable()).strip()[:_LONGEST_NAME] or "links.csv"


async def find(owner: User, import_id: int) -> Import | None:
    """The owner's import of that number."""
    query = select(Import).where(Import.id == import_id, Import.owner_id == owner.id)
    found: Import | None = await db.session.scalar(query)
    return found


async def recent(owner: User) -> Sequence[Import]:
    """The owner's last imports, the newest first."""
    query = select(Import).where(Import.owner_id == owner.id).order_by(Import.id.desc()).limit(_LISTED)
    return (await db.session.scalars(query)).all()


async def first_errors(found: Import, most: int) -> list[tuple[int, str]]:
    """Line and reason of the first refused rows."""
    errors: list[tuple[int, str]] = []
    if not found.refused:
        return errors
    async for piece in exporting.error_pieces(found.id, after=0):
        errors += reports.rows_of(piece)
        if len(errors) >= most:
            break
    return errors[:most]


async def cancel(found: Import) -> bool:
    """Stop it; False if it has ended before. What it has made stays."""
    stopped = await running.end(found.id, "cancelled")  # a worker sees it at its next batch
    if stopped and found.task_id is not None:
        await run_import.AsyncResult(str(found.task_id)).revoke()  # and one that has not begun does not begin
    return stopped


class Importing:
    """What the jobs ask for, in ``app.extensions["imports"]``."""

    async def run(self, import_id: int) -> str:
        """Do what is left of an import."""
        return await running.run(import_id, most_rows=current_app.config["IMPORT_MAX_ROWS"])

    async def fail(self, import_id: int) -> None:
        """End an import whose job has failed for good."""
        await db.session.rollback()
        problem = "Something went wrong here; it has been logged. What was imported so far has stayed."
        await running.end(import_id, "failed", problem)

    async def forget(self) -> int:
        """Delete imports that have ended long ago; end those whose job is gone. How many were deleted."""
        now = datetime.now(UTC)
        stale = select(Import.id).where(Import.state.in_(("waiting", "running")), Import.updated_at < now - _STALE)
        for import_id in (await db.session.scalars(stale)).all():
            await self.fail(import_id)
        old = now - timedelta(days=current_app.config["IMPORT_KEEP_DAYS"])
        forgetting = delete(Import).where(Import.finished_at < old, Import.updated_at < old).returning(Import.id)
        forgotten = (await db.session.scalars(forgetting)).all()
        await db.session.commit()
        return len(forgotten)
