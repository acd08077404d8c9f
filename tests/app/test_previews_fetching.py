"""Fetching previews: what may be reached, how long, how much, how often; over real sockets on loopback."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from app.previews import Busy, Fetcher, NoPreview, Preview, TryAgain
from app.previews import fetching as fetching_module
from app.previews.addresses import Guard, is_public
from decant import Quart
from decant.redis import client

from .conftest import AMPLE_S

PAGE = "<!doctype html><title>A page</title><meta name=description content='About it'>"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server of one handler; its port."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def loopback(*ports: int) -> type[Guard]:
    """Allows these ports of 127.0.0.1, and nothing else."""

    class Loopback(Guard):
        def allows(self, address: str, port: int) -> bool:
            return address == "127.0.0.1" and port in self.ports

    Loopback.ports = frozenset(ports)
    return Loopback


def html(text: str = PAGE, **options: Any) -> web.Response:
    return web.Response(text=text, content_type="text/html", **options)


@asynccontextmanager
async def fetching(app: Quart, handler: Handler, **options: Any) -> AsyncIterator[tuple[Fetcher, str]]:
    """A fetcher with as much time as a busy machine needs, and the address of a server that it may reach."""
    async with serving(handler) as port:
        fetcher = Fetcher(client(app), "Tests", guard=loopback(port), **{"total_s": AMPLE_S, **options})
        try:
            yield fetcher, f"http://127.0.0.1:{port}"
        finally:
            fetcher.threads.close()


PUBLIC = """
    1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 11.0.0.1 192.0.1.0 198.17.255.255
    198.20.0.0 223.255.255.255 2606:4700::1111 2a00:1450::1 2001:200::1
"""
PRIVATE = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
    168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.170 192.0.2.1 192.88.99.1 192.168.0.1
    198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1
    2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1 3ffe::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo febf::1
    fec0::1 ff02::1 ff0e::1 2606:4700::1111%eth0 localhost 127.1 0x7f000001
"""


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public_addresses_may_be_reached(address: str) -> None:
    """Also those next to what may not."""
    assert is_public(address)


@pytest.mark.parametrize("address", [*PRIVATE.split(), ""])
def test_addresses_that_are_not_public_may_not(address: str) -> None:
    """Private, shared, reserved, multicast, documentation, what embeds an IPv4 address, and what is none."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0x7f.1",
        "2130706433",
        "0",
        "169.254.169.254",
        "10.0.0.1",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nothing_of_our_own_network_is_reached(app: Quart, host: str, scheme: str) -> None:
    """By whatever name or form of number; and the owner is not told what is there."""
    fetcher = Fetcher(client(app), "Tests")
    with pytest.raises(NoPreview, match=r"does not lead to a public site|is no address"):
        await fetcher.preview(f"{scheme}://{host}/")
    fetcher.threads.close()


@pytest.mark.parametrize("port", [22, 25, 8080, 5432, 6379, 8443])
async def test_only_the_ports_of_the_web_are_reached(app: Quart, port: int) -> None:
    """80 and 443, whatever the scheme."""
    fetcher = Fetcher(client(app), "Tests")
    with pytest.raises(NoPreview, match=f"not {port}"):
        await fetcher.preview(f"http://example.com:{port}/")
    fetcher.threads.close()


async def test_a_page_is_read(app: Quart) -> None:
    """Its title and its description; asked for without cookies, without a referrer, under our name."""
    seen: list[web.Request] = []

    async def page(request: web.Request) -> web.Response:
        seen.append(request)
        return html()

    async with fetching(app, page) as (fetcher, url):
        assert await fetcher.preview(f"{url}/a%2Fb?c=%20d") == Preview("A page", "About it")
    assert seen[0].raw_path == "/a%2Fb?c=%20d"
    assert seen[0].headers["User-Agent"] == "Tests"
    assert not {"Cookie", "Referer", "Authorization"} & seen[0].headers.keys()


async def test_the_proxies_of_the_environment_are_not_used(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to whatever it is asked for."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def page(request: web.Request) -> web.Response:
        return html()

    async with fetching(app, page) as (fetcher, url):
        assert (await fetcher.preview(url)).title == "A page"


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("http://127.0.0.2:{port}/", "does not lead to a public site"),
        ("http://localhost.localdomain:{port}/", None),
        ("http://[::1]:{port}/", "does not lead to a public site"),
        ("http://169.254.169.254:{port}/latest/meta-data/", "does not lead to a public site"),
        ("http://127.0.0.1:6379/", "not 6379"),
        ("ftp://127.0.0.1/", "not http or https"),
        ("file:///etc/passwd", "not http or https"),
        ("gopher://127.0.0.1:70/", "not http or https"),
        ("http://user:secret@127.0.0.1:{port}/", "user name"),
        ("http://", "more than 5 times"),
        ("http://a:99999/", "no address"),
        ("//127.0.0.2:{port}/", "does not lead to a public site"),
    ],
)
async def test_redirects_are_checked_again(app: Quart, location: str, sentence: str | None) -> None:
    """Scheme, port and address of each; a name that does not exist may exist later."""
    ports: list[int] = []

    async def page(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location.format(port=ports[0])})

    # A name that does not exist is asked for elsewhere.
    async with fetching(app, page, total_s=5 if sentence is None else AMPLE_S) as (fetcher, url):
        ports.append(int(url.rpartition(":")[2]))
        with pytest.raises((NoPreview, TryAgain) if sentence is None else NoPreview, match=sentence or "."):
            await fetcher.preview(url)


@pytest.mark.parametrize(("times", "found"), [(1, True), (5, True), (6, False)])
async def test_five_redirects_are_followed(app: Quart, times: int, found: bool) -> None:
    """Relative ones too, without the cookies that are set on the way."""
    cookies = []

    async def page(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        number = int(request.path.strip("/") or 0)
        if number == times:
            return html()
        return web.Response(status=308, headers={"Location": str(number + 1), "Set-Cookie": "a=b"})

    async with fetching(app, page) as (fetcher, url):
        if found:
            assert (await fetcher.preview(f"{url}/0")).title == "A page"
        else:
            with pytest.raises(NoPreview, match="more than 5 times"):
                await fetcher.preview(f"{url}/0")
    assert set(cookies) == {None}
    assert len(cookies) == min(times, 5) + 1


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "text/html", NoPreview),
        (401, "text/html", NoPreview),
        (302, "text/html", NoPreview),  # without a Location
        (500, "text/html", TryAgain),
        (503, "text/html", TryAgain),
        (429, "text/html", TryAgain),
        (200, "image/png", NoPreview),
        (200, "application/xhtml+xml", NoPreview),
        (200, "text/plain", NoPreview),
    ],
)
async def test_what_is_no_page(app: Quart, status: int, kind: str, error: type[Exception]) -> None:
    """Errors for good, errors for now, and other types of content."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(status=status, text=PAGE, content_type=kind)

    async with fetching(app, page) as (fetcher, url):
        with pytest.raises(error, match=str(status) if status != 200 else "not a page of HTML"):
            await fetcher.preview(url)


async def test_what_does_not_speak_http(app: Quart) -> None:
    """Is told so; what hangs up may be better later."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/bye" not in await reader.readline():
            writer.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fetcher = Fetcher(client(app), "Tests", guard=loopback(port), total_s=AMPLE_S)
    with pytest.raises(NoPreview, match="does not speak HTTP"):
        await fetcher.preview(f"http://127.0.0.1:{port}/")
    with pytest.raises(TryAgain, match="could not be reached"):
        await fetcher.preview(f"http://127.0.0.1:{port}/bye")
    server.close()
    await server.wait_closed()
    with pytest.raises(TryAgain, match="could not be reached"):
        await fetcher.preview(f"http://127.0.0.1:{port}/")
    fetcher.threads.close()


@pytest.mark.parametrize("when", ["before", "within"])
async def test_a_page_that_takes_too_long(app: Quart, when: str) -> None:
    """Before its headers, or with one byte after another: the time is for all of it."""
    ended = asyncio.Event()

    async def page(request: web.Request) -> web.StreamResponse:
        if when == "before":
            await ended.wait()
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        while not ended.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    async with fetching(app, page, total_s=0.3) as (fetcher, url):
        async with asyncio.timeout(AMPLE_S):
            with pytest.raises(TryAgain, match="too long"):
                await fetcher.preview(url)
        ended.set()


async def test_a_page_is_read_up_to_the_end_of_its_head(app: Quart) -> None:
    """The rest, which may never end, is not waited for."""
    ended = asyncio.Event()

    async def page(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        await response.write(b"<head><title>A page</title></he")
        await asyncio.sleep(0.01)
        await response.write(b"ad><body>")
        await ended.wait()
        return response

    async with fetching(app, page, total_s=2 * AMPLE_S) as (fetcher, url):
        async with asyncio.timeout(AMPLE_S):
            assert await fetcher.preview(url) == Preview("A page", None)
        ended.set()


async def test_of_a_large_page_a_megabyte_is_read(app: Quart) -> None:
    """What comes later is not seen."""
    sent = 0

    async def page(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        try:
            for _ in range(1000):
                await response.write(b"<p>" + b"x" * 100_000)
                sent += 1
        except ConnectionError:
            return response
        await response.write(b"<title>late</title>")
        return response

    async with fetching(app, page) as (fetcher, url):
        assert await fetcher.preview(url) == Preview(None, None)
    assert sent < 500  # what was under way in buffers; a hundred megabytes were not


async def test_a_bomb_does_not_go_off(app: Quart) -> None:
    """A gigabyte in a megabyte of gzip takes no more memory than a page may."""
    zeros = gzip.compress(b"\x00" * 1024 * 1024, 9) * 1024
    body = await asyncio.to_thread(gzip.compress, PAGE.encode() + b" " * 200 * 1024 * 1024, 9)

    async def page(request: web.Request) -> web.Response:
        data = zeros if request.path == "/zeros" else body
        return web.Response(body=data, content_type="text/html", headers={"Content-Encoding": "gzip"})

    async with fetching(app, page) as (fetcher, url):
        tracemalloc.start()
        try:
            assert (await fetcher.preview(url)).title == "A page"
            assert await fetcher.preview(f"{url}/zeros") == Preview(None, None)
            assert tracemalloc.get_traced_memory()[1] < 40 * 1024 * 1024
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(("encoding", "found"), [("gzip", True), ("x-gzip", True), ("br", False), ("deflate", False)])
async def test_compressed_pages(app: Quart, encoding: str, found: bool) -> None:
    """In the way that was asked for, or not at all."""

    async def page(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "gzip"
        body = gzip.compress(PAGE.encode())
        return web.Response(body=body, content_type="text/html", headers={"Content-Encoding": encoding})

    async with fetching(app, page) as (fetcher, url):
        if found:
            assert (await fetcher.preview(url)).title == "A page"
        else:
            with pytest.raises(NoPreview, match="not asked for"):
                await fetcher.preview(url)


async def test_a_damaged_page(app: Quart) -> None:
    """Is no error of ours."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=b"no gzip", content_type="text/html", headers={"Content-Encoding": "gzip"})

    async with fetching(app, page) as (fetcher, url):
        with pytest.raises(NoPreview, match="damaged"):
            await fetcher.preview(url)


@pytest.mark.parametrize(
    ("body", "header"),
    [
        ("<title>Grüße</title>".encode("cp1252"), "text/html; charset=iso-8859-1"),
        ("<title>Grüße</title>".encode(), "text/html; charset=utf-8"),
        ("<title>Grüße</title>".encode(), "text/html"),
        ("<title>Grüße</title>".encode(), "text/html; charset=unicode_escape"),
        (b"<meta charset='iso-8859-1'>" + "<title>Grüße</title>".encode("cp1252"), "text/html"),
        (
            b'<meta http-equiv=x content="text/html; charset=latin1">' + "<title>Grüße</title>".encode("cp1252"),
            "text/html",
        ),
        (b"\xef\xbb\xbf" + "<title>Grüße</title>".encode(), "text/html; charset=iso-8859-1"),
        ("\ufeff<title>Grüße</title>".encode("utf-16-le"), "text/html"),
    ],
)
async def test_the_charset(app: Quart, body: bytes, header: str) -> None:
    """By the byte order mark, the header, the page, else UTF-8; only those that browsers know."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": header})

    async with fetching(app, page) as (fetcher, url):
        assert (await fetcher.preview(url)).title == "Grüße"


async def test_four_at_a_time_for_each_host(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by all workers together; who has to wait longer than a moment is told that the host is busy."""
    now = most = 0
    four, ended = asyncio.Event(), asyncio.Event()

    async def page(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 4:
            four.set()
        await (four if request.path == "/" else ended).wait()
        await asyncio.sleep(0.02)  # so that a fifth would come meanwhile
        now -= 1
        return html()

    async with serving(page) as port:
        workers = [Fetcher(client(app), "Tests", guard=loopback(port), total_s=2 * AMPLE_S) for _ in range(2)]
        monkeypatch.setattr(fetching_module, "_SLOT_WAIT_S", AMPLE_S)
        pages = [workers[number % 2].preview(f"http://127.0.0.1:{port}/") for number in range(20)]
        assert {found.title for found in await asyncio.gather(*pages)} == {"A page"}
        assert most == 4
        held = [asyncio.create_task(workers[n % 2].preview(f"http://127.0.0.1:{port}/held")) for n in range(4)]
        while now < 4:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(fetching_module, "_SLOT_WAIT_S", 0.2)
        with pytest.raises(Busy):
            await workers[0].preview(f"http://127.0.0.1:{port}/")
        ended.set()
        await asyncio.gather(*held)
        for worker in workers:
            worker.threads.close()
