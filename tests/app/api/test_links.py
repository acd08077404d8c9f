"""Links through the API: made, listed, read, changed, deleted, counted, and their owner's alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from app.extensions import db
from app.models import ClickDay, Link
from decant import Quart

from .conftest import Caller, Callers, refused


async def change(app: Quart, slug: str, **values: Any) -> None:
    """Change a link's row behind everybody's back."""
    async with app.app_context():
        await db.session.execute(update(Link).where(Link.slug == slug).values(**values))
        await db.session.commit()


async def clicked(app: Quart, slug: str, clicks: dict[date, int]) -> None:
    async with app.app_context():
        link_id = await db.session.scalar(select(Link.id).where(Link.slug == slug))
        rows = [{"link_id": link_id, "day": day, "clicks": count} for day, count in clicks.items()]
        await db.session.execute(insert(ClickDay), rows)
        await db.session.commit()


async def test_a_link_is_made_with_all_its_fields(ada: Caller) -> None:
    """201, where it is, and what it is: in the rules' normal form."""
    sent = {
        "target": "HTTPS://Example.com:443/é?q=1",
        "slug": "my-link",
        "title": " Ünïcödé 🎉 ",
        "expires_at": "2090-07-01T12:00:00.123456+02:00",
        "max_visits": 10,
        "tags": ["Work", "home", "work"],
    }
    response = await ada.post("/links", json=sent)
    assert response.status_code == 201
    assert response.headers["Location"] == "/api/v1/links/my-link"
    assert {name: response.json[name] for name in sent} == {
        "target": "https://example.com/%C3%A9?q=1",
        "slug": "my-link",
        "title": "Ünïcödé 🎉",
        "expires_at": "2090-07-01T10:00:00.123456Z",
        "max_visits": 10,
        "tags": ["home", "work"],
    }
    assert (response.json["short_url"], response.json["visits"]) == ("http://localhost/my-link", 0)
    assert response.json["expired"] is False
    assert (await ada.get("/links/my-link")).json == response.json


async def test_only_the_target_is_needed(ada: Caller) -> None:
    """The slug is made up; null is as good as nothing; 5.0 is an integer."""
    link = await ada.link(slug=None, title=None, expires_at=None, max_visits=5.0)
    assert len(link["slug"]) == 7
    assert (link["title"], link["expires_at"], link["max_visits"], link["tags"]) == (None, None, 5, [])


async def test_a_taken_slug_is_a_conflict(ada: Caller, caller: Callers) -> None:
    """409, by whomever it is taken, and nothing is changed."""
    await ada.link(slug="mine", title="first")
    for somebody in (ada, await caller("bob")):
        response = await somebody.post("/links", json={"target": "https://example.org/", "slug": "mine"})
        assert response.status_code == 409
        assert [error["pointer"] for error in response.json["errors"]] == ["#/slug"]
    assert (await ada.get("/links/mine")).json["title"] == "first"


async def test_of_two_that_want_a_slug_at_once_one_gets_it(ada: Caller, caller: Callers) -> None:
    """One 201, the rest 409, whoever they are."""
    bob = await caller("bob")
    body = {"target": "https://example.com/", "slug": "popular", "tags": ["new"]}
    answers = await asyncio.gather(*(somebody.post("/links", json=body) for somebody in [ada, bob] * 4))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_a_list_is_read_page_by_page(ada: Caller) -> None:
    """The newest first, each once, by the links of the body and of the header, even if links come meanwhile."""
    slugs = [(await ada.link(slug=f"link-{number}"))["slug"] for number in range(5)]
    seen, path = [], "/links?limit=2"
    while path:
        page = await ada.get(path)
        seen += [link["slug"] for link in page.json["items"]]
        path = page.json["next"] and page.json["next"].removeprefix("/api/v1")
        assert page.headers.get("Link") == (path and f'</api/v1{path}>; rel="next"')
        await ada.link()
    assert seen == slugs[::-1]


async def test_a_search_goes_on_on_the_next_page(ada: Caller) -> None:
    """``q`` and ``tag`` are kept by ``next``, whatever characters they have."""
    for number in range(3):
        await ada.link(title=f"Größe & Maß {number}", tags=["ä&b=c"])
        await ada.link(title="Größe")
        await ada.link(tags=["ä&b=c"])
    page = await ada.get("/links", query_string={"q": "größe maß", "tag": "Ä&b=c", "limit": "2"})
    assert [link["title"] for link in page.json["items"]] == ["Größe & Maß 2", "Größe & Maß 1"]
    page = await ada.get(page.json["next"].removeprefix("/api/v1"))
    assert [link["title"] for link in page.json["items"]] == ["Größe & Maß 0"]
    assert page.json["next"] is None


async def test_a_search_without_a_match_is_an_empty_page(ada: Caller) -> None:
    """What has nothing in it that could be searched for finds everything; ``null`` is a tag like any other."""
    await ada.link(tags=["null"])
    assert (await ada.get("/links?q=nothing")).json == {"items": [], "next": None}
    assert (await ada.get("/links?tag=nothing")).json == {"items": [], "next": None}
    assert (await ada.get("/links?before=1")).json == {"items": [], "next": None}
    for query in ("q=", "q=%27%22%28%29%3A%26%7C%21", "tag=", "tag=null"):
        assert len((await ada.get(f"/links?{query}")).json["items"]) == 1


async def test_links_are_their_owners_alone(ada: Caller, caller: Callers) -> None:
    """Somebody else's are not listed, and are 404 like those that do not exist."""
    await ada.link(slug="mine", tags=["x"])
    bob = await caller("bob")
    assert (await bob.get("/links")).json["items"] == []
    assert (await bob.get("/links?tag=x")).json["items"] == []
    for method, path, options in (
        ("GET", "/links/{}", {}),
        ("PATCH", "/links/{}", {"json": {"title": "bob's"}}),
        ("DELETE", "/links/{}", {}),
        ("GET", "/links/{}/clicks", {}),
    ):
        answers = [await bob(method, path.format(slug), **options) for slug in ("mine", "nobodys")]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json["detail"] == answers[1].json["detail"]
    assert (await ada.get("/links/mine")).json["title"] is None


CHANGES: list[dict[str, Any]] = [
    {},
    {"target": "https://example.org/x"},
    {"title": "new"},
    {"title": None},
    {"expires_at": None},
    {"expires_at": "2090-07-01T12:00:00.123456Z"},
    {"max_visits": 7},
    {"max_visits": None},
    {"tags": ["a", "c"]},
    {"tags": []},
    {"title": "both", "max_visits": 1},
]


async def test_a_change_leaves_the_rest_alone(ada: Caller) -> None:
    """A field that is left out stays, to the microsecond; null takes the value away."""
    fields = {"title": "old", "expires_at": "2090-07-01T12:00:00.123456Z", "max_visits": 3, "tags": ["a", "b"]}
    link = await ada.link(slug="mine", **fields)
    for changes in CHANGES:
        response = await ada.patch("/links/mine", json=changes)
        link |= changes
        assert (response.status_code, response.json) == (200, link)
        assert (await ada.get("/links/mine")).json == link


async def test_a_refused_change_changes_nothing(ada: Caller) -> None:
    """Neither the field that is wrong nor those that are right; a slug cannot be changed at all."""
    link = await ada.link(slug="mine", title="old", tags=["a"])
    wrong = {"title": "new", "tags": ["new"], "target": "ftp://example.com/"}
    assert refused(await ada.patch("/links/mine", json=wrong)) == ["#/target"]
    assert refused(await ada.patch("/links/mine", json={"title": "new", "slug": "other"})) == ["#/slug"]
    assert refused(await ada.patch("/links/mine", json={"target": None, "tags": None})) == ["#/tags", "#/target"]
    assert (await ada.get("/links/mine")).json == link


async def test_an_expired_link_can_be_changed(ada: Caller, app: Quart) -> None:
    """Its expiry, which could not be set any more, may stay."""
    await ada.link(slug="mine")
    await change(app, "mine", expires_at=datetime.now(UTC) - timedelta(days=1))
    response = await ada.patch("/links/mine", json={"title": "over"})
    assert (response.status_code, response.json["expired"]) == (200, True)


async def test_changes_at_the_same_time_all_hold(ada: Caller) -> None:
    """Those that give one link the same tags, too: one after the other, none is a 500."""
    await ada.link(slug="mine")
    bodies = [{"tags": ["same"]}, {"title": "new"}, {"max_visits": 3}, {"tags": ["same"]}]
    answers = await asyncio.gather(*(ada.patch("/links/mine", json=body) for body in bodies * 2))
    assert {answer.status_code for answer in answers} == {200}
    link = (await ada.get("/links/mine")).json
    assert (link["tags"], link["title"], link["max_visits"]) == (["same"], "new", 3)


async def test_a_link_is_deleted_once(ada: Caller) -> None:
    """Of several at the same time one gets 204, the others, and changes that come late, 404."""
    await ada.link(slug="mine", tags=["a"])
    answers = await asyncio.gather(*(ada.delete("/links/mine") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
    assert (await ada.get("/links/mine")).status_code == 404
    assert (await ada.patch("/links/mine", json={})).status_code == 404


async def test_deleting_while_others_change_is_no_error(ada: Caller) -> None:
    """Each change is done or finds nothing."""
    await ada.link(slug="mine")
    changes = [ada.patch("/links/mine", json={"tags": [f"t{number}"]}) for number in range(6)]
    answers = await asyncio.gather(*changes[:3], ada.delete("/links/mine"), *changes[3:])
    assert answers[3].status_code == 204
    assert {answer.status_code for answer in answers} <= {200, 204, 404}


async def test_clicks_by_day(ada: Caller, app: Quart) -> None:
    """From the first to the last day, both included, the days without clicks too."""
    await ada.link(slug="mine")
    await clicked(app, "mine", {date(2024, 2, 27): 9, date(2024, 2, 28): 2, date(2024, 3, 1): 3, date(2024, 3, 2): 9})
    response = await ada.get("/links/mine/clicks?from=2024-02-28&to=2024-03-01")
    assert response.json == {
        "slug": "mine",
        "from": "2024-02-28",
        "to": "2024-03-01",
        "total": 5,
        "days": [
            {"day": "2024-02-28", "clicks": 2},
            {"day": "2024-02-29", "clicks": 0},
            {"day": "2024-03-01", "clicks": 3},
        ],
    }


async def test_the_clicks_of_thirty_days_unless_asked_otherwise(ada: Caller) -> None:
    """Up to today, in UTC, or up to ``to``; the first days that there are, where thirty are too many."""
    await ada.link(slug="mine")
    before = datetime.now(UTC).date()
    answer = (await ada.get("/links/mine/clicks")).json
    assert answer["to"] in (before.isoformat(), datetime.now(UTC).date().isoformat())
    assert len(answer["days"]) == 30
    answer = (await ada.get("/links/mine/clicks?to=2024-03-01")).json
    assert (answer["from"], len(answer["days"])) == ("2024-02-01", 30)
    answer = (await ada.get("/links/mine/clicks?to=0001-01-02")).json
    assert (answer["from"], len(answer["days"])) == ("0001-01-01", 2)


NO_PERIODS = [
    ("from=2024-03-02&to=2024-03-01", ["from"]),
    ("from=2023-03-01&to=2024-03-01", ["from"]),
    ("from=0001-01-01&to=9999-12-31", ["from"]),
    ("from=9999-12-31", ["from"]),
    ("from=2024-02-30&to=2024-13-01", ["from", "to"]),
    ("from=yesterday", ["from"]),
    ("from=2024-01-01T00:00:00Z", ["from"]),
    ("from=", ["from"]),
    ("from=10000-01-01", ["from"]),
    ("from=20240101", ["from"]),
    ("from=2024-03-01&from=2024-03-02", ["from"]),
]


async def test_a_period_that_is_none_is_refused(ada: Caller) -> None:
    """Days that do not exist, more than 366 of them, or backwards."""
    await ada.link(slug="mine")
    for query, wrong in NO_PERIODS:
        assert refused(await ada.get(f"/links/mine/clicks?{query}")) == wrong, query
    assert len((await ada.get("/links/mine/clicks?from=9998-12-31&to=9999-12-31")).json["days"]) == 366


async def test_the_short_address_follows_every_change(ada: Caller) -> None:
    """At once, whatever was remembered of it: made, changed, expired, deleted."""

    async def follow() -> tuple[int, str | None]:
        response = await ada.client.get("/mine")
        return response.status_code, response.headers.get("Location")

    assert (await follow())[0] == 404
    await ada.link(slug="mine")
    assert await follow() == (302, "https://example.com/")
    await ada.patch("/links/mine", json={"target": "https://example.org/"})
    assert await follow() == (302, "https://example.org/")
    await ada.patch("/links/mine", json={"max_visits": 1})
    assert (await follow())[0] == 410
    await ada.patch("/links/mine", json={"max_visits": None})
    assert await follow() == (302, "https://example.org/")
    await ada.delete("/links/mine")
    assert (await follow())[0] == 404
