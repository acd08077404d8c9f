"""The API's links."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from . import World, case, new_name

_FIELDS = {
    *("slug", "short_url", "target", "title", "expires_at", "max_visits"),
    *("visits", "expired", "tags", "created_at"),
}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


@case("a link is made, read, changed, deleted", quick=True)
async def whole_life(world: World) -> None:
    program, slug = await world.program(), new_name()
    given = {"target": "https://example.com/minutes", "slug": slug, "title": "Minutes", "tags": ["b", "A", "b"]}
    made = await program.api("POST", "/links", {**given, "expires_at": "2031-01-31T18:00:00+02:00", "max_visits": 5})
    assert made.status == 201, made.text
    assert made.leads_to == f"/api/v1/links/{slug}"
    said = made.json
    assert said.keys() >= _FIELDS
    assert said["short_url"] == f"{world.url}/{slug}"
    assert {name: said[name] for name in ("target", "slug", "title", "tags")} == {**given, "tags": ["a", "b"]}
    assert (said["max_visits"], said["visits"], said["expired"]) == (5, 0, False)
    assert said["expires_at"].removesuffix("Z").removesuffix("+00:00") == "2031-01-31T16:00:00"
    assert _MOMENT.fullmatch(said["expires_at"])
    assert _MOMENT.fullmatch(said["created_at"])
    assert (await program.api("GET", made.leads_to)).json == said
    changed = await program.api("PATCH", made.leads_to, {"title": "Other", "expires_at": None, "tags": []})
    assert changed.status == 200
    assert changed.json == {**said, "title": "Other", "expires_at": None, "tags": []}
    changed = await program.api("PATCH", made.leads_to, {"title": None, "max_visits": None})
    assert (changed.json["title"], changed.json["max_visits"]) == (None, None)
    assert (await program.api("PATCH", made.leads_to, {})).json == changed.json
    deleted = await program.api("DELETE", made.leads_to)
    assert (deleted.status, deleted.body) == (204, b"")
    for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None)):
        (await program.api(method, made.leads_to, body)).problem(404)
    assert (await program.get(f"/{slug}")).status == 404


@case("only the target is needed; it has one normal form")
async def little(world: World) -> None:
    program = await world.program()
    made = await program.api("POST", "/links", {"target": "HTTPS://Example.COM:443"})
    assert made.status == 201, made.text
    said = made.json
    assert said["target"] == "https://example.com/"
    assert re.fullmatch(r"[A-Za-z0-9_-]{3,64}", said["slug"])
    assert [said[name] for name in ("title", "expires_at", "max_visits", "tags", "visits", "expired")] == [
        *(None, None, None, [], 0, False)
    ]


@case("what is refused, with a pointer to each field")
async def refused(world: World) -> None:
    program = await world.program()
    wrong: list[tuple[dict[str, Any], list[str]]] = [
        *(
            ({"target": value}, ["#/target"])
            for value in ("", "ftp://example.com/", "javascript:alert(1)", 7, None, [])
        ),
        *(({"target": value}, ["#/target"]) for value in ("https://a:b@example.com/", f"{world.url}/x", "x" * 3000)),
        *(({"slug": value}, ["#/slug"]) for value in ("ab", "a/b/c", "api", "Login", 7)),
        *(({"title": value}, ["#/title"]) for value in ("x" * 201, "a\0b", "a\nb", 7)),
        *(
            ({"expires_at": value}, ["#/expires_at"])
            for value in ("2001-01-31T18:00:00Z", "2031-01-31T18:00:00", "x", 7)
        ),
        *(({"max_visits": value}, ["#/max_visits"]) for value in (0, -1, "5", True, 1.5, 10**40)),
        *(({"tags": value}, ["#/tags"]) for value in ("a", [f"t{number}" for number in range(11)], 7)),
        ({"slag": "abc"}, ["#/slag"]),
    ]
    for fields, places in wrong:
        answer = await program.api("POST", "/links", {"target": "https://example.com/", **fields})
        answer.problem(422, *places)
    assert (await program.api("GET", "/links")).json["items"] == []


@case("what is refused: several fields, none, no object")
async def refused_bodies(world: World) -> None:
    program, slug = await world.program(), new_name()
    both = await program.api("POST", "/links", {"target": "ftp://example.com/", "slug": "ab"})
    both.problem(422, "#/target", "#/slug")
    (await program.api("POST", "/links", {"title": "x"})).problem(422, "#/target")
    for body in ([], [{"target": "https://example.com/"}], "text", 7):
        (await program.api("POST", "/links", body)).problem(422, "#")
    (await program.api("POST", "/links", {"target": "https://example.com/", "tags": ["a", 7]})).problem(422, "#/tags/1")
    await program.link(slug)
    (await program.api("PATCH", f"/links/{slug}", {"target": None})).problem(422, "#/target")
    (await program.api("PATCH", f"/links/{slug}", {"slug": "other"})).problem(422, "#/slug")
    (await program.api("PATCH", f"/links/{slug}", {"title": "x" * 201})).problem(422, "#/title")


@case("a slug that is taken: 409, and one of ten gets it", quick=True)
async def taken(world: World) -> None:
    program, other, slug = await world.program(), await world.program(), new_name()
    body = {"target": "https://example.com/", "slug": slug}
    answers = await asyncio.gather(*(who.api("POST", "/links", body) for who in (program, other) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [201, *[409] * 9]
    for answer in answers:
        if answer.status == 409:
            answer.problem(409, "#/slug")


@case("another's link is 404")
async def anothers(world: World) -> None:
    program, eve, slug = await world.program(), await world.program(), new_name()
    made = await program.link(slug)
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"target": "https://evil.example/"}),
        ("DELETE", "", None),
        ("GET", "/clicks", None),
    ]
    for method, path, body in asked:
        (await eve.api(method, f"/links/{slug}{path}", body)).problem(404)
    (await eve.api("GET", f"/links/{new_name()}")).problem(404)
    assert (await program.api("GET", f"/links/{slug}")).json == made


@case("the list has pages, which lead on", quick=True)
async def pages(world: World) -> None:
    program, other = await world.program(), await world.program()
    slugs = [(await program.link(new_name()))["slug"] for _ in range(5)]
    await other.link(new_name())
    seen: list[str] = []
    path: str | None = "/links?limit=2"
    sizes = []
    while path:
        answer = await program.api("GET", path)
        assert answer.status == 200
        said = answer.json
        sizes.append(len(said["items"]))
        seen += [item["slug"] for item in said["items"]]
        path = said["next"]
        if path:
            assert answer.headers["Link"] == f'<{path}>; rel="next"'
            path = path.removeprefix(world.url)
        else:
            assert "Link" not in answer.headers
        if len(sizes) == 1:
            await program.link(new_name())  # moves nothing of what follows
    assert seen == slugs[::-1]
    assert sizes == [2, 2, 1]
    for query in ("limit=0", "limit=101", "limit=x", "limit="):
        (await program.api("GET", f"/links?{query}")).problem(422, "limit")


@case("the list is searched by word and by tag")
async def searched(world: World) -> None:
    program = await world.program()
    first, second = new_name(), new_name()
    await program.link(first, title="Minutes of May", tags=["work"])
    await program.link(second, "https://example.org/elsewhere", tags=["play", "work"])
    expected = {
        "q=minutes": [first],
        "q=MAY": [first],
        "q=elsewhere": [second],
        f"q={first}": [first],
        "tag=work": [second, first],
        "tag=play": [second],
        "tag=play&q=minutes": [],
        "limit=100": [second, first],
    }
    for query, slugs in expected.items():
        answer = await program.api("GET", f"/links?{query}")
        assert [item["slug"] for item in answer.json["items"]] == slugs, query


@case("new links are limited, on pages and API together")
async def limit(world: World) -> None:
    """20 per minute."""
    user = await world.user()
    program = await world.program(user)
    for _ in range(10):
        await program.link(new_name())
    for _ in range(10):
        answer = await user.send("/links/new", "/links/new", target="https://example.com/")
        assert answer.status in (302, 303), answer.status
    answer = await program.api("POST", "/links", {"target": "https://example.com/"})
    answer.problem(429)
    assert 0 <= int(answer.headers["Retry-After"]) <= 60
    assert (await user.send("/links/new", "/links/new", target="https://example.com/")).status == 429
    assert (await program.api("GET", "/me")).status == 200
