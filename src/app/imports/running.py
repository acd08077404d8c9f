"""The job of an import: counts the rows of its file, then makes links of them, batch after batch.

A batch's links, its refused rows and the place where it ends in the file are one transaction, so whoever goes on after
a worker has died goes on exactly there. The row of the import is locked meanwhile: of two workers with the same import,
one finds that the other has come further, and stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Update, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from ..extensions import db
from ..links.forms import LinkInput
from ..models import Import, ImportChunk, ImportErrors
from ..redirects import changing
from . import live, reports
from .links import Refusal, check, make
from .parsing import Header, Malformed, Row, Rows, read_header

__all__ = ["BATCH_ROWS", "CHUNK_BYTES", "end", "run"]

CHUNK_BYTES = 256 * 1024
BATCH_ROWS = 500
_BATCH_BYTES = 1024 * 1024
_CHECKED_AT_ONCE = 50
_DEADLOCK, _DEADLOCKS = "40P01", 5
_ACTIVE = ("waiting", "running")
logger = structlog.get_logger("app.imports")


class Stopped(Exception):
    """The import has been cancelled, or another worker has come further with it."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What the job has to know of an import."""

    id: int
    owner_id: int
    size_bytes: int
    hosts: frozenset[str]
    total: int | None
    position: int
    line: int


async def run(import_id: int, *, most_rows: int) -> str:
    """Do what is left of an import; the state in which it is afterwards.

    :raises DatabaseUnavailable: if the database goes away; to be run again, it goes on where it was.
    """
    try:
        work = await _begin(import_id)
        header = await _header(work)
        if work.total is None:
            work = await _count(work, header, most_rows)
        async for batch in _batches(work, header):
            work = await _do(work, header, batch)
        state = "done"
    except Malformed as malformed:
        await end(import_id, "failed", str(malformed))
        state = "failed"
    except Stopped:
        await db.session.rollback()
        return await db.session.scalar(select(Import.state).where(Import.id == import_id)) or "deleted"
    else:
        await end(import_id, "done")
    logger.info("an import has ended", id=import_id, state=state)
    return state


async def end(import_id: int, state: str, problem: str | None = None) -> bool:
    """End an import that is under way; False if it has ended before. Its file is deleted, what it has made stays."""
    values = {"state": state, "problem": problem, "finished_at": func.now(), "updated_at": func.now()}
    ending = update(Import).where(Import.id == import_id, Import.state.in_(_ACTIVE)).values(values)
    ended = await db.session.scalar(ending.returning(Import.id)) is not None
    if ended:
        await db.session.execute(delete(ImportChunk).where(ImportChunk.import_id == import_id))
    await db.session.commit()
    if ended:
        await live.tell(import_id)
    return ended


async def _begin(import_id: int) -> _Work:
    beginning = update(Import).where(Import.id == import_id, Import.state.in_(_ACTIVE))
    columns = (Import.owner_id, Import.size_bytes, Import.hosts, Import.total, Import.position, Import.line)
    running = beginning.values(state="running", updated_at=func.now()).returning(*columns)
    row = (await db.session.execute(running)).one_or_none()
    await db.session.commit()
    if row is None:
        raise Stopped
    return _Work(import_id, row.owner_id, row.size_bytes, frozenset(row.hosts), row.total, row.position, row.line)


async def _piece(work: _Work, number: int) -> bytes:
    query = select(ImportChunk.body).where(ImportChunk.import_id == work.id, ImportChunk.number == number)
    body = await db.session.scalar(query)
    if body is None:
        raise Stopped  # it has ended since, and its file is gone
    return bytes(body)


async def _pieces(work: _Work, position: int) -> AsyncIterator[tuple[bytes, bool]]:
    """The file from there on, piece by piece, and whether it is the last one."""
    while position < work.size_bytes:
        number, skipped = divmod(position, CHUNK_BYTES)
        piece = (await _piece(work, number))[skipped:]
        position += len(piece)
        yield piece, position >= work.size_bytes


async def _header(work: _Work) -> Header:
    return read_header(await _piece(work, 0), whole=work.size_bytes <= CHUNK_BYTES)


async def _count(work: _Work, header: Header, most_rows: int) -> _Work:
    """Read the whole file once, so that one which is no CSV file to its end makes no links at all."""
    rows, total = Rows(header.delimiter, header.end, header.line), 0
    async for piece, last in _pieces(work, header.end):
        for _ in rows.feed(piece, last=last):
            total += 1
            if total > most_rows:
                raise Malformed(f"The file has more than {most_rows:,} rows. Split it into several.")
            if total % BATCH_ROWS == 0:
                await asyncio.sleep(0)  # other jobs of this worker have their turn
    if not total:
        raise Malformed("The file has no rows below the names of its columns.")
    counted = update(Import).where(Import.id == work.id, Import.state == "running", Import.total.is_(None))
    values = {"total": total, "position": header.end, "line": header.line, "updated_at": func.now()}
    if await db.session.scalar(counted.values(values).returning(Import.id)) is None:
        raise Stopped
    begun = {"import_id": work.id, "line": 0, "body": reports.heading(header)}
    await db.session.execute(insert(ImportErrors).values(begun))
    await db.session.commit()
    await live.tell(work.id)
    return replace(work, total=total, position=header.end, line=header.line)


async def _batches(work: _Work, header: Header) -> AsyncIterator[list[Row]]:
    rows = Rows(header.delimiter, work.position, work.line)
    batch: list[Row] = []
    begin = work.position
    async for piece, last in _pieces(work, work.position):
        for row in rows.feed(piece, last=last):
            batch.append(row)
            if len(batch) >= BATCH_ROWS or row.end - begin >= _BATCH_BYTES:
                yield batch
                batch, begin = [], row.end
    if batch:
        yield batch


async def _do(work: _Work, header: Header, batch: list[Row]) -> _Work:
    """Make a batch's links; where the file goes on afterwards."""
    checked: list[tuple[Row, LinkInput | Refusal]] = []
    for row in batch:
        if len(checked) % _CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)  # other jobs of this worker have their turn
        checked.append((row, check(header, row, work.hosts)))
    for left in reversed(range(_DEADLOCKS)):
        try:
            return await _write(work, header, checked)
        except DBAPIError as error:  # another import wants the same names in another order
            await db.session.rollback()
            if getattr(error.orig, "sqlstate", None) != _DEADLOCK or not left:
                raise
    raise AssertionError("the last attempt raises")


async def _write(work: _Work, header: Header, checked: list[tuple[Row, LinkInput | Refusal]]) -> _Work:
    """The transaction of a batch."""
    first, last = checked[0][0], checked[-1][0]
    wanted = [(row, data) for row, data in checked if isinstance(data, LinkInput)]
    refused = [refusal for _, refusal in checked if isinstance(refusal, Refusal)]
    mine = select(Import.id).where(Import.id == work.id, Import.state == "running", Import.position == work.position)
    if await db.session.scalar(mine.with_for_update()) is None:
        raise Stopped
    made, taken = await make(work.owner_id, wanted)
    refused += taken
    if refused:
        errors = {"import_id": work.id, "line": first.line, "body": reports.pieces_of(header, refused)}
        await db.session.execute(insert(ImportErrors).values(errors))
    after = replace(work, position=last.end, line=last.next_line)
    await db.session.execute(_advance(after, len(made), len(refused)))
    async with changing(*made):  # they may be remembered as unknown
        await db.session.commit()
    await live.tell(work.id)
    return after


def _advance(work: _Work, made: int, refused: int) -> Update:
    return (
        update(Import)
        .where(Import.id == work.id)
        .values(
            position=work.position,
            line=work.line,
            made=Import.made + made,
            refused=Import.refused + refused,
            updated_at=func.now(),
        )
        .execution_options(synchronize_session=False)
    )
