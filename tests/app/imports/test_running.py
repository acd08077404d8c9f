"""What becomes of a file: links by the rules of the form, refused rows with reasons, nothing twice and nothing lost."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.extensions import db
from app.imports import running
from app.models import Import, ImportChunk, ImportErrors, Tag
from decant import Quart

from .conftest import file_of, links_of, number_of, run, state_of, upload

SITE = "https://example.com/"


async def refused_rows(person: Any, found: Import) -> list[list[str]]:
    response = await person.get(f"/imports/{found.id}/refused.csv")
    assert response.status_code == 200
    assert response.headers["Content-Disposition"] == f'attachment; filename="refused-{found.id}.csv"'
    text = (await response.get_data()).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


async def test_rows_become_links_as_the_form_makes_them(app: Quart, ada: Any, imported: Any) -> None:
    """In the file's order, with normal forms, tags in lower case, dates in UTC unless they say otherwise."""
    found = await imported(
        ada,
        file_of(
            ("HTTPS://Exämple.com", "one", " A\u0301 title ", "Work, later,work", "2031-01-31T18:00", "100"),
            (SITE + "ü?q=1", "", "", "", "2031-01-31T18:00+02:00", ""),
            (SITE, "'-three", "'=1+1", "", "", ""),
        ),
    )
    assert (found.state, found.total, found.made, found.refused, found.problem) == ("done", 3, 3, 0, None)
    one, two, three = await links_of(app)
    assert one == {
        "slug": "one",
        "target": "https://xn--exmple-cua.com/",
        "title": "\u00c1 title",
        "tags": ["later", "work"],
        "expires_at": datetime(2031, 1, 31, 18, tzinfo=UTC),
        "max_visits": 100,
    }
    assert (two["target"], len(two["slug"]), two["tags"]) == (SITE + "%C3%BC?q=1", 7, [])
    assert two["expires_at"] == datetime(2031, 1, 31, 16, tzinfo=UTC)
    assert (three["slug"], three["title"]) == ("-three", "=1+1")
    assert (await ada.get("/one")).status_code == 302


async def test_refused_rows_are_told_and_can_be_imported_again(app: Quart, ada: Any, imported: Any) -> None:
    """Each with its line, its reason and its cells, none of them a formula; corrected, they are taken."""
    await ada.link(slug="taken")
    data = file_of(
        (SITE, "good", "", "", "", ""),
        ("ftp://example.com/", "x", "=cmd()", "", "", ""),
        (SITE, "taken", "two\nlines", "", "", ""),
        (SITE, "good", "", "", "", ""),
        (SITE, "login", "", "", "2001-01-01", "-1"),
        (SITE, "wide", "", "", "", "", "more"),
        ("http://localhost/x", "", "", "", "", ""),
    )
    found = await imported(ada, data + b'"https://example.com/" x,broken\r\n' + f"{SITE},short\r\n".encode())
    assert (found.state, found.total, found.made, found.refused) == ("done", 9, 2, 7)
    assert [link["slug"] for link in await links_of(app)] == ["taken", "good", "short"]
    header, *rows = await refused_rows(ada, found)
    assert header == ["line", "reason", "target", "slug", "title", "tags", "expires_at", "max_visits"]
    assert [row[0] for row in rows] == ["3", "4", "6", "7", "8", "9", "10"]
    reasons = [row[1] for row in rows]
    assert "Only http and https" in reasons[0] and "3 to 64 characters" in reasons[0]  # noqa: PT018
    assert "line breaks" in reasons[1]
    assert reasons[2] == "The short name good is taken. Choose another."
    assert "needed by this site" in reasons[3] and "expired already" in reasons[3]  # noqa: PT018
    assert reasons[4] == "There are 7 cells, and only 6 columns."
    assert "one of this site" in reasons[5]
    assert "quotation mark" in reasons[6]
    assert rows[0][2:] == ["ftp://example.com/", "x", "'=cmd()", "", "", ""]
    assert rows[4][2:] == [SITE, "wide", "", "", "", "", "more"]
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r") and cell]
    rows[0][2], rows[0][3], rows[1][3], rows[1][4] = SITE, "fixed", "free", ""
    again = await imported(ada, file_of(*rows[:2], header=",".join(header)))
    assert (again.made, again.refused) == (2, 0)
    fixed, free = (await links_of(app))[-2:]
    assert (fixed["slug"], fixed["title"], free["slug"], free["title"]) == ("fixed", "=cmd()", "free", None)


async def test_what_was_refused_is_shown_on_the_page(ada: Any, imported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ten, of several batches, escaped, and where the others are."""
    monkeypatch.setattr(running, "BATCH_ROWS", 4)
    found = await imported(ada, file_of(*((f"<b>{n}</b>", "", "", "", "", "") for n in range(12))))
    page = await (await ada.get(f"/imports/{found.id}")).get_data(as_text=True)
    assert page.count('<th scope="row" class="number">') == 10
    assert f'href="/imports/{found.id}/refused.csv"' in page
    assert "<b>" not in page
    assert "All 12 rows are done." in page
    assert "<noscript>" not in page, "nothing to wait for"


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (b"", "has no rows below"),
        (b"\r\n\r\n", "has no rows below"),
        (SITE.encode() + b",x\r\n" + "https://example.com/ä,y\r\n".encode("latin-1"), "Line 3 is not UTF-8"),
        (SITE.encode() + b",x\r\nx\0y,y\r\n", "Line 3 has a NUL"),
        (SITE.encode() + b',x\r\n"y\r\n', "line 3 is not closed"),
        (SITE.encode() + b',x\r\n"y' + b"\n" * 20_000, "line 3 has more than 16,384 bytes"),
    ],
)
async def test_a_file_that_is_no_csv_file_to_its_end_makes_nothing(
    app: Quart, ada: Any, imported: Any, rest: bytes, said: str
) -> None:
    """The import has failed, its page says why, and the file is gone."""
    found = await imported(ada, b"target,slug\r\n" + rest)
    assert (found.state, found.made, found.refused) == ("failed", 0, 0)
    assert said in str(found.problem)
    assert await links_of(app) == []
    assert said in await (await ada.get(f"/imports/{found.id}")).get_data(as_text=True)
    async with app.app_context():
        assert await db.session.scalar(select(func.count()).select_from(ImportChunk)) == 0


async def test_one_row_too_many(make: Any, person: Any) -> None:
    """As many as the setting says are taken, one more makes none of them."""
    app = await make(IMPORT_MAX_ROWS=20)
    ada = person()
    ada.client = app.test_client()
    await ada.register("ada")
    rows = [(SITE, f"row{n}", "", "", "", "") for n in range(21)]
    for given, state in ((rows, "failed"), (rows[:20], "done")):
        import_id = await number_of(await upload(ada, file_of(*given)))
        assert await run(app, import_id) == state
    assert "more than 20 rows" in str((await state_of(app, import_id - 1)).problem)
    assert len(await links_of(app)) == 20


async def test_a_file_of_many_pieces_and_batches(
    app: Quart, ada: Any, imported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows across the borders of pieces, quoted line breaks in them, batches that end anywhere: each row once."""
    monkeypatch.setattr(running, "CHUNK_BYTES", 17 * 1024)
    monkeypatch.setattr(running, "BATCH_ROWS", 7)
    rows = [(f"{SITE}{n}/" + "x" * (n % 300), f"row{n}", "ü" * (n % 50), f"tag{n % 3}", "", "") for n in range(300)]
    rows[150] = (SITE, "bad", "two\r\nlines", "", "", "")
    found = await imported(ada, file_of(*rows))
    assert (found.state, found.total, found.made, found.refused) == ("done", 300, 299, 1)
    made = await links_of(app)
    assert [link["slug"] for link in made] == [row[1] for row in rows if row[1] != "bad"]
    assert [link["tags"] for link in made[:4]] == [["tag0"], ["tag1"], ["tag2"], ["tag0"]]
    assert (await refused_rows(ada, found))[1][0] == "152"


async def test_a_made_up_name_that_is_taken_is_made_up_anew(
    app: Quart, ada: Any, imported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the form; two rows that would get the same one, too."""
    await ada.link(slug="aaaaaaa")
    names = iter(["aaaaaaa", "bbbbbbb", "bbbbbbb", "ccccccc", "ccccccc", "ddddddd"])
    monkeypatch.setattr("app.imports.links.new_slug", lambda: next(names))
    found = await imported(ada, file_of((SITE + "1", ""), (SITE + "2", ""), (SITE + "3", ""), header="target,slug"))
    assert (found.made, found.refused) == (3, 0)
    made = {link["target"]: link["slug"] for link in await links_of(app)}
    assert made == {SITE: "aaaaaaa", SITE + "1": "ddddddd", SITE + "2": "bbbbbbb", SITE + "3": "ccccccc"}


async def test_names_that_were_remembered_as_unknown_lead_on(app: Quart, ada: Any, imported: Any) -> None:
    """Whoever tried them before the import finds them afterwards."""
    assert (await ada.get("/later")).status_code == 404
    await imported(ada, file_of((SITE, "later"), header="target,slug"))
    assert (await ada.get("/later")).status_code == 302


async def test_a_job_that_is_begun_anywhere_goes_on_there(
    app: Quart, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of every transaction in turn, each time run again: each row once, in the end."""
    monkeypatch.setattr(running, "BATCH_ROWS", 2)
    rows = [(SITE + str(n), f"row{n}" if n % 3 else "", "", "all", "", "x" * (n % 4 == 3)) for n in range(10)]
    import_id = await number_of(await upload(ada, file_of(*rows)))
    advance, told = running._advance, running.live.tell
    calls = 0

    class Broken(Exception):
        pass

    def breaking_advance(*args: Any) -> Any:  # after the links, before the commit
        nonlocal calls
        calls += 1
        if calls % 3 == 1:
            raise Broken
        return advance(*args)

    async def breaking_tell(*args: Any) -> None:  # after the commit
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise Broken
        await told(*args)

    monkeypatch.setattr(running, "_advance", breaking_advance)
    monkeypatch.setattr(running.live, "tell", breaking_tell)
    state, breaks = "", 0
    while state != "done":
        try:
            state = await run(app, import_id)
        except Broken:
            breaks += 1
        if breaks > 40:
            raise AssertionError("it gets nowhere")
        state = (await state_of(app, import_id)).state
    assert breaks >= 5
    found = await state_of(app, import_id)
    assert (found.made, found.refused) == (8, 2)
    assert [link["target"] for link in await links_of(app)] == [SITE + str(n) for n in range(10) if n % 4 != 3]
    assert [row[0] for row in (await refused_rows(ada, found))[1:]] == ["5", "9"]


async def test_two_workers_with_one_import(app: Quart, ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds that the other has come further stops: each row is there once."""
    monkeypatch.setattr(running, "BATCH_ROWS", 5)
    rows = [(f"{SITE}{n}", "") for n in range(100)]
    import_id = await number_of(await upload(ada, file_of(*rows, header="target,slug")))
    await asyncio.gather(*(run(app, import_id) for _ in range(3)))
    assert (await state_of(app, import_id)).state == "done"
    assert [link["target"] for link in await links_of(app)] == [row[0] for row in rows]


async def test_a_deadlock_is_no_failure(app: Quart, ada: Any) -> None:
    """Somebody else takes the same names in another order: PostgreSQL ends the batch, and it is written again."""
    import_id = await number_of(await upload(ada, file_of((SITE, "aaa"), (SITE, "bbb"), header="target,slug")))
    take = "INSERT INTO links (owner_id, slug, target) SELECT id, '{}', 'https://example.com/' FROM users"
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with app.app_context(), db.engine.connect() as other, db.engine.connect() as watcher:
        await other.exec_driver_sql("SET deadlock_timeout = '20s'")  # so that the import is the one to notice
        await other.exec_driver_sql(take.format("bbb"))
        importing = asyncio.create_task(run(app, import_id))
        async with asyncio.timeout(30):
            while not (await watcher.exec_driver_sql(waiting)).scalar_one():
                await asyncio.sleep(0.01)
        await other.exec_driver_sql(take.format("aaa"))
        await other.rollback()
        assert await importing == "done"
    assert [link["slug"] for link in await links_of(app)] == ["aaa", "bbb"]


async def test_cancelled_while_it_runs(app: Quart, ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops at the next batch; what was made stays, and the page says so; another one may begin."""
    monkeypatch.setattr(running, "BATCH_ROWS", 5)
    data = file_of(*((f"{SITE}{n}", "") for n in range(50)), header="target,slug")
    import_id = await number_of(await upload(ada, data))
    told = running.live.tell

    async def cancel_at_ten(number: int) -> None:
        if (await state_of(app, number)).done == 10:
            assert (await ada.post(f"/imports/{number}/cancel")).status_code == 303
        await told(number)

    monkeypatch.setattr(running.live, "tell", cancel_at_ten)
    assert await run(app, import_id) == "cancelled"
    found = await state_of(app, import_id)
    assert (found.state, found.made, found.total) == ("cancelled", 10, 50)
    assert len(await links_of(app)) == 10
    page = await (await ada.get(f"/imports/{import_id}")).get_data(as_text=True)
    assert "cancelled after 10 of 50 rows" in page
    assert "have stayed" in page
    assert await run(app, import_id) == "cancelled", "and it is not begun again"
    assert "had ended already" in await (
        await ada.post(f"/imports/{import_id}/cancel", follow_redirects=True)
    ).get_data(as_text=True)
    assert (await upload(ada, data)).status_code == 303


async def test_old_imports_are_forgotten(app: Quart, ada: Any, imported: Any) -> None:
    """After IMPORT_KEEP_DAYS, with their refused rows; one whose job is gone has failed after a day."""
    old = await imported(ada, file_of((SITE, "x"), header="target,slug"))
    new = await imported(ada, file_of((SITE, "y"), header="target,slug"))
    lost = await number_of(await upload(ada, file_of((SITE, "z"), header="target,slug")))
    async with app.app_context():
        long_ago = datetime.now(UTC) - timedelta(days=31)
        await db.session.execute(
            update(Import).where(Import.id == old.id).values(finished_at=long_ago, updated_at=long_ago)
        )
        await db.session.execute(
            update(Import).where(Import.id == lost).values(updated_at=datetime.now(UTC) - timedelta(hours=25))
        )
        await db.session.commit()
        assert await app.extensions["imports"].forget() == 1
        left = [tuple(row) for row in await db.session.execute(select(Import.id, Import.state).order_by(Import.id))]
        assert left == [(new.id, "done"), (lost, "failed")]
        assert set(await db.session.scalars(select(ImportErrors.import_id))) == {new.id}
        assert await db.session.scalar(select(func.count()).select_from(ImportChunk)) == 0


async def test_tags_of_others_are_left_alone(app: Quart, ada: Any, person: Any, imported: Any) -> None:
    """Each owner has tags of their own."""
    eve = person()
    await eve.register("eve")
    for somebody, slug in ((ada, "one"), (eve, "two"), (ada, "three")):
        await imported(somebody, file_of((SITE, slug, "both"), header="target,slug,tags"))
    async with app.app_context():
        assert await db.session.scalar(select(func.count()).select_from(Tag)) == 2
    page = await (await ada.get("/links?tag=both")).get_data(as_text=True)
    assert "/three" in page
    assert "/two" not in page


async def test_a_file_that_is_counted_leaves_others_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows may be few bytes: a piece of it has more than a hundred thousand."""
    piece, turns = b"a\n" * 131_000, 0
    work = running._Work(1, 1, len(piece), frozenset(), None, 0, 1)

    async def pieces(*_: Any) -> Any:
        yield piece, True

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(running, "_pieces", pieces)
    others = asyncio.create_task(other())
    with pytest.raises(running.Malformed, match="more than 50,000 rows"):
        await running._count(work, running.Header(["target"], ",", 0, 1), 50_000)
    others.cancel()
    assert turns >= 50
