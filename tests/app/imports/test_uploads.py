"""What is taken in, from whom, and how much of it is held in memory; the pages of imports, and the export."""

from __future__ import annotations

import csv
import http.client
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.extensions import db
from app.models import Import, ImportChunk, Link, User
from decant import Quart

from ..conftest import PASSWORD
from ..site import serve_site
from .conftest import file_of, links_of, number_of, run, state_of, upload

SITE = "https://example.com/"
ONE = file_of((SITE, ""), header="target,slug")


async def kept(app: Quart) -> tuple[int, int]:
    """Imports, and pieces of files."""
    async with app.app_context():
        counts = [await db.session.scalar(select(func.count()).select_from(what)) for what in (Import, ImportChunk)]
    return int(counts[0] or 0), int(counts[1] or 0)


async def test_a_file_is_kept_and_its_page_waits(app: Quart, ada: Any) -> None:
    """In the database, with the name that it had; the page says that it waits, and loads itself again."""
    import_id = await number_of(await upload(ada, ONE, "mine\x01 €.csv"))
    assert await kept(app) == (1, 1)
    response = await ada.get(f"/imports/{import_id}")
    page = await response.get_data(as_text=True)
    assert "mine €.csv" in page
    assert "Waiting for a worker" in page
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    assert "mine €.csv" in await (await ada.get("/imports")).get_data(as_text=True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The file is empty"),
        (b"title,slug\na,b\n", "target is missing"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10, "not UTF-8"),
        ("target\nx".encode("utf-16"), "UTF-16"),
        (b"target," + b"x" * 20_000, "more than 16,384 bytes"),
        (b'"target', "not closed"),
    ],
)
async def test_what_cannot_be_an_import(app: Quart, ada: Any, data: bytes, said: str) -> None:
    """The form is shown again with a sentence at its field, and nothing is kept."""
    await ada.get("/imports/new")
    response = await upload(ada, data)
    page = await response.get_data(as_text=True)
    assert response.status_code == 422
    assert said in page
    assert 'id="file-error"' in page
    assert await kept(app) == (0, 0)


async def test_no_file(app: Quart, ada: Any) -> None:
    """A form without one, or with a text in its place, is no error of the site."""
    for fields in ({}, {"file": "text"}, {"file": (io.BytesIO(b""), "")}):
        response = await ada.post("/imports/new", {**fields, "other": (io.BytesIO(b"x"), "x")})
        assert response.status_code == 422
        assert "Choose a file." in await response.get_data(as_text=True)


async def test_one_at_a_time(app: Quart, ada: Any, person: Any) -> None:
    """A second one is refused until the first has ended; others have theirs."""
    first = await number_of(await upload(ada, ONE))
    second = await upload(ada, ONE)
    assert second.status_code == 422
    assert "is under way" in await second.get_data(as_text=True)
    assert await kept(app) == (1, 1)
    eve = person()
    await eve.register("eve")
    assert (await upload(eve, ONE)).status_code == 303
    assert await run(app, first) == "done"
    assert (await upload(ada, ONE)).status_code == 303


async def test_so_many_an_hour(make: Any, person: Any) -> None:
    """RATE_IMPORTS: 429, and nothing is kept."""
    app = await make(RATE_IMPORTS="1 per hour")
    ada = person()
    ada.client = app.test_client()
    await ada.register("ada")
    await run(app, await number_of(await upload(ada, ONE)))
    assert (await upload(ada, ONE)).status_code == 429
    assert await kept(app) == (1, 0)


async def test_somebody_elses_import_does_not_exist(app: Quart, ada: Any, person: Any, imported: Any) -> None:
    """404 for its page, its refused rows and its end; it goes on."""
    await imported(ada, file_of(("x", ""), header="target,slug"))
    mine = await number_of(await upload(ada, ONE))
    eve = person()
    await eve.register("eve")
    for number in (mine, mine - 1, 999, 2**63):
        assert (await eve.get(f"/imports/{number}")).status_code == 404
        assert (await eve.get(f"/imports/{number}/refused.csv")).status_code == 404
        assert (await eve.post(f"/imports/{number}/cancel")).status_code == 404
    assert (await state_of(app, mine)).state == "waiting"
    assert "You have imported nothing yet." in await (await eve.get("/imports")).get_data(as_text=True)


async def test_pages_are_for_who_is_logged_in(app: Quart, person: Any) -> None:
    """Others are sent to the log-in page, and may send no more than any form has."""
    nobody = person()
    for path in ("/imports", "/imports/new", "/imports/1", "/imports/1/refused.csv", "/links.csv"):
        response = await nobody.get(path)
        assert (response.status_code, response.headers["Location"].partition("?")[0]) == (303, "/login")
    await nobody.get("/login")
    assert (await upload(nobody, ONE)).status_code == 303
    assert (await upload(nobody, b"target\n" + b"x" * 1024 * 1024)).status_code == 413
    assert await kept(app) == (0, 0)


async def test_a_file_that_is_too_big(make: Any, person: Any) -> None:
    """413 with the bound; one of more than MAX_CONTENT_LENGTH is taken here, and by no other form."""
    app = await make(IMPORT_MAX_MB=2)
    ada = person()
    ada.client = app.test_client()
    await ada.register("ada")
    await ada.get("/imports/new")
    response = await upload(ada, b"target\n" + b"x" * 3 * 1024 * 1024)
    assert response.status_code == 413
    assert "at most 2 MB" in await response.get_data(as_text=True)
    assert (await ada.link(title="x" * 2 * 1024 * 1024)).status_code == 413
    assert await kept(app) == (0, 0)
    assert (await upload(ada, b"target\n" + b"x\n" * 900_000)).status_code == 303
    assert await kept(app) == (1, 7)


def rss_peak(process_id: int) -> int:
    """In bytes: the most that a process has held."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process_id}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc says how much memory a process has")
def test_an_upload_is_not_held_in_memory(settings: dict[str, Any], tmp_path: Path) -> None:
    """Two files of 16 MB, one after the other, as they come: the process grows by less than one of them has."""
    head = (
        '--x\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n{token}\r\n--x\r\n'
        'Content-Disposition: form-data; name="file"; filename="x.csv"\r\nContent-Type: text/csv\r\n\r\ntarget\r\n'
    )
    line = (SITE + "x" * 200 + "\r\n").encode()
    piece = line * 500
    with serve_site(settings, tmp_path / "log") as site:

        def send(pieces: int, name: str) -> int:
            """The status; each file is of another user, who has none under way."""
            cookie, token = site.log_in(name, PASSWORD)
            begin, end = head.replace("{token}", token).encode(), b"\r\n--x--\r\n"
            connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
            connection.putrequest("POST", "/imports/new")
            connection.putheader("Content-Type", "multipart/form-data; boundary=x")
            connection.putheader("Content-Length", str(len(begin) + pieces * len(piece) + len(end)))
            connection.putheader("Cookie", cookie)
            connection.endheaders()
            connection.send(begin)
            for _ in range(pieces):
                connection.send(piece)
            connection.send(end)
            status = connection.getresponse().status
            connection.close()
            return status

        assert send(10, "warm") == 303
        before = rss_peak(site.process.pid)
        for number in range(2):
            assert send(16 * 1024 * 1024 // len(piece), f"user{number}") == 303
        assert rss_peak(site.process.pid) - before < 12 * 1024 * 1024


async def export_of(person: Any) -> list[list[str]]:
    response = await person.get("/links.csv")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/csv")
    assert response.headers["Content-Disposition"] == 'attachment; filename="links.csv"'
    return list(csv.reader(io.StringIO((await response.get_data()).decode("utf-8-sig"), newline="")))


async def test_what_is_exported_can_be_imported(app: Quart, ada: Any, person: Any, imported: Any) -> None:
    """All fields come back as they were, formulas too, which are none in the file; clicks and dates are left alone."""
    soon = (datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None).isoformat()
    await ada.link(slug="-1-1", title="=HYPERLINK(1)", tags="@b,a", expires_at=soon, max_visits="9")
    await ada.link(SITE + "ü", slug="two", title="'+x; \"q\", '", tags="+")
    await ada.link(slug="three", title="\N{FULLWIDTH EQUALS SIGN}1 \N{GRINNING FACE}")
    eve = person()
    await eve.register("eve")
    await eve.link(slug="hers")
    header, *rows = await export_of(ada)
    assert header == ["target", "slug", "title", "tags", "expires_at", "max_visits", "clicks", "created"]
    assert [row[1] for row in rows] == ["'-1-1", "two", "three"]
    assert (rows[0][2], rows[0][3], rows[0][5], rows[0][6]) == ("'=HYPERLINK(1)", "'@b, a", "9", "0")
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@") and cell]
    before = [link for link in await links_of(app) if link["slug"] != "hers"]
    data = await (await ada.get("/links.csv")).get_data()
    for slug in ("-1-1", "two", "three"):
        assert (await ada.post(f"/links/{slug}/delete")).status_code == 303
    found = await imported(eve, data)
    assert (found.made, found.refused) == (3, 0)
    assert [link for link in await links_of(app) if link["slug"] != "hers"] == before


async def test_an_export_has_every_link_once(app: Quart, ada: Any) -> None:
    """Of more than a page, in the order in which they were made; none has only the header."""
    assert len(await export_of(ada)) == 1
    async with app.app_context():
        owner = (await db.session.scalars(select(User))).one()
        db.session.add_all(Link(owner_id=owner.id, slug=f"row{n}", target=SITE) for n in range(2500))
        await db.session.commit()
    assert [row[1] for row in (await export_of(ada))[1:]] == [f"row{n}" for n in range(2500)]
