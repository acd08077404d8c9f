import io

import pytest
from shortener.extensions import db
from shortener.models import ClickDay, Link, Tag


def make(browser, **fields):
    return browser.post("/links/new", data={"target": "https://example.com/", **fields})


def test_a_link_is_made_and_shown(app, browser, ada):
    answer = make(browser, slug="minutes", title="<b>", tags="Work, may")
    assert answer.location == "/links/minutes"
    page = browser.get("/links/minutes").text
    assert "&lt;b&gt;" in page
    assert "http://localhost/minutes" in page
    with app.app_context():
        link = Link.query.filter_by(slug="minutes").one()
        assert [tag.name for tag in link.tags] == ["may", "work"]
        assert link.owner.username == "ada"


@pytest.mark.parametrize(
    "fields",
    [
        {"target": ""},
        {"target": "ftp://example.com/"},
        {"target": "https://user:secret@example.com/"},
        {"target": "http://localhost/elsewhere"},
        {"target": "http://127.0.0.1/elsewhere"},
        {"slug": "login"},
        {"slug": "a b"},
        {"title": "x" * 201},
        {"tags": ",".join(map(str, range(11)))},
        {"expires_at": "2001-01-01T00:00"},
        {"expires_at": "2031-01-01T00:00", "timezone": "Nowhere/Land"},
        {"max_visits": "0"},
    ],
)
def test_what_is_refused_stays_in_the_form(app, browser, fields):
    answer = make(browser, **fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    with app.app_context():
        assert Link.query.count() == 0


def test_links_are_searched(browser):
    make(browser, slug="minutes-may", title="Of May", tags="work")
    make(browser, slug="holiday", tags="fun")
    assert "/links/holiday" not in browser.get("/links?q=MINU").text
    assert "/links/minutes-may" not in browser.get("/links?tag=fun").text
    assert "No link of yours matches" in browser.get("/links?q=100%25").text


def test_an_edit_is_followed_at_once(browser):
    make(browser, slug="minutes")
    assert browser.get("/minutes").location == "https://example.com/"
    browser.post("/links/minutes/edit", data={"target": "https://example.org/new"})
    assert browser.get("/minutes").location == "https://example.org/new"


def test_a_deleted_link_takes_its_clicks_along(app, browser):
    make(browser, slug="minutes", tags="work")
    browser.get("/minutes")
    assert browser.post("/links/minutes/delete").location == "/links"
    assert browser.get("/minutes").status_code == 404
    with app.app_context():
        assert ClickDay.query.count() == 0
        assert db.session.scalar(db.select(db.func.count()).select_from(Tag)) == 1


def test_qr_codes_are_drawn_in_a_process(browser):
    make(browser, slug="minutes")
    answer = browser.get("/links/minutes/qr.png")
    assert answer.data.startswith(b"\x89PNG")
    assert browser.get("/links/minutes/qr.png", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_a_file_is_imported_and_exported(browser):
    rows = "slug;target;title\none;https://example.com/1;=1+1\n;ftp://example.com/;\none;https://example.com/2;\n"
    answer = browser.post("/imports/new", data={"file": (io.BytesIO(rows.encode()), "links.csv")})
    assert answer.status_code == 303
    page = browser.get(answer.location).text
    assert "All 3 rows are done." in page
    assert "The short name one is taken" in page
    refused = browser.get(f"{answer.location}/refused.csv").text.splitlines()
    assert refused[0] == "line,reason,slug,target,title"
    assert [row.split(",")[0] for row in refused[1:]] == ["3", "4"]
    exported = browser.get("/links.csv").text.splitlines()
    assert exported[1].startswith("https://example.com/1,one,'=1+1")


@pytest.mark.parametrize(
    "content", [b"", b"slug\nx\n", b"target\n\xff\n", b'target\n"x', b"PK\x03\x04", b"target\n\0\n"]
)
def test_what_is_no_file_of_links(browser, content):
    answer = browser.post("/imports/new", data={"file": (io.BytesIO(content), "links.csv")})
    assert answer.status_code == 422
