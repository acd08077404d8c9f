"""What no program of ours sends: never 500, and the server goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

from tests.serving import Peer

from ..visitor import PASSWORD
from . import World, case, new_name

_LIMIT = 65_536
_FORM = "application/x-www-form-urlencoded"


@case("what is no JSON: 400", quick=True)
async def bad_json(world: World) -> None:
    program = await world.program()
    headers = {"Content-Type": "application/json"}
    for body in (b'{"target": ', b"", b"\xff\xfe", b'{"target": "\xff"}', b"{'target': 1}", b'{"a": 1} x'):
        (await program.api("POST", "/links", data=body, headers=headers)).problem(400)


@case("the wrong type of content: 415")
async def wrong_type(world: World) -> None:
    program = await world.program()
    for media_type in ("text/plain", _FORM, "application/octet-stream"):
        headers = {"Content-Type": media_type}
        (await program.api("POST", "/links", data=b'{"target": "https://example.com/"}', headers=headers)).problem(415)
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await program.api("POST", "/links", data=b'{"target": "https://example.com/"}', headers=headers)
    assert answer.status == 201


@case("a body that is too big: 413", quick=True)
async def too_big(world: World) -> None:
    program, visitor = await world.program(), world.visitor()
    headers = {"Content-Type": "application/json"}
    body = b'{"target": "https://example.com/", "title": "' + b"x" * _LIMIT + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]
            await asyncio.sleep(0)

    (await program.api("POST", "/links", data=body, headers=headers)).problem(413)
    answer = await program.api("POST", "/links", data=pieces(), headers=headers)
    answer.problem(413 if answer.status == 413 else 400)  # Werkzeug cuts off what names no length
    form = (await visitor.page("/login")).form("/login")
    data = {**form.fields, "username": "x" * _LIMIT * 2}
    for path in ("/login", "/register"):
        assert (await visitor.ask("POST", path, data=data, headers={"Origin": world.url})).status == 413, path
    assert (await program.api("GET", "/me")).status == 200
    await visitor.page("/login")


@case("a body in chunks is read", quick=True)
async def chunks(world: World) -> None:
    program, slug = await world.program(), new_name()

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"target": "https://exa', b'mple.com/", "slug": "', slug.encode(), b'"}'):
            yield piece
            await asyncio.sleep(0.05)

    answer = await program.api("POST", "/links", data=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status == 201, answer.text
    assert (await program.get(f"/{slug}")).status == 302


@case("text that cannot be read, and NUL: no 500")
async def invalid_text(world: World) -> None:
    user, visitor = await world.user(), world.visitor()
    token = (await visitor.page("/login")).form("/login").fields["csrf_token"]
    headers = {"Content-Type": _FORM, "Origin": world.url}
    for name in ("%ff%fe", "a%00b", "%ed%a0%80", "\xff"):
        data = f"csrf_token={token}&username={name}&password={PASSWORD.replace(' ', '+')}".encode("latin-1")
        answer = await visitor.ask("POST", "/login", data=data, headers=headers)
        assert 400 <= answer.status < 500, f"{name!r}: {answer.status}"
    token = await user.csrf_token()
    for field in ("title", "tags", "slug", "expires_at", "max_visits", "timezone", "target"):
        for value in ("a%00b", "%ff"):
            data = f"csrf_token={token}&target=https://example.com/&{field}={value}".encode()
            answer = await user.ask("POST", "/links/new", data=data, headers=headers)
            assert answer.status < 500, f"{field}={value}: {answer.status}"
    for query in ("q=%ff", "q=a%00b", "tag=a%00b", "tag=%ff", "before=x", "before=99999999999999999999", "page=-1"):
        answer = await user.get(f"/links?{query}")
        assert answer.status < 500, f"{query}: {answer.status}"
        answer = await user.api("GET", f"/links?{query}")
        assert answer.status < 500, f"{query}: {answer.status}"


@case("a form that is no form: no 500")
async def no_form(world: World) -> None:
    visitor = world.visitor()
    await visitor.page("/login")
    for media_type, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nvalue"),
        (_FORM, b"&&==&%"),
        ("application/json", b"{}"),
        ("nonsense", b"\0"),
    ):
        for path in ("/login", "/register"):
            answer = await visitor.ask("POST", path, data=body, headers={"Content-Type": media_type})
            assert 400 <= answer.status < 500, f"{path} with {media_type}: {answer.status}"


@case("requests that are cut off, and heads that are wrong")
async def raw(world: World) -> None:
    parts = urlsplit(world.url)
    address = (parts.hostname or "", parts.port or 0)
    program = await world.program()
    wrong = [
        (b"GET / HTTP/1.1\r\n\r\n",),  # no Host
        (b"nonsense\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",),
        (b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",),
        (b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
    ]
    for head in wrong:
        async with Peer.connect(address) as peer:
            line = b""
            with suppress(ConnectionError):  # it may be closed before all was sent, or read
                await peer.send(*head)
                line = await asyncio.wait_for(peer.reader.readline(), 20)
            assert line == b"" or not line.split()[1].startswith(b"5"), f"{head[0][:60]!r}: {line!r}"
            assert b"root:" not in line
    for _ in range(5):
        async with Peer.connect(address) as peer:
            token = f"Authorization: Bearer {program.token}"
            await peer.send(
                "POST /api/v1/links HTTP/1.1", "Host: x", token, "Content-Type: application/json", "Content-Length: 500"
            )
            await peer.send(b'{"target": ')
            peer.abort()
    assert (await program.api("GET", "/me")).status == 200
    assert (await program.api("GET", "/links")).json["items"] == []
