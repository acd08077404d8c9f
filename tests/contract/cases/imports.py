"""Links from CSV files, and as one."""

from __future__ import annotations

import csv
import io
from typing import Any

from ..visitor import Answer, Visitor
from . import World, case, new_name

_CSV = {"Content-Type": "text/csv"}
_COLUMNS = {"target", "slug", "title", "tags", "expires_at", "max_visits"}


def _ended(said: Any) -> bool:
    return said["state"] in ("done", "failed", "cancelled")


async def _imported(program: Visitor, text: str | bytes) -> Any:
    answer = await program.api("POST", "/imports", data=text, headers=_CSV)
    assert answer.status == 202, answer.text
    return await program.until(answer.leads_to, _ended)


def _rows(answer: Answer) -> list[dict[str, str]]:
    assert answer.status == 200
    assert answer.type == "text/csv"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    return list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"), newline="")))


@case("a file is imported on the page", quick=True)
async def on_the_page(world: World) -> None:
    user = await world.user()
    program = await world.program(user)
    first, second = new_name(), new_name()
    text = f"title;slug;target;tags\r\nErste;{first};https://example.com/1;a, b\r\n;{second};https://example.com/2;\r\n;;ftp://x/;\r\n"
    answer = await user.send_file("/imports/new", "/imports/new", text.encode())
    assert answer.status in (302, 303), answer.body[:500]
    path = answer.leads_to
    assert path.startswith("/imports/")
    said = await program.until(f"/api/v1{path}", _ended)
    assert (said["state"], said["made"], said["refused"], said["total"]) == ("done", 2, 1, 3)
    page = await user.page(path)
    assert {"1", "2"} <= set(page.text.split())
    assert (await user.page("/imports")).leads_to(path)
    assert (await user.get(f"/{first}")).leads_to == "https://example.com/1"
    link = (await program.api("GET", f"/links/{first}")).json
    assert (link["title"], link["tags"]) == ("Erste", ["a", "b"])
    assert (await user.get(f"/{second}")).leads_to == "https://example.com/2"


@case("a file is imported with the API, to the end")
async def with_the_api(world: World) -> None:
    program, slug = await world.program(), new_name()
    good = "".join(f"https://example.com/{number},{slug}-{number}\n" for number in range(600))
    text = f"\ufefftarget,slug\n{good}ftp://example.com/,\nhttps://example.com/,{slug}-7\n"
    answer = await program.api("POST", "/imports", data=text.encode(), headers=_CSV)
    assert answer.status == 202, answer.text
    assert answer.json.keys() >= {
        *("id", "state", "problem", "total", "made", "refused", "first_refused", "created_at", "finished_at")
    }
    assert answer.leads_to == f"/api/v1/imports/{answer.json['id']}"
    assert answer.json["state"] in ("waiting", "running", "done")
    said = await program.until(answer.leads_to, _ended, within_s=60)
    assert (said["state"], said["total"], said["made"], said["refused"]) == ("done", 602, 600, 2)
    assert said["problem"] is None
    assert said["finished_at"]
    assert [row["line"] for row in said["first_refused"]] == [602, 603]
    assert all(row["reason"] for row in said["first_refused"])
    assert (await program.get(f"/{slug}-599")).leads_to == "https://example.com/599"


@case("refused rows can be had, corrected, and imported")
async def refused_rows(world: World) -> None:
    user = await world.user()
    program = await world.program(user)
    slug = new_name()
    text = f'target,slug,title\nhttps://example.com/,{slug},good\nftp://example.com/,{slug}-2,"a ""b"", c"\n,,=1+1\n'
    said = await _imported(program, text)
    assert (said["made"], said["refused"]) == (1, 2)
    rows = _rows(await user.get(f"/imports/{said['id']}/refused.csv"))
    assert [row["line"] for row in rows] == ["3", "4"]
    assert all(row["reason"] for row in rows)
    assert [(row["target"], row["slug"], row["title"]) for row in rows] == [
        ("ftp://example.com/", f"{slug}-2", 'a "b", c'),
        ("", "", "'=1+1"),
    ]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows({**row, "target": "https://example.com/corrected"} for row in rows)
    said = await _imported(program, out.getvalue())
    assert (said["state"], said["made"], said["refused"]) == ("done", 2, 0)
    assert (await program.api("GET", f"/links/{slug}-2")).json["title"] == 'a "b", c'
    titles = [item["title"] for item in (await program.api("GET", "/links")).json["items"]]
    assert "=1+1" in titles


@case("what is no file of links makes nothing")
async def no_file(world: World) -> None:
    user = await world.user()
    program = await world.program(user)
    wrong = [b"", b"slug,title\nabc,x\n", b"target\nhttps://example.com/\n\xff\xfe\n", b"target\n", b"PK\x03\x04\0\0"]
    for text in wrong[:4]:  # 5 per hour
        answer = await program.api("POST", "/imports", data=text, headers=_CSV)
        if answer.status == 202:
            said = await program.until(answer.leads_to, _ended)
            assert said["state"] == "failed", text
            assert said["problem"]
        else:
            answer.problem(422, "#")
    answer = await user.send_file("/imports/new", "/imports/new", wrong[4])
    if answer.status == 422:
        answer.refuses()
    else:
        said = await program.until(f"/api/v1{answer.leads_to}", _ended)
        assert said["state"] == "failed"
    (await program.api("POST", "/imports", {"target": "https://example.com/"})).problem(415)
    assert (await program.api("GET", "/links")).json["items"] == []


@case("imports are limited")
async def limit(world: World) -> None:
    """5 per hour."""
    program = await world.program()
    for _ in range(5):
        await _imported(program, "target\nhttps://example.com/\n")
    answer = await program.api("POST", "/imports", data="target\nhttps://example.com/\n", headers=_CSV)
    answer.problem(429)
    assert 0 <= int(answer.headers["Retry-After"]) <= 3600


@case("another's import is 404")
async def anothers(world: World) -> None:
    program, eve = await world.program(), await world.user()
    said = await _imported(program, "target\nhttps://example.com/\n")
    for identity in (said["id"], "9" * 30, "0", "x"):
        for path in (f"/imports/{identity}", f"/imports/{identity}/refused.csv", f"/api/v1/imports/{identity}"):
            assert (await eve.get(path)).status == 404, path


@case("links are exported, and can be imported again")
async def exported(world: World) -> None:
    user, other = await world.user(), await world.program()
    program = await world.program(user)
    slugs = [new_name() for _ in range(3)]
    await program.link(slugs[0], title="=1+1", tags=["a", "b"], max_visits=5, expires_at="2031-01-31T18:00:00Z")
    await program.link(slugs[1], title='Zitat: "ä", b')
    await program.link(slugs[2])
    await other.link(new_name())
    answer = await user.get("/links.csv")
    rows = _rows(answer)
    assert rows[0].keys() >= _COLUMNS
    assert [row["slug"] for row in rows] == slugs
    assert rows[0]["title"] == "'=1+1"
    assert rows[1]["title"] == 'Zitat: "ä", b'
    assert {tag.strip() for tag in rows[0]["tags"].split(",")} == {"a", "b"}
    before = [(await program.api("GET", f"/links/{slug}")).json for slug in slugs]
    for slug in slugs:
        await program.api("DELETE", f"/links/{slug}")
    said = await _imported(program, answer.body)
    assert (said["made"], said["refused"]) == (3, 0)
    for made in before:
        found = (await program.api("GET", f"/links/{made['slug']}")).json
        same = ("target", "title", "tags", "expires_at", "max_visits")
        assert [found[name] for name in same] == [made[name] for name in same]
