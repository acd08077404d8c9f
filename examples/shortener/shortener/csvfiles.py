"""Links from CSV files, and as one."""

import codecs
import csv
import io
import re

from flask import current_app
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from .extensions import db, limiter
from .models import Import, Link, utcnow
from .services import configured, link_maker
from .urls import own_hosts

COLUMNS = ("target", "slug", "title", "tags", "expires_at", "max_visits")
FORMULA = "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
LONGEST_ROW = 16 * 1024


class Malformed(ValueError):
    """The file as a whole cannot be read: a sentence for who sent it."""


class UnderWay(ValueError):
    def __init__(self):
        super().__init__("An import of yours is under way. Wait for its end, or cancel it.")


def guarded(cell):
    """What a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{cell}" if re.match(f"'*{FORMULA}", cell) else cell


def unguarded(cell):
    return cell[1:] if re.match(f"'+{FORMULA}", cell) else cell


def read(content):
    """The names of the columns, and a list of (line, cells) of the rows. Raises Malformed."""
    text = decoded(content)
    first = text.lstrip().split("\n", 1)[0]
    delimiter = ";" if ";" in first and "target" not in [name.strip().lower() for name in first.split(",")] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if sum(map(len, cells)) > LONGEST_ROW:
                raise Malformed(f"The row that begins in line {line} is too long. Is a quotation mark not closed?")
            if cells:
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise Malformed(f"The row that begins in line {line} cannot be read: {error}.") from None
    if not rows:
        raise Malformed("The file is empty. Its first row must name the columns.")
    return check_names([name.strip().lower() for name in rows[0][1]]), rows[1:]


def decoded(content):
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"PK\x03\x04")):
        raise Malformed("This is not a CSV file in UTF-8. Save it as CSV UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Malformed(f"Line {line} is not UTF-8. Save the file as CSV UTF-8.") from None
    if "\0" in text:
        raise Malformed("The file has a NUL character: this is not a CSV file, or a damaged one.")
    return text


def check_names(names):
    if "target" not in names:
        raise Malformed(f"The first row must name the columns, and target is missing: there are {', '.join(COLUMNS)}.")
    for name in COLUMNS:
        if names.count(name) > 1:
            raise Malformed(f"The column {name} is there {names.count(name)} times.")
    return names


def fields_of(names, cells):
    """The cells that we know, by name; those that a short row lacks are empty."""
    given = dict(zip(names, map(unguarded, cells), strict=False))
    return {name: given.get(name, "") for name in COLUMNS}


@limiter.shared_limit(
    configured("RATE_IMPORTS"),
    scope="imports",
    key_func=link_maker,
    error_message="You have begun many imports in a short time. Wait a while.",
)
def count_import():
    """Called before a file is kept: 429 if it is one too many."""


def begin(owner, content, name):
    """Keeps the file and has a worker make its links. Raises Malformed or UnderWay."""
    from .tasks import run_import

    names, rows = read(content)
    if not rows:
        raise Malformed("The file has no rows below the names of its columns.")
    if len(rows) > current_app.config["IMPORT_MAX_ROWS"]:
        raise Malformed(f"The file has more than {current_app.config['IMPORT_MAX_ROWS']:,} rows.")
    count_import()
    shown = "".join(char for char in name if char.isprintable()).strip()[:200] or "links.csv"
    made = Import(
        owner_id=owner.id,
        file_name=shown,
        content=content,
        hosts=sorted(own_hosts()),
        columns=[column for column in names if column not in ("line", "reason")],
        total=len(rows),
    )
    db.session.add(made)
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        raise UnderWay from None
    try:
        run_import.delay(made.id)
    except Exception:  # the broker is away: the next import shall not wait for this one
        end(made, "failed", "No worker could be asked to do it. Try again later.")
        raise
    return made


def end(found, state, problem=None):
    """Ends an import that is under way; False if it has ended before. What it has made stays."""
    ended = Import.query.filter(Import.id == found.id, Import.state.in_(Import.ACTIVE)).update(
        {"state": state, "problem": problem, "finished_at": utcnow(), "content": None}, synchronize_session=False
    )
    db.session.commit()
    return bool(ended)


def cancel(found):
    return end(found, "cancelled")


def export(owner_id):
    """The owner's links, the oldest first, piece by piece."""
    yield "\ufeff" + written([[*COLUMNS, "clicks", "created"]])
    last = 0
    while True:
        query = Link.query.options(selectinload(Link.tags)).filter(Link.owner_id == owner_id, Link.id > last)
        page = query.order_by(Link.id).limit(500).all()
        if not page:
            return
        last = page[-1].id
        piece = written([cells_of(link) for link in page])
        db.session.rollback()  # gives the connection back: the client may be slow
        yield piece


def cells_of(link):
    return [
        guarded(link.target),
        guarded(link.slug),
        guarded(link.title or ""),
        guarded(", ".join(tag.name for tag in link.tags)),
        link.expires_at.isoformat() if link.expires_at else "",
        "" if link.max_visits is None else str(link.max_visits),
        str(link.visits),
        link.created_at.isoformat(),
    ]


def written(rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()
