"""One page's head over HTTP, within five seconds and one megabyte, from public addresses alone."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from quart import Quart
from yarl import URL

from decant.bridge import Threads
from decant.errors import Overloaded
from decant.limiter.concurrency import Full, SharedSlots
from decant.redis import Redis, client

from .addresses import Guard
from .heads import Preview, decoded, read_head
from .problems import Busy, NoPreview, TryAgain

__all__ = ["MOST_BYTES", "MOST_REDIRECTS", "Fetcher", "init_previews"]

MOST_BYTES, MOST_REDIRECTS, TOTAL_S, AT_ONCE_PER_HOST = 1024 * 1024, 5, 5.0, 4
_SLOT_WAIT_S = 1.0  # for a host that is busy; the job comes again later
_LEASE_S = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})
_KEY = "shortener:previews:{host}"
_END = b"</head"


class Lookups(AbstractResolver):
    """Names to addresses, in a few threads of their own: slow name servers keep nobody else's look-ups waiting."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._threads.run(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        return [
            ResolveResult(hostname=host, host=str(where[0]), port=port, family=kind, proto=protocol, flags=0)
            for kind, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        """The threads are the fetcher's."""


class Fetcher:
    """Reads previews.

    :param redis: where the workers count together how many fetches a host has: at most four at a time.
    :param guard: makes what decides for one fetch which addresses may be reached.
    :param total_s: how long one fetch may take, redirects included; waiting for a busy host's turn is not.
    """

    def __init__(
        self, redis: Redis, agent: str, *, guard: Callable[[], Guard] = Guard, total_s: float = TOTAL_S
    ) -> None:
        self._guard, self._agent, self._total_s = guard, agent, total_s
        self._slots = SharedSlots(redis, AT_ONCE_PER_HOST, 100, _LEASE_S)
        self.threads = Threads(8, max_queued=100, grace_s=0.0, may_wait=False)

    async def preview(self, address: str) -> Preview:
        """The preview of the page at an http or https address.

        :raises NoPreview: if it has none: it is in a network that is not public, is no HTML, answers with an error.
        :raises TryAgain: if it could not be had now.
        :raises Busy: if its host has as many fetches as it may have.
        """
        guard = self._guard()
        connector = aiohttp.TCPConnector(
            socket_factory=guard, resolver=Lookups(self.threads), use_dns_cache=False, force_close=True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # what it takes for one chunk may be a thousand times as much
            trust_env=False,
            headers={"User-Agent": self._agent, "Accept": "text/html", "Accept-Encoding": "gzip"},
        ) as session:
            try:
                data, charset = await self._follow(session, guard, URL(address, encoded=True))
            except (aiohttp.ClientError, OSError, ValueError, Overloaded) as error:
                raise _told(error, guard) from error
        return await self.threads.run(lambda: read_head(decoded(data, charset)))

    async def _follow(self, session: aiohttp.ClientSession, guard: Guard, url: URL) -> tuple[bytes, str | None]:
        loop = asyncio.get_running_loop()
        left_s = self._total_s
        for _ in range(MOST_REDIRECTS + 1):
            _check(url, guard)
            async with self._turn(url):
                begun = loop.time()
                async with asyncio.timeout(left_s):
                    found = await self._ask(session, url)
                left_s -= loop.time() - begun
            if not isinstance(found, URL):
                return found
            url = found
        raise NoPreview(f"The page leads on more than {MOST_REDIRECTS} times.")

    @asynccontextmanager
    async def _turn(self, url: URL) -> AsyncIterator[None]:
        key = _KEY.format(host=url.host)
        try:
            token = await self._slots.acquire(key, _SLOT_WAIT_S)
        except Full:
            raise Busy(url.host) from None
        try:
            yield
        finally:
            await self._slots.release(key, token)

    async def _ask(self, session: aiohttp.ClientSession, url: URL) -> URL | tuple[bytes, str | None]:
        """The page's first megabyte and its charset, or where it leads on."""
        async with session.get(url, allow_redirects=False) as response:
            if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                return url.join(URL(location))
            if response.status >= 500 or response.status in _LATER:
                raise TryAgain(f"The page answered {response.status}.")
            if not 200 <= response.status < 300:
                raise NoPreview(f"The page answered {response.status}.")
            if response.content_type != "text/html":
                raise NoPreview("It is not a page of HTML.")
            return await _read(response), response.charset


def _check(url: URL, guard: Guard) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise NoPreview("The page leads to an address that is not http or https.")
    if url.user is not None or url.password is not None:
        raise NoPreview("The page leads to an address with a user name in it.")
    if url.port not in guard.ports:
        raise NoPreview(f"Only ports 80 and 443 are looked at, not {url.port}.")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """At most :data:`MOST_BYTES`, before and after decompressing, and no more than the head where its end is seen."""
    expand = _decompressor(response.headers.get("Content-Encoding", "").strip().lower())
    data, raw = bytearray(), 0
    async for chunk in response.content.iter_any():
        raw += len(chunk)
        seen = max(0, len(data) - len(_END))
        data += expand(chunk, MOST_BYTES - len(data))
        if raw >= MOST_BYTES or len(data) >= MOST_BYTES or _END in data[seen:].lower():
            break
    return bytes(data)


def _decompressor(encoding: str) -> Callable[[bytes, int], bytes]:
    if encoding in ("", "identity"):
        return lambda chunk, most: chunk[:most]
    if encoding not in ("gzip", "x-gzip"):
        raise NoPreview("The page is compressed in a way that was not asked for.")
    inflate = zlib.decompressobj(wbits=31)

    def expand(chunk: bytes, most: int) -> bytes:
        try:
            return inflate.decompress(chunk, max(most, 1))
        except zlib.error:
            raise NoPreview("The page is compressed, and damaged.") from None

    return expand


def _told(error: Exception, guard: Guard) -> Exception:
    """What the link's owner is told; nothing of the network that we are in."""
    if guard.refused:
        return NoPreview("The address does not lead to a public site.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return NoPreview("The site's certificate is not valid.")
    if isinstance(error, aiohttp.ClientResponseError):
        return NoPreview("The site does not speak HTTP.")
    if isinstance(error, TimeoutError):
        return TryAgain("The page took too long.")
    if isinstance(error, aiohttp.InvalidURL | ValueError) and not isinstance(error, OSError):
        return NoPreview("The page leads to something that is no address.")
    return TryAgain("The page could not be reached.")


def init_previews(app: Quart) -> None:
    """Make the application's :class:`Fetcher`; it connects to nothing before it is asked."""
    origin = app.config["PUBLIC_URL"]
    agent = f"DecantPreview/1 (+{origin})" if origin else "DecantPreview/1"
    fetcher = app.extensions["previews"] = Fetcher(client(app), agent)

    @app.after_serving
    async def close() -> None:
        fetcher.threads.close()
