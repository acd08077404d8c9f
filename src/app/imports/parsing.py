"""A CSV file, read piece by piece: rows with the place where each ends, so that reading can go on from there."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .cells import unguarded

__all__ = ["COLUMNS", "LONGEST_ROW", "Header", "Malformed", "Row", "Rows", "read_header"]

COLUMNS = ("target", "slug", "title", "tags", "expires_at", "max_visits")
LONGEST_ROW = 16 * 1024
"""Bytes: four times what the longest link needs. More means that a quotation mark is not closed."""
_DELIMITERS = (",", ";")
_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", b"PK\x03\x04": "a spreadsheet or an archive"}
_SHOWN = 200
_BLANK = re.compile(rb"(?:\r?\n)+")


class Malformed(ValueError):
    """The file as a whole cannot be read: a sentence for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its cells, or what is wrong with it.

    ``line`` is the number of the line in which it begins, the first is 1; ``end`` the position after it, in bytes, and
    ``next_line`` the number of the line there.
    """

    line: int
    cells: Sequence[str]
    end: int
    next_line: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns as written, the delimiter, and where the first row of data begins."""

    names: Sequence[str]
    delimiter: str
    end: int
    line: int
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {name.strip().lower(): place for place, name in enumerate(self.names)}
        object.__setattr__(self, "places", {name: places[name] for name in COLUMNS if name in places})

    def fields(self, cells: Sequence[str]) -> dict[str, str]:
        """The cells of the columns that we know, by name; those that a short row lacks are empty."""
        places, number = self.places, len(cells)
        return {name: unguarded(cells[places[name]]) if places.get(name, number) < number else "" for name in COLUMNS}


class Rows:
    """Takes a file's pieces in order, gives rows as soon as they are whole. It holds no more than a piece and a row.

    :param position: where the first piece begins; ``line`` is the number of the line there.
    :raises Malformed: while it gives rows: for a NUL byte, bytes that are not UTF-8, a row of more than
        :data:`LONGEST_ROW` bytes, quotation marks that are not closed.
    """

    def __init__(self, delimiter: str, position: int = 0, line: int = 1) -> None:
        self._delimiter, self._position, self._line = delimiter, position, line
        self._rest = b""

    def feed(self, piece: bytes, *, last: bool = False) -> Iterator[Row]:
        """The rows that end in this piece, with ``last`` also the file's last one. Blank lines are none."""
        data = self._rest + piece
        start = 0
        while start < len(data):
            if blank := _BLANK.match(data, start):  # all at once: a file may have millions
                self._position += blank.end() - start
                self._line += data.count(b"\n", start, blank.end())
                start = blank.end()
                continue
            row, end = self._row(data, start, last=last)
            if row is None:
                break
            self._position, self._line, start = row.end, row.next_line, end
            if row.cells or row.problem:
                yield row
        self._rest = data[start:]

    def _row(self, data: bytes, start: int, *, last: bool) -> tuple[Row | None, int]:
        """The row that begins at ``start``, and where it ends; None if its end has not arrived."""
        lines = _Lines(data, start, self._line, last=last)
        cells, problem = [], None
        try:
            cells = next(csv.reader(lines, delimiter=self._delimiter, strict=True))
        except (StopIteration, csv.Error) as error:
            if not lines.starved:
                problem = _explained(str(error), self._line, unclosed=lines.exhausted)
        if lines.starved:
            return None, start
        end = self._position + lines.position - start
        return Row(self._line, cells, end, self._line + lines.taken, problem), lines.position


class _Lines:
    """The lines that one row needs, decoded; ``starved`` if it needed one that has not arrived."""

    def __init__(self, data: bytes, start: int, line: int, *, last: bool) -> None:
        self._data, self._start, self._line, self._last = data, start, line, last
        self.position, self.taken = start, 0
        self.starved = self.exhausted = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        end = self._data.find(b"\n", self.position) + 1
        whole = bool(end)
        end = end or len(self._data)
        if end - self._start > LONGEST_ROW:
            raise Malformed(
                f"The row that begins in line {self._line} has more than {LONGEST_ROW:,} bytes. Is a quotation mark"
                " not closed?"
            )
        if not whole and not self._last:
            self.starved = True
            raise StopIteration
        if end == self.position:
            self.exhausted = True
            raise StopIteration
        text = _decoded(self._data[self.position : end], self._line + self.taken)
        self.position, self.taken = end, self.taken + 1
        return text


def _decoded(line: bytes, number: int) -> str:
    if b"\0" in line:
        raise Malformed(f"Line {number} has a NUL character: this is not a CSV file, or a damaged one.")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Malformed(
            f"Line {number} is not UTF-8: byte {error.start + 1} of it cannot be read. Save the file as CSV UTF-8."
        ) from None


def _explained(error: str, line: int, *, unclosed: bool) -> str:
    if unclosed:
        raise Malformed(f"A quotation mark that is opened in line {line} is not closed.")
    if "new-line character" in error:
        return "A carriage return stands alone in this row: lines end with a line feed."
    return 'After a quotation mark comes something else than the end of the cell: write " within a cell as "".'


def read_header(first: bytes, *, whole: bool) -> Header:
    """The first row of a file, which names its columns.

    :param first: how the file begins: all of it if ``whole``, else more than :data:`LONGEST_ROW` bytes.
    :raises Malformed: if the file is empty, no UTF-8 text, or its first row does not name ``target``.
    """
    for mark, what in _MARKS.items():
        if first.startswith(mark):
            raise Malformed(f"This is {what}, not a CSV file in UTF-8. Save it as CSV UTF-8.")
    begin = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
    found: list[Header] = []
    for delimiter in _DELIMITERS:
        for row in Rows(delimiter, begin).feed(first[begin:], last=whole):
            if row.problem is not None:
                raise Malformed(f"The row that names the columns cannot be read. {row.problem}")
            found.append(Header(row.cells, delimiter, row.end, row.next_line))
            break
    if not found:
        raise Malformed("The file is empty. Its first row must name the columns.")
    return _checked(found)


def _checked(found: Sequence[Header]) -> Header:
    for header in found:
        names = [name.strip().lower() for name in header.names]
        for name in COLUMNS:
            if names.count(name) > 1:
                raise Malformed(f"The column {name} is there {names.count(name)} times.")
        if "target" in names:
            return header
    names = max((list(header.names) for header in found), key=len)
    shown = ", ".join(names)[:_SHOWN]
    raise Malformed(
        f"The first row must name the columns, and target is missing: it has {shown!r}. There are"
        f" {', '.join(COLUMNS)}; commas or semicolons are between them."
    )
