"""The pages of links."""

from __future__ import annotations

import re
from typing import Any

from ..visitor import Visitor
from . import World, case, new_name

TARGET = "https://example.com/a/long/path?with=parameters"


async def _made(user: Visitor, slug: str, **fields: str) -> None:
    given = {"target": TARGET, "slug": slug, **fields}
    (await user.send("/links/new", "/links/new", **given)).goes_to(f"/links/{slug}")


@case("a link is made, with all of its fields", quick=True)
async def make(world: World) -> None:
    user, slug = await world.user(), new_name()
    fields = {"title": "Minutes of May", "tags": "Work, minutes", "max_visits": "5"}
    await _made(user, slug, **fields, expires_at="2031-01-31T18:00", timezone="Europe/Berlin")
    page = await user.page(f"/links/{slug}")
    for text in (f"{world.url}/{slug}", TARGET, "Minutes of May", "work", "minutes"):
        assert text in page.text, text
    assert any(page.notices)
    said = (await user.api("GET", f"/links/{slug}")).json
    assert said["tags"] == ["minutes", "work"]
    assert said["max_visits"] == 5
    assert said["expires_at"] in ("2031-01-31T17:00:00Z", "2031-01-31T17:00:00+00:00")
    assert (await user.get(f"/{slug}")).leads_to == TARGET


@case("a link without a name gets one")
async def made_up(world: World) -> None:
    user = await world.user()
    answer = await user.send("/links/new", "/links/new", target=TARGET)
    slug = answer.leads_to.removeprefix("/links/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{3,64}", slug), answer.leads_to
    assert (await user.get(f"/{slug}")).leads_to == TARGET


@case("a link: what is refused, and kept in the form")
async def refused(world: World) -> None:
    user, taken = await world.user(), new_name()
    await _made(user, taken)
    wrong: list[dict[str, Any]] = [
        *({"target": text} for text in ("", "ftp://example.com/", "javascript:alert(1)", "https://a:b@example.com/")),
        {"target": f"{world.url}/x"},
        {"target": "https:///nothing"},
        *({"slug": text} for text in ("ab", "a/b/c", "with blank", "x" * 65, "login", "API", "links", "static", taken)),
        {"title": "x" * 201},
        {"tags": ",".join(f"t{number}" for number in range(11))},
        {"tags": "x" * 33},
        *({"expires_at": text} for text in ("2001-01-31T18:00", "tomorrow", "2031-02-30T18:00")),
        {"expires_at": "2031-01-31T18:00", "timezone": "Nowhere/City"},
        *({"max_visits": text} for text in ("0", "-1", "x", "1.5", "9" * 40)),
    ]
    shown = await user.page("/links/new")
    for fields in wrong:
        given = {"target": TARGET, **fields}
        page = (await user.send(shown, "/links/new", **given)).refuses(*(text for text in given.values() if text))
        assert page.form("/links/new").fields["csrf_token"]
    assert [item["slug"] for item in (await user.api("GET", "/links")).json["items"]] == [taken]


@case("the list has one's own links, the newest first")
async def listed(world: World) -> None:
    user, other = await world.user(), await world.user()
    slugs = [new_name() for _ in range(3)]
    for number, slug in enumerate(slugs):
        await _made(user, slug, target=f"https://example.com/number-{number}")
    await _made(other, hers := new_name())
    page = await user.page("/links")
    places = [[href for href, _ in page.links].index(f"/links/{slug}") for slug in slugs]
    assert places == sorted(places, reverse=True)
    assert all(f"https://example.com/number-{number}" in page.text for number in range(3))
    assert hers not in page.text


@case("the list is searched by word and by tag")
async def searched(world: World) -> None:
    user = await world.user()
    first, second = new_name(), new_name()
    await _made(user, first, title="Minutes of May", tags="work")
    await _made(user, second, target="https://example.org/elsewhere", tags="play")
    expected = {
        "q=minutes": [first],
        "q=MAY": [first],
        "q=elsewhere": [second],
        f"q={second}": [second],
        "tag=work": [first],
        "q=elsewhere&tag=work": [],
        "q=nothing+of+the+sort": [],
        "q=": [second, first],
    }
    for query, slugs in expected.items():
        page = await user.page(f"/links?{query}")
        found = {slug for slug in (first, second) if page.leads_to(f"/links/{slug}")}
        assert found == set(slugs), query


@case("the list has pages")
async def pages(world: World) -> None:
    user = await world.user()
    program = await world.program(user)
    rows = "".join(f"https://example.com/,{user.name}-{number}\r\n" for number in range(60))
    answer = await program.api("POST", "/imports", data=f"target,slug\r\n{rows}", headers={"Content-Type": "text/csv"})
    await program.until(answer.leads_to, lambda said: said["state"] == "done")
    seen: list[str] = []
    path: str | None = "/links"
    while path:
        page = await user.page(path)
        found = [href.removeprefix("/links/") for href, _ in page.links]
        seen += dict.fromkeys(slug for slug in found if slug.startswith(f"{user.name}-"))
        path = page.next_page()
        assert len(seen) <= 60, "a link is on two pages"
    assert seen == [f"{user.name}-{number}" for number in reversed(range(60))]


@case("a link is edited; the redirect follows at once", quick=True)
async def edit(world: World) -> None:
    user, slug = await world.user(), new_name()
    await _made(user, slug, title="Before", tags="one, two", expires_at="2031-01-31T18:00", max_visits="7")
    assert (await user.get(f"/{slug}")).leads_to == TARGET
    path = f"/links/{slug}/edit"
    shown = await user.page(path)
    fields = shown.form(path).fields
    assert "slug" not in fields
    assert fields["target"] == TARGET
    assert fields["title"] == "Before"
    assert fields["max_visits"] == "7"
    assert fields["expires_at"].startswith("2031-01-31T18:00")
    assert {tag.strip() for tag in fields["tags"].split(",")} == {"one", "two"}
    (await user.send(shown, path, target="no address")).refuses("no address", "Before")
    changed = {"target": "https://example.org/after", "title": "After", "tags": "three", "expires_at": ""}
    (await user.send(shown, path, **changed)).goes_to(f"/links/{slug}")
    assert (await user.get(f"/{slug}")).leads_to == "https://example.org/after"
    page = await user.page(f"/links/{slug}")
    assert any(page.notices)
    assert "After" in page.text
    assert "Before" not in page.text
    said = (await user.api("GET", f"/links/{slug}")).json
    assert (said["expires_at"], said["max_visits"], said["tags"]) == (None, 7, ["three"])


@case("a link is deleted", quick=True)
async def delete(world: World) -> None:
    user, slug = await world.user(), new_name()
    await _made(user, slug)
    assert (await user.get(f"/{slug}")).status == 302
    (await user.send(f"/links/{slug}/delete", f"/links/{slug}/delete")).goes_to("/links")
    assert any((await user.page("/links")).notices)
    for path in (f"/links/{slug}", f"/links/{slug}/edit", f"/{slug}", f"/api/v1/links/{slug}"):
        assert (await user.get(path)).status == 404, path
    await _made(user, slug)
    assert (await user.get(f"/{slug}")).status == 302


@case("another's link is 404", quick=True)
async def anothers(world: World) -> None:
    user, eve, slug = await world.user(), await world.user(), new_name()
    await _made(user, slug)
    for path in ("", "/edit", "/delete", "/qr.svg", "/qr.png"):
        assert (await eve.get(f"/links/{slug}{path}")).status == 404, path
    token = {"csrf_token": await eve.csrf_token()}
    for path, fields in (("/edit", {"target": "https://evil.example/"}), ("/delete", {"x": "y"})):
        data = {**token, **fields}
        answer = await eve.ask("POST", f"/links/{slug}{path}", data=data, headers={"Origin": world.url})
        assert answer.status == 404, path
    assert (await user.get(f"/{slug}")).leads_to == TARGET


@case("what people type is escaped", quick=True)
async def escaping(world: World) -> None:
    user, slug = await world.user(), new_name()
    evil = "<script>alert(1)</script><img src=x>\"'&"
    scripts = (await user.page("/links")).scripts
    shown = await user.page("/links/new")
    await _made(user, slug, title=evil, tags=evil[:25], target="https://example.com/?<script>x</script>'\"")
    for path in (f"/links/{slug}", f"/links/{slug}/edit", f"/links/{slug}/delete", "/links"):
        answer = await user.get(path)
        assert "<script>alert" not in answer.text
        assert "<img src=x>" not in answer.text
    page = await user.page("/links")
    assert evil in page.text
    assert page.scripts == scripts
    answer = await user.get("/links?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert answer.page.scripts == scripts
    page = (await user.send(shown, "/links/new", target=evil, slug=evil, title=evil)).refuses(evil)
    assert page.scripts == shown.scripts
    (await world.visitor().log_in(evil, "x")).refuses(evil)
