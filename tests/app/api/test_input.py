"""What is no good is refused with a status, and a sentence for every field: never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.links import rules, targets
from app.web.forms import Refused
from decant import Quart

from ..conftest import Make
from .conftest import Caller, Description, refused

JSON = {"Content-Type": "application/json"}
GOOD = {"target": "https://example.com/"}


NO_JSON = [
    (b"", "not JSON"),
    (b"[", "not JSON"),
    (b'{"target": }', "line 1, column 12"),
    (b'{"target": "\xff"}', "byte 12"),
    ('{"target": "x"}'.encode("utf-16"), "not UTF-8"),
    (b'\xef\xbb\xbf{"target": "x"}', "BOM"),
    (b'{"target": "\x00"}', "control character"),
    (b'{"max_visits": NaN}', "NaN"),
    (b'{"max_visits": -Infinity}', "Infinity"),
    (b'{"max_visits": ' + b"9" * 5000 + b"}", "acceptable"),
    (b'{"target": "a", "target": "b"}', "twice"),
    (b'{"tags": [{"a": 1, "a": 2}]}', "twice"),
    (b"[" * 100_000, "deep"),
    (b'{"a":' * 100_000, "deep"),
    (b"[" * 100_000 + b"]" * 100_000, "deep"),
]


async def test_what_is_no_json_is_a_bad_request(ada: Caller) -> None:
    """400, and where or why."""
    for body, why in NO_JSON:
        response = await ada.post("/links", data=body, headers=JSON)
        assert response.status_code == 400, body[:40]
        assert why in response.json["detail"]


async def test_json_that_is_no_object_is_refused(ada: Caller) -> None:
    """422 for the body as a whole."""
    for body in ("null", "true", "1", '"text"', "[]", '[{"target": "https://example.com/"}]'):
        assert refused(await ada.post("/links", data=body, headers=JSON)) == ["#"], body


async def test_a_body_that_is_not_called_json_is_not_read(ada: Caller) -> None:
    """415, even if it is JSON: a form of another site could send that."""
    for given in (None, "text/plain", "application/x-www-form-urlencoded", "text/json", "nonsense"):
        headers = {"Content-Type": given} if given else {}
        response = await ada.post("/links", data=json.dumps(GOOD).encode(), headers=headers)
        assert response.status_code == 415, given
    assert (await ada.post("/links", json=GOOD, content_type="application/json; charset=utf-8")).status_code == 201


async def test_a_body_that_is_too_big_is_not_read(make: Make, ada: Caller) -> None:
    """413 from MAX_CONTENT_LENGTH on."""
    ada.client = (await make(MAX_CONTENT_LENGTH=1024)).test_client()
    response = await ada.post("/links", json={**GOOD, "title": "x" * 2000})
    assert response.status_code == 413
    assert (await ada.post("/links", json=GOOD)).status_code == 201


WRONG_FIELDS: list[tuple[str, Any, str]] = [
    ("target", None, "#/target"),
    ("target", 1, "#/target"),
    ("target", "", "#/target"),
    ("target", "javascript:alert(1)", "#/target"),
    ("target", "https://user:secret@example.com/", "#/target"),
    ("target", "http://localhost/x", "#/target"),
    ("target", "https://example.com/" + "x" * 2048, "#/target"),
    ("target", "https://example.com/\x00", "#/target"),
    ("target", "https://\ud800.example/", "#/target"),
    ("slug", "", "#/slug"),
    ("slug", "ab", "#/slug"),
    ("slug", "abc\n", "#/slug"),
    ("slug", "a" * 65, "#/slug"),
    ("slug", "über", "#/slug"),
    ("slug", "a\x00c", "#/slug"),
    ("slug", "../x", "#/slug"),
    ("slug", "api", "#/slug"),
    ("slug", 123, "#/slug"),
    ("title", 1, "#/title"),
    ("title", "x" * 201, "#/title"),
    ("title", "a\x00b", "#/title"),
    ("title", "a\nb", "#/title"),
    ("title", "\ud800", "#/title"),
    ("expires_at", "soon", "#/expires_at"),
    ("expires_at", "2090-01-01", "#/expires_at"),
    ("expires_at", "2090-01-01T00:00:00", "#/expires_at"),
    ("expires_at", 3_800_000_000, "#/expires_at"),
    ("expires_at", "2000-01-01T00:00:00Z", "#/expires_at"),
    ("expires_at", "9999-12-31T23:59:59Z", "#/expires_at"),
    ("expires_at", "9999-12-31T23:59:59-12:00", "#/expires_at"),
    ("expires_at", "0001-01-01T00:00:00+12:00", "#/expires_at"),
    ("expires_at", "2090-02-30T00:00:00Z", "#/expires_at"),
    ("max_visits", 0, "#/max_visits"),
    ("max_visits", -1, "#/max_visits"),
    ("max_visits", 1.5, "#/max_visits"),
    ("max_visits", "1", "#/max_visits"),
    ("max_visits", True, "#/max_visits"),
    ("max_visits", 2**63, "#/max_visits"),
    ("max_visits", 10**400, "#/max_visits"),
    ("max_visits", 1e300, "#/max_visits"),
    ("tags", None, "#/tags"),
    ("tags", "a,b", "#/tags"),
    ("tags", {"a": 1}, "#/tags"),
    ("tags", ["a", 1], "#/tags/1"),
    ("tags", ["a", "b,c"], "#/tags/1"),
    ("tags", ["x" * 33], "#/tags/0"),
    ("tags", ["\x00"], "#/tags"),
    ("tags", [["a"]], "#/tags/0"),
    ("tags", [str(number) for number in range(11)], "#/tags"),
    ("owner_id", 1, "#/owner_id"),
    ("a/b~c d\ud800", 1, "#/a~1b~0c%20d%3F"),
]


async def test_a_wrong_field_is_pointed_at(ada: Caller) -> None:
    """422 with a pointer to it, and nothing is made."""
    for field, value, wrong in WRONG_FIELDS:
        response = await ada.post("/links", json={**GOOD, field: value})
        assert refused(response) == [wrong], ascii(value)[:80]
        assert response.json["errors"][0]["detail"]
    assert (await ada.get("/links")).json["items"] == []


async def test_every_wrong_field_is_told_at_once(ada: Caller) -> None:
    """What has the wrong type, what is missing and what does not exist, in one answer."""
    body = {"slug": 1, "title": [], "tags": [1], "max_visits": "x", "nonsense": 1}
    assert refused(await ada.post("/links", json=body)) == [
        "#/max_visits",
        "#/nonsense",
        "#/slug",
        "#/tags/0",
        "#/target",
        "#/title",
    ]
    body = {"target": "ftp://x/", "slug": "api", "title": "a\nb", "expires_at": "2000-01-01T00:00:00Z", "tags": ["\t"]}
    assert sorted(refused(await ada.post("/links", json=body))) == [
        "#/expires_at",
        "#/slug",
        "#/target",
        "#/title",
    ]


async def test_the_answer_does_not_grow_with_the_nonsense(ada: Caller) -> None:
    """A thousand wrong fields of long names: twenty are told."""
    body = {f"{number}" + "x" * 500: 1 for number in range(1000)}
    response = await ada.post("/links", json=body)
    assert len(refused(response)) == 20
    assert len(response.data) < 10_000
    response = await ada.get("/links?" + "&".join(f"x{number}=1" for number in range(1000)))
    assert len(refused(response)) == 20


async def test_the_rules_are_those_of_the_pages(ada: Caller) -> None:
    """What the pages' rules refuse, the API refuses in their words."""
    with pytest.raises(Refused) as target:
        targets.target("https://user:secret@example.com/", own_hosts=set())
    with pytest.raises(Refused) as slug:
        rules.slug("openapi", reserved={"openapi"})
    response = await ada.post("/links", json={"target": "https://user:secret@example.com/", "slug": "openapi"})
    assert refused(response) == ["#/target", "#/slug"]
    assert [error["detail"] for error in response.json["errors"]] == [str(target.value), str(slug.value)]


WRONG_PARAMETERS = [
    ("nonsense=1", ["nonsense"]),
    ("Q=x", ["Q"]),
    ("limit=0", ["limit"]),
    ("limit=101", ["limit"]),
    ("limit=-1", ["limit"]),
    ("limit=x", ["limit"]),
    ("limit=", ["limit"]),
    ("limit=1.0", ["limit"]),
    ("limit=%D9%A1", ["limit"]),
    ("limit=1&limit=2", ["limit"]),
    ("limit=" + "9" * 5000, ["limit"]),
    ("before=0", ["before"]),
    ("before=null", ["before"]),
    ("before=9223372036854775808", ["before"]),
    ("before=99999999999999999999999999", ["before"]),
    ("q=%00", ["q"]),
    ("q=" + "x" * 101, ["q"]),
    ("tag=%00", ["tag"]),
    ("tag=" + "x" * 33, ["tag"]),
    ("before=x&limit=x&tag=%00", ["before", "limit"]),
]


async def test_a_wrong_parameter_is_named(ada: Caller) -> None:
    """422 by its name; one that does not exist is wrong, too."""
    for query, wrong in WRONG_PARAMETERS:
        assert refused(await ada.get(f"/links?{query}")) == wrong, query[:80]


async def test_limits_themselves_are_allowed(ada: Caller) -> None:
    """The biggest id and page, the longest title."""
    await ada.link(title="x" * 200, max_visits=1_000_000_000, tags=["x" * 32])
    assert len((await ada.get("/links?limit=100&before=9223372036854775807")).json["items"]) == 1


async def test_parameters_where_there_are_none_are_refused(ada: Caller) -> None:
    """Nothing is done for a request that was meant otherwise."""
    await ada.link(slug="mine")
    for method, path in (("GET", "/me"), ("POST", "/tokens"), ("DELETE", "/links/mine")):
        body = {"json": {"name": "x"}} if method == "POST" else {}
        assert refused(await ada(method, f"{path}?force=1", **body)) == ["force"], path
    assert (await ada.get("/links/mine")).status_code == 200


METHODS = [
    ("/me", {"GET"}),
    ("/links", {"GET", "POST"}),
    ("/links/mine", {"GET", "PATCH", "DELETE"}),
    ("/links/mine/clicks", {"GET"}),
    ("/tokens", {"GET", "POST"}),
    ("/tokens/1", {"DELETE"}),
]


async def test_methods(ada: Caller, app: Quart, description: Description) -> None:
    """Others are 405; that and OPTIONS say which there are; HEAD is GET without its body."""
    await ada.link(slug="mine")
    nobody = Caller(app.test_client(), description)  # a browser asks for OPTIONS without a token
    for path, methods in METHODS:
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed:
            response = await ada(method, path)
            assert (response.status_code, response.content_type) == (405, "application/problem+json"), path
            assert set(response.headers["Allow"].split(", ")) == allowed
        options = await nobody("OPTIONS", path)
        assert (options.status_code, set(options.headers["Allow"].split(", "))) == (200, allowed)


async def test_head_is_get_without_its_body(ada: Caller) -> None:
    """Status and headers are the same."""
    for path, status in (("/me", 200), ("/links", 200), ("/links/nobodys", 404)):
        head, get = await ada("HEAD", path), await ada.get(path)
        assert head.status_code == get.status_code == status
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert head.data == b""


async def test_what_does_not_exist_is_a_problem(app: Quart) -> None:
    """404 as problem+json, with or without a token."""
    for path in ("", "/", "/nothing", "/links/", "/links/a.b", "/links/%00", "/links/%FF", "/tokens/x"):
        response = await app.test_client().get(f"/api/v1{path}")
        assert (response.status_code, response.content_type) == (404, "application/problem+json"), path
