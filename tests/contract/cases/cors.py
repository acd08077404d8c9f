"""Other sites' scripts: only those of CORS_ORIGINS, only with a token."""

from __future__ import annotations

from . import World, case

_ORIGIN = "https://pages.example"
_OTHER = "https://evil.example"
_ALLOW = "Access-Control-Allow-"


def _names(text: str) -> set[str]:
    return {name.strip().lower() for name in text.split(",")}


@case("a browser asks first", quick=True)
async def preflight(world: World) -> None:
    visitor = world.visitor()
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    for path, origin in (("links", _ORIGIN), ("links", "http://localhost:5173"), ("imports", _ORIGIN)):
        answer = await visitor.ask("OPTIONS", f"/api/v1/{path}", headers={"Origin": origin, **asked})
        assert answer.status in (200, 204)
        assert answer.headers[f"{_ALLOW}Origin"] == origin
        assert "post" in _names(answer.headers[f"{_ALLOW}Methods"])
        assert {"authorization", "content-type"} <= _names(answer.headers[f"{_ALLOW}Headers"])
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        assert f"{_ALLOW}Credentials" not in answer.headers
    other = await visitor.ask("OPTIONS", "/api/v1/links", headers={"Origin": _OTHER, **asked})
    assert f"{_ALLOW}Origin" not in other.headers
    assert other.status < 500


@case("a script of an allowed site reads answers, errors too", quick=True)
async def allowed(world: World) -> None:
    program, visitor = await world.program(), world.visitor()
    answers = {
        200: await program.api("GET", "/me", headers={"Origin": _ORIGIN}),
        401: await visitor.api("GET", "/me", headers={"Origin": _ORIGIN}),
        404: await program.api("GET", "/links/no-such-link", headers={"Origin": _ORIGIN}),
        415: await program.api("POST", "/imports", {}, headers={"Origin": _ORIGIN}),
        422: await program.api("POST", "/links", {}, headers={"Origin": _ORIGIN}),
    }
    for status, answer in answers.items():
        assert answer.status == status
        assert answer.headers.getall(f"{_ALLOW}Origin") == [_ORIGIN]
        assert "origin" in _names(", ".join(answer.headers.getall("Vary")))
        assert {"x-ratelimit-remaining", "retry-after"} <= _names(answer.headers["Access-Control-Expose-Headers"])
        assert f"{_ALLOW}Credentials" not in answer.headers


@case("other sites, and other pages, are told nothing")
async def others(world: World) -> None:
    program = await world.program()
    for origin in (
        _OTHER,
        "https://pages.example.evil.example",
        "https://pagesXexample",
        "null",
        "http://pages.example",
    ):
        answer = await program.api("GET", "/me", headers={"Origin": origin})
        assert answer.status == 200
        assert f"{_ALLOW}Origin" not in answer.headers, origin
    for path in ("/login", "/", "/healthz"):
        assert f"{_ALLOW}Origin" not in (await program.get(path, headers={"Origin": _ORIGIN})).headers
