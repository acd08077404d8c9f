"""A thousand malformed requests over real sockets: each is refused or understood, none is a 5xx, memory stays flat."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import PASSWORD
from .site import Site, serve_site

WARM_UP, COUNT = 300, 1000  # requests; memory is compared after the one and after the other
PATIENCE_S = 60.0
PAGES = (
    "/login",
    "/register",
    "/links/new",
    "/account/tokens",
    "/account/password",
    "/links/mine/edit",
    "/api/v1/links",
)
SEEN = ("/", "/login", "/links", "/links/mine", "/links/mine/edit", "/account", "/mine", "/api/v1/links", "/readyz")
FORM = b"application/x-www-form-urlencoded"
JSONS = (
    b"{",
    b"[" * 100_000,
    b"\xff\xfe",
    b'{"target": "\\ud800"}',
    b"NaN",
    b'{"a":1}}',
    b"",
    b"null",
    b'"x"',
    b"1e999",
)
VALUES = (
    b"%ff%fe",
    b"%00",
    b"%",
    b"%zz",
    b"\xff",
    b"%F0%9F%98%80" * 500,
    b"a" * 70_000,
    b"%0d%0aX:y",
    b"%ed%a0%80",
    b"",
)
FIELDS = (
    b"username",
    b"password",
    b"target",
    b"slug",
    b"title",
    b"tags",
    b"expires_at",
    b"timezone",
    b"max_visits",
    b"name",
)
QUERIES = (
    b"q=%ff",
    b"q=%00",
    b"before=-1",
    b"before=%00",
    b"days=x",
    b"tag=%ff",
    b"q=" + b"x" * 5000,
    b"&&&=",
    b"%zz=%zz",
)
HEADERS = (
    b"Cookie: session=\xff\xfe",
    b"Cookie: session=eyJ.x.y; ;;; =",
    b"Cookie: " + b"a=b; " * 2000,
    b"Accept: \xff;q=x,,,;",
    b"Accept: application/json;q=9e9",
    b"Accept-Language: " + b"x" * 5000,
    b"Authorization: Bearer \xff\x80",
    b"Authorization: Basic !!!",
    b"Authorization: Bearer dct_" + b"A" * 43,
    b"X-Request-ID: ../../\xff",
    b'If-None-Match: "\xff',
    b"If-Modified-Since: never",
    b"Range: bytes=9-1,-,x",
    b"Origin: \xff://",
    b"X-Forwarded-For: \xff, ,",
    b"Content-Type: \xff/\xff; charset=\xff",
    b"Content-Type: text/html; charset=no-such-charset",
    b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x",
    b"Host: \xff",
    b"Host: a\r\nHost: b",
    b"Bad Name: x",
    b" folded",
    b"X-Many: y\r\n" * 150 + b"X-End: z",
    b"X-Long: " + b"y" * 70_000,
)
PATHS = (
    b"/%00",
    b"/%ff",
    b"//",
    b"//evil.example/",
    b"/..%2f..%2fetc/passwd",
    b"/static/%00",
    b"/static/..%5c..",
    b"/" + b"a" * 9000,
    b"/links/" + b"%41" * 65,
    b"/links/%E2%80%AE",
    b"http://evil.example/",
    b"*",
    b"/account/tokens/" + b"9" * 40 + b"/revoke",
    b"/\x80",
    b"/static/css/site.css?t=%ff",
    b"/?" + b"a=b&" * 3000,
    b"no-slash",
    b"/a b",
)
NO_HTTP = (
    b"\x16\x03\x01\x02\x00",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x00" * 500,
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  /  HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n" * 50,
)


class Attack:
    """Makes malformed requests, half of them by somebody who is logged in and has the form's token."""

    def __init__(self, seed: int, cookie: str, token: str) -> None:
        self.dice, self.cookie, self.token = random.Random(seed), cookie.encode(), token.encode()

    def head(self, method: bytes, path: bytes, *headers: bytes) -> bytes:
        own = [b"Cookie: " + self.cookie] if self.dice.random() < 0.6 else []
        return b"\r\n".join(
            [method + b" " + path + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *own, *headers, b"", b""]
        )

    def post(self, kind: bytes, body: bytes, path: bytes | None = None) -> bytes:
        path = path or self.dice.choice(PAGES).encode()
        extra = [b"X-CSRF-Token: " + self.token] if self.dice.random() < 0.5 else []
        length = b"Content-Length: %d" % len(body)
        return self.head(b"POST", path, b"Content-Type: " + kind, length, *extra) + body

    def bad_json(self) -> bytes:
        return self.post(b"application/json", self.dice.choice(JSONS))

    def bad_form(self) -> bytes:
        pairs = [self.dice.choice(FIELDS) + b"=" + self.dice.choice(VALUES) for _ in range(self.dice.randrange(1, 8))]
        return self.post(FORM, b"&".join([b"csrf_token=" + self.token, *pairs]))

    def bad_multipart(self) -> bytes:
        part = b'--x\r\nContent-Disposition: form-data; name="target"\r\n\r\n' + self.dice.choice(VALUES) + b"\r\n"
        kind, body = self.dice.choice(
            [
                (b"multipart/form-data", part),
                (b"multipart/form-data; boundary=", part),
                (b"multipart/form-data; boundary=\xff", part),
                (b"multipart/form-data; boundary=x", part),
                (b"multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--"),
                (b"multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; filename="\xff\r\n\r\n'),
                (
                    b"multipart/form-data; boundary=x",
                    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n" * 1200 + b"--x--\r\n",
                ),
                (b"multipart/form-data; boundary=x", b"--x\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n--x--\r\n"),
                (b"multipart/form-data; boundary=" + b"y" * 300, part),
            ]
        )
        return self.post(kind, body)

    def oversized(self) -> bytes:
        body = b"target=" + b"x" * 1_500_000
        if self.dice.random() < 0.5:
            return self.post(FORM, body)
        path = self.dice.choice(PAGES).encode()
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(body) // 4, body[: len(body) // 4]) for _ in range(4))
        return self.head(b"POST", path, b"Content-Type: " + FORM, b"Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"

    def wrong_length(self) -> bytes:
        length = self.dice.choice([b"-1", b"x", b"99999999999999999999", b"3, 4", b""])
        return self.head(b"POST", b"/login", b"Content-Type: " + FORM, b"Content-Length: " + length) + b"username=a"

    def odd_headers(self) -> bytes:
        headers = self.dice.sample(HEADERS, self.dice.randrange(1, 4))
        path = self.dice.choice([*SEEN, "/static/css/site.css"]).encode()
        return self.head(self.dice.choice([b"GET", b"GET", b"HEAD"]), path, *headers)

    def odd_query(self) -> bytes:
        query = b"&".join(self.dice.sample(QUERIES, self.dice.randrange(1, 4)))
        return self.head(b"GET", self.dice.choice(SEEN).encode() + b"?" + query)

    def odd_path(self) -> bytes:
        return self.head(self.dice.choice([b"GET", b"POST", b"FOO", b"options", b"TRACE"]), self.dice.choice(PATHS))

    def no_http(self) -> bytes:
        return self.dice.choice(NO_HTTP)

    def requests(self, count: int) -> Iterator[tuple[bytes, bool]]:
        """What to send, and whether to send it slowly and go away in the middle."""
        kinds: list[Callable[[], bytes]] = [
            self.bad_json,
            self.bad_form,
            self.bad_multipart,
            self.wrong_length,
            self.odd_headers,
            self.odd_query,
            self.odd_path,
            self.no_http,
        ]
        for number in range(count):
            kind = self.oversized if number % 50 == 0 else self.dice.choices(kinds, weights=(3, 5, 3, 1, 3, 3, 2, 1))[0]
            yield kind(), number % 25 == 1


async def send(site: Site, request: bytes, slowly: bool) -> int | None:
    """The status that was answered; None if the connection was closed, or we went away, before that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=2**20)
    try:
        if slowly:
            for piece in (request[: len(request) // 3], request[len(request) // 3 : len(request) // 2]):
                writer.write(piece)
                await asyncio.sleep(0.05)
            return None
        writer.write(request)
        async with asyncio.timeout(PATIENCE_S):
            return await status_of(reader)
    except ConnectionError:  # refused before it was sent whole
        return None
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def status_of(reader: asyncio.StreamReader) -> int | None:
    while line := await reader.readline():
        found = re.match(rb"HTTP/1\.\d (\d{3})", line)
        if found and found[1] != b"100":
            return int(found[1])
    return None


def memory(site: Site) -> int:
    processes = [psutil.Process(site.process.pid), *psutil.Process(site.process.pid).children(recursive=True)]
    return sum(process.memory_info().rss for process in processes)


async def storm(site: Site, cookie: str, token: str, *, seed: int, count: int) -> list[int | None]:
    limit = asyncio.Semaphore(16)

    async def one(request: bytes, slowly: bool) -> int | None:
        async with limit:
            return await send(site, request, slowly)

    return await asyncio.gather(*(one(*request) for request in Attack(seed, cookie, token).requests(count)))


@pytest.mark.timeout(300)
def test_a_thousand_malformed_requests(settings: dict[str, Any], tmp_path: Path) -> None:
    """No 5xx and no error in the log; once warm, a thousand take no memory; pages still work."""
    with serve_site(settings, tmp_path / "log") as site:
        cookie, token = site.log_in("ada", PASSWORD)
        statuses = asyncio.run(storm(site, cookie, token, seed=1, count=WARM_UP))
        before = memory(site)
        statuses += asyncio.run(storm(site, cookie, token, seed=2, count=COUNT))
        grown = memory(site) - before
        page = site.get("/links", Cookie=cookie)
    log = (tmp_path / "log").read_text()
    answered = [status for status in statuses if status is not None]
    assert max(answered) < 500, (sorted(set(answered)), log[-5000:])
    assert len(answered) > COUNT
    assert {200, 303, 400, 404, 413, 415, 422} <= set(answered)
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]
    assert page[0] == 200
    assert grown < 16 * 1024 * 1024, grown
