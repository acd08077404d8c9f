"""CSV files piece by piece: every way to cut one gives the same rows, and what is no CSV file is told in a sentence."""

from __future__ import annotations

import csv
import io
import random
import time
from collections.abc import Iterable

import pytest

from app.imports.cells import guarded, unguarded
from app.imports.parsing import LONGEST_ROW, Header, Malformed, Row, Rows, read_header


def rows_of(data: bytes, size: int = 10**9, delimiter: str = ",") -> list[Row]:
    rows, found = Rows(delimiter), []
    for start in range(0, max(len(data), 1), size):
        found += rows.feed(data[start : start + size], last=start + size >= len(data))
    return found


def written(rows: Iterable[Iterable[str]], end: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue().encode()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_way_to_cut_a_file_gives_the_same_rows(end: str) -> None:
    """Quoted line breaks, quotes, delimiters, letters of several bytes; one byte at a time or all at once."""
    expected = [["a", "b,c", 'd"e', "f\ng"], ["", "ü€😀", "x\r\ny", ""], ["last", "", "", '""']]
    data = written(expected, end)
    for size in (1, 2, 3, 7, 10**6):
        found = rows_of(data, size)
        assert [list(row.cells) for row in found] == expected, size
        assert [row.line for row in found] == [1, 3, 5]
        assert found[-1].end == len(data)


def test_reading_goes_on_from_the_end_of_any_row() -> None:
    """Position and line of a row are where the rest of the file begins."""
    dice = random.Random(7)
    alphabet = ["a", "é", '"', ",", "\n", "\r\n", "z"]
    cells = ["".join(dice.choices(alphabet, k=dice.randrange(9))) + "." for _ in range(150)]
    data = written([cells[place : place + 3] for place in range(0, 150, 3)], "\n")
    whole = rows_of(data)
    assert len(whole) == 50
    for number, row in enumerate(whole):
        rest = list(Rows(",", row.end, row.next_line).feed(data[row.end :], last=True))
        assert rest == whole[number + 1 :]


def test_blank_lines_are_no_rows_and_the_last_line_needs_no_end() -> None:
    """Whichever lines they are, line numbers count them."""
    assert [(row.line, list(row.cells)) for row in rows_of(b"\na,b\n\r\n\nc,d")] == [(2, ["a", "b"]), (5, ["c", "d"])]


def test_a_file_of_blank_lines_keeps_nobody_waiting() -> None:
    """They take no longer than other bytes: 250,000 of them fit in the piece that is read while the form is sent."""
    for end in (b"\n", b"\r\n"):
        begun = time.process_time()
        with pytest.raises(Malformed, match="empty"):
            read_header(end * 250_000, whole=True)
        found = read_header(end * 250_000 + b"target\n", whole=True)
        assert (found.line, found.end) == (250_002, 250_000 * len(end) + 7)
        assert time.process_time() - begun < 3.0


def test_a_row_that_is_written_wrongly_is_one_row() -> None:
    """The rows around it are read."""
    found = rows_of(b'a,b\n"c" d,e\nf\rg,h\ni,j\n')
    assert [row.problem is None for row in found] == [True, False, False, True]
    assert 'write " within a cell as ""' in str(found[1].problem)
    assert "carriage return" in str(found[2].problem)
    assert rows_of(b'5" disk,b\n')[0].cells == ['5" disk', "b"]


@pytest.mark.parametrize("size", [200, 4096, 10**9])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\nc,\0\n", "Line 2 has a NUL character"),
        ("a,b\n\nä\n".encode("latin-1"), "Line 3 is not UTF-8: byte 1 of it"),
        (b'a,b\n"c' + b"\nd" * LONGEST_ROW, "begins in line 2 has more than 16,384 bytes"),
        (b"x" * (LONGEST_ROW + 2), "begins in line 1 has more than"),
        (b'a,b\n"c,d\n\ne', "opened in line 2 is not closed"),
    ],
)
def test_what_is_no_csv_file(data: bytes, said: str, size: int) -> None:
    """The sentence names the line, however the file is cut."""
    with pytest.raises(Malformed, match=said):
        rows_of(data, size)


def test_a_piece_and_a_row_is_all_that_is_held() -> None:
    """After each piece of a long file, less than a row is left."""
    rows = Rows(",")
    for _ in range(50):
        assert sum(1 for _ in rows.feed(b"abcdefg,hij\n" * 1000 + b"abc,def"[:7])) >= 999
        assert len(rows._rest) < 100


def header(data: bytes) -> Header:
    return read_header(data, whole=True)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_header(mark: bytes) -> None:
    """Any order, any case, commas or semicolons, with a byte order mark or without; other columns are left alone."""
    found = header(mark + b"\nSlug;Clicks; TARGET \n-x;3;t;more\n")
    assert (found.delimiter, found.line) == (";", 3)
    assert found.fields(["'-x", "3", "t"]) == {
        "target": "t", "slug": "-x", "title": "", "tags": "", "expires_at": "", "max_visits": "",
    }  # fmt: skip
    assert found.fields(["x"])["target"] == ""
    assert found.end == len(mark + b"\nSlug;Clicks; TARGET \n")
    assert header(mark + b"target").names == ["target"]
    assert header(mark + b'target,"title;a"').delimiter == ","


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n\r\n", "is empty"),
        (b"url;title\nx;y\n", "target is missing: it has 'url, title'"),
        (b"https://example.com/\n", "target is missing"),
        ("target,ä".encode("latin-1"), "not UTF-8"),
        ("target,title\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04rest", "a spreadsheet"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8|NUL"),
        (b"target,slug,Target\n", "target is there 2 times"),
        (b'"target" x,slug\n', "names the columns cannot be read"),
        (b'"target,slug\n', "not closed"),
        (b"\0\0", "NUL"),
    ],
)
def test_what_has_no_header(data: bytes, said: str) -> None:
    """A sentence that says what to do."""
    with pytest.raises(Malformed, match=said):
        header(data)


def test_formulas_are_guarded_and_come_back() -> None:
    """What a spreadsheet would run begins with an apostrophe; whatever is guarded comes back as it was."""
    for text in ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "'=1", "''-1", "＝1", "'", "'a", "", "a=b", "'+'"):
        assert unguarded(guarded(text)) == text
        assert guarded(text)[:1] not in tuple("=+-@\t\r＝")
    assert guarded("=1") == "'=1"
    assert guarded("plain") == "plain"
    assert unguarded("'tis") == "'tis"
