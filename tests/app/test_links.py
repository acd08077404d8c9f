"""The pages of links: making, finding, changing, deleting, and that they are their owner's alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from app.extensions import db
from app.links.rules import reserved_slugs
from app.models import ClickDay, Link, Tag
from decant import Quart

from .conftest import Make, Person, text_of

People = Callable[[], Person]


async def only_link(app: Quart) -> Link:
    async with app.app_context():
        link = (await db.session.scalars(select(Link))).one()
        await db.session.refresh(link, ["tags"])
        return link


async def test_a_link_is_made_with_all_its_fields(ada: Person, app: Quart) -> None:
    """Slug, title, expiry in a time zone, visits, tags: kept, and shown on the link's page."""
    response = await ada.link(
        "https://Example.com/page",
        slug="my-link",
        title="A <b>title</b>",
        expires_at="2090-07-01T12:00",
        timezone="Europe/Berlin",
        max_visits="10",
        tags="Work, home,work",
    )
    assert response.headers["Location"] == "/links/my-link"
    link = await only_link(app)
    assert (link.slug, link.target, link.max_visits) == ("my-link", "https://example.com/page", 10)
    assert link.expires_at == datetime(2090, 7, 1, 10, tzinfo=UTC)
    assert [tag.name for tag in link.tags] == ["home", "work"]
    raw = await (await ada.get("/links/my-link")).get_data(as_text=True)
    assert "A &lt;b&gt;title&lt;/b&gt;" in raw
    assert "http://localhost/my-link" in raw
    assert "1 Jul 2090, 10:00 UTC" in raw


async def test_a_slug_is_made_up_when_none_is_given(ada: Person, app: Quart) -> None:
    """Seven letters and digits."""
    await ada.link()
    assert len((await only_link(app)).slug) == 7


async def test_a_made_up_slug_that_is_taken_is_made_up_again(
    ada: Person, app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collision is not seen by anybody."""
    slugs = iter(["aaaaaaa", "aaaaaaa", "bbbbbbb"])
    monkeypatch.setattr("app.links.service.new_slug", lambda: next(slugs))
    assert (await ada.link(tags="one, two")).headers["Location"] == "/links/aaaaaaa"
    assert (await ada.link(tags="two, three")).headers["Location"] == "/links/bbbbbbb"
    assert [f">{name}<" in await text_of(await ada.get("/links")) for name in ("one", "two", "three")] == [True] * 3


async def test_every_wrong_field_is_said_beside_it_and_values_stay(ada: Person, app: Quart) -> None:
    """The form comes back with status 422, what was typed, and one sentence per wrong field, tied to it."""
    response = await ada.link(
        "ftp://x/",
        slug="a b",
        title="x" * 201,
        expires_at="2001-01-01T00:00",
        timezone="Europe/Berlin",
        max_visits="0",
        tags=",".join(f"t{n}" for n in range(11)),
    )
    page = await text_of(response)
    assert response.status_code == 422
    for name in ("target", "slug", "title", "expires_at", "max_visits", "tags"):
        assert f'id="{name}-error"' in page
        assert f'href="#{name}"' in page
    assert 'aria-describedby="target-error target-help"' in page
    assert 'value="ftp://x/"' in page
    assert 'value="Europe/Berlin"' in page
    assert "6 things are to be corrected" in page
    async with app.app_context():
        assert await db.session.scalar(select(func.count()).select_from(Link)) == 0


@pytest.mark.parametrize("own", ["http://localhost/abc", "https://LOCALHOST./", "https://sho.rt/abc"])
async def test_a_link_to_ourselves_is_refused(make: Make, own: str) -> None:
    """Neither the host of the request nor PUBLIC_URL's can be a target."""
    app = await make(PUBLIC_URL="https://sho.rt")
    somebody = Person(app.test_client())
    await somebody.register("ada")
    response = await somebody.link(own)
    assert response.status_code == 422
    assert "round in circles" in await text_of(response)


async def test_slugs_are_unique_over_all_owners(ada: Person, person: People) -> None:
    """Somebody else's name is taken; another case of it is another name."""
    await ada.link(slug="mine")
    eve = person()
    await eve.register("eve")
    response = await eve.link(slug="mine")
    assert response.status_code == 422
    assert "is taken" in await text_of(response)
    assert (await eve.link(slug="Mine")).status_code == 303


async def test_every_routed_word_is_reserved(ada: Person, app: Quart) -> None:
    """No link can have the name of a page, now or when pages are added: the reserved words come from the routes."""
    routed = {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}
    words = sorted(word for word in routed if word and "<" not in word and "." not in word and len(word) > 2)
    assert {"links", "login", "account", "static", "healthz"} <= set(words)
    assert reserved_slugs(app) >= {word.lower() for word in words}
    for word in words:
        response = await ada.link(slug=word.upper())
        assert "needed by this site" in await text_of(response), word


PAGES = ["/links/mine", "/links/mine/edit", "/links/mine/delete"]


@pytest.mark.parametrize("path", PAGES)
async def test_others_find_nothing(ada: Person, person: People, path: str) -> None:
    """Somebody else's link is 404, as one that does not exist, on every page."""
    await ada.link(slug="mine")
    eve = person()
    await eve.register("eve")
    assert (await eve.get(path)).status_code == 404
    assert (await eve.get(path.replace("mine", "none"))).status_code == 404
    assert (await ada.get(path)).status_code == 200


@pytest.mark.parametrize("path", PAGES[1:])
async def test_others_change_nothing(ada: Person, person: People, app: Quart, path: str) -> None:
    """Neither editing nor deleting works on somebody else's link."""
    await ada.link(slug="mine")
    eve = person()
    await eve.register("eve")
    assert (await eve.post(path, {"target": "https://evil.example/"})).status_code == 404
    assert (await only_link(app)).target == "https://example.com/"


async def test_a_link_is_edited(ada: Person, app: Quart) -> None:
    """All but the slug can be changed and cleared; the form begins with what is there."""
    await ada.link(slug="mine", title="Old", max_visits="5", expires_at="2090-01-01T00:00", tags="a,b")
    form = await text_of(await ada.get("/links/mine/edit"))
    for value in ("Old", "5", "2090-01-01T00:00:00", "a, b"):
        assert f'value="{value}"' in form
    response = await ada.post("/links/mine/edit", {"target": "https://example.org/", "slug": "other", "tags": "b,c"})
    assert response.headers["Location"] == "/links/mine"
    link = await only_link(app)
    assert (link.slug, link.target, link.title, link.max_visits) == ("mine", "https://example.org/", None, None)
    assert link.expires_at is None
    assert [tag.name for tag in link.tags] == ["b", "c"]


async def test_editing_keeps_an_expiry_that_has_passed(ada: Person, app: Quart) -> None:
    """The title of an ended link can be corrected without another end, but an end in the past cannot be set."""
    await ada.link(slug="mine")
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    async with app.app_context():
        await db.session.execute(update(Link).values(expires_at=past))
        await db.session.commit()
    fields = {"target": "https://example.com/", "title": "New", "expires_at": f"{past:%Y-%m-%dT%H:%M:%S}"}
    assert (await ada.post("/links/mine/edit", fields)).status_code == 303
    assert (await only_link(app)).title == "New"
    fields["expires_at"] = f"{past - timedelta(1):%Y-%m-%dT%H:%M:%S}"
    assert (await ada.post("/links/mine/edit", fields)).status_code == 422


async def test_a_link_is_deleted_after_a_question(ada: Person, app: Quart) -> None:
    """The page asks first; then the link is gone, with its clicks and without its tags."""
    await ada.link(slug="mine", tags="kept")
    link = await only_link(app)
    async with app.app_context():
        db.session.add(ClickDay(link_id=link.id, day=datetime.now(UTC).date(), clicks=3))
        await db.session.commit()
    assert "cannot be undone" in await text_of(await ada.get("/links/mine/delete"))
    assert (await ada.post("/links/mine/delete")).headers["Location"] == "/links"
    assert (await ada.get("/links/mine")).status_code == 404
    async with app.app_context():
        assert await db.session.scalar(select(func.count()).select_from(ClickDay)) == 0
        assert await db.session.scalar(select(func.count()).select_from(Tag)) == 1


async def fill(app: Quart, count: int) -> None:
    async with app.app_context():
        owner_id = await db.session.scalar(select(Link.owner_id))
        db.session.add_all(
            Link(owner_id=owner_id, slug=f"bulk-{n}", target=f"https://site{n}.example/path/{n}", title=f"Number {n}")
            for n in range(count)
        )
        await db.session.commit()


async def test_the_list_goes_page_by_page(ada: Person, app: Quart) -> None:
    """Twenty a page, the newest first; each link is on exactly one page."""
    await ada.link(slug="first")
    await fill(app, 44)
    seen: list[str] = []
    path = "/links"
    for _ in range(3):
        page = await text_of(await ada.get(path))
        seen += [part.split('"')[0] for part in page.split('class="name" href="/links/')[1:]]
        if 'rel="next"' in page:
            path = page.split('class="more"')[1].split('href="')[1].split('"')[0]
    assert seen == [*(f"bulk-{n}" for n in range(43, -1, -1)), "first"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "wines"}, {"a"}),
        ({"q": "WIN"}, {"a"}),
        ({"q": "list wine"}, {"a"}),
        ({"q": "example"}, {"a", "bee-hive"}),
        ({"q": "hive"}, {"bee-hive"}),
        ({"q": "größe"}, {"bee-hive"}),
        ({"q": "wine hive"}, set()),
        ({"q": "!!! ' & | : * ( \\ %"}, {"a", "bee-hive"}),
        ({"tag": "food"}, {"bee-hive"}),
        ({"tag": "food", "q": "wine"}, set()),
        ({"tag": "none"}, set()),
    ],
)
async def test_links_are_found_by_words_and_tags(ada: Person, query: dict[str, str], found: set[str]) -> None:
    """Every word must begin a word of the slug, the title or the address; signs mean nothing."""
    await ada.link("https://example.com/shop/list", slug="abc", title="Our wines")
    await ada.link("https://example.org/Käse?x=1", slug="bee-hive", title="Die GRÖSSE und die Größe", tags="food")
    page = await text_of(await ada.get("/links", query_string=query))
    seen = {part.split('"')[0] for part in page.split('class="name" href="/links/')[1:]}
    assert seen == {{"a": "abc"}.get(name, name) for name in found}


async def test_a_search_finds_only_ones_own(ada: Person, person: People) -> None:
    """Neither the list nor the search nor the tags show what is somebody else's."""
    await ada.link(slug="mine", tags="private")
    eve = person()
    await eve.register("eve")
    for path in ("/links", "/links?q=mine", "/links?tag=private"):
        assert "/links/mine" not in await text_of(await eve.get(path))


async def test_a_tag_is_offered_while_a_link_has_it(ada: Person) -> None:
    """Not after the last of its links is deleted or has other tags."""
    await ada.link(slug="one", tags="kept, gone")
    await ada.link(slug="two", tags="kept, deleted")
    await ada.post("/links/one/edit", {"target": "https://example.com/", "tags": "kept"})
    await ada.post("/links/two/delete")
    page = await text_of(await ada.get("/links"))
    assert [tag for tag in ("kept", "gone", "deleted") if f"/links?tag={tag}" in page] == ["kept"]


@pytest.mark.parametrize(
    "query",
    ["before=x", "before=-1", "before=" + "9" * 30, "q=" + "x" * 101, "q=%00", "tag=%00", "q=a%0Ab", "before=%D9%A3"],
)
async def test_a_query_that_makes_no_sense_is_400(ada: Person, query: str) -> None:
    """Not a 500 from the database, and not an empty list."""
    assert (await ada.get(f"/links?{query}")).status_code == 400


@pytest.mark.parametrize("path", ["/links/%00", "/links/a%20b", "/links/" + "a" * 65, "/links/%FF", "/links/a.b"])
async def test_a_path_that_is_no_slug_is_404(ada: Person, path: str) -> None:
    """The database is not asked."""
    assert (await ada.get(path)).status_code == 404


async def test_the_chart_and_its_table_show_the_days(ada: Person, app: Quart, one_moment: None) -> None:
    """Clicks of the period by day in UTC, days without any as zero in the chart; older ones are not in it."""
    await ada.link(slug="mine")
    link = await only_link(app)
    today = datetime.now(UTC).date()
    async with app.app_context():
        clicks = {0: 3, 2: 1200, 29: 5, 40: 7}
        db.session.add_all(ClickDay(link_id=link.id, day=today - timedelta(n), clicks=c) for n, c in clicks.items())
        await db.session.commit()
    page = await text_of(await ada.get("/links/mine"))
    assert "1,208" in page
    assert page.count('<tr><th scope="row"><time') == 3
    assert (today - timedelta(2)).isoformat() in page
    assert (today - timedelta(40)).isoformat() not in page
    data = page.split('data-chart="')[1].split('" role')[0]
    assert '"clicks": [5, 0, 0' in data or '"clicks":[5,0,0' in data
    assert (today - timedelta(40)).isoformat() in await text_of(await ada.get("/links/mine?days=90"))


@pytest.mark.parametrize("days", ["0", "31", "x", "-7", "9" * 50, "%00"])
async def test_a_period_that_is_not_offered_is_400(ada: Person, days: str) -> None:
    """Only 7, 30, 90 and 365 days."""
    await ada.link(slug="mine")
    assert (await ada.get(f"/links/mine?days={days}")).status_code == 400
