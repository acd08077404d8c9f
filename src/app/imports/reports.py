"""The file of refused rows: as they were, with their line and the reason; it can be corrected and imported again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from .cells import guarded, unguarded
from .links import Refusal
from .parsing import Header

__all__ = ["heading", "pieces_of", "rows_of"]

_OURS = ("line", "reason")
_MARK = "\ufeff"  # by which spreadsheets know UTF-8


def heading(header: Header) -> bytes:
    """How the file begins."""
    return (_MARK + _written([[*_OURS, *_kept(header, header.names)]], header.delimiter)).encode()


def pieces_of(header: Header, refusals: Iterable[Refusal]) -> bytes:
    """Some rows of it, in the order of the file that was imported."""
    ordered = sorted(refusals, key=lambda refusal: refusal.row.line)
    rows = [[str(refusal.row.line), refusal.reason, *_kept(header, refusal.row.cells)] for refusal in ordered]
    return _written(rows, header.delimiter).encode()


def rows_of(piece: bytes) -> list[tuple[int, str]]:
    """Line and reason of each row of :func:`pieces_of`."""
    text = piece.decode()
    delimiter = ";" if text.lstrip("0123456789").startswith(";") else ","
    return [(int(row[0]), unguarded(row[1])) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]


def _kept(header: Header, cells: Sequence[str]) -> list[str]:
    """Without the columns that an earlier file of refused rows has added."""
    dropped = {place for place, name in enumerate(header.names) if name.strip().lower() in _OURS}
    return [cell for place, cell in enumerate(cells) if place not in dropped]


def _written(rows: Iterable[Sequence[str]], delimiter: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerows([guarded(unguarded(cell)) for cell in row] for row in rows)
    return text.getvalue()
