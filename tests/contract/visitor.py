"""A client of one site: a browser or a program, with an address of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp
import socketio
from multidict import CIMultiDictProxy
from yarl import URL

from .pages import Page

__all__ = ["BROWSER", "PASSWORD", "Answer", "Visitor"]

PASSWORD = "correct horse battery"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_DEADLINE_S = 30
_numbers = count(os.getpid() * 1000 % 16_000_000)


def _address() -> str:
    """One of the loopback network's addresses that no other visitor has: limits by address are each one's own."""
    rest, last = divmod(next(_numbers) % 16_000_000, 254)
    return f"127.{rest >> 8}.{rest & 255}.{last + 1}"


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    url: str

    @cached_property
    def text(self) -> str:
        return self.body.decode()

    @cached_property
    def json(self) -> Any:
        assert "json" in self.type, f"{self.status} {self.type}: {self.body[:300]!r}"
        return json.loads(self.body)

    @cached_property
    def page(self) -> Page:
        assert self.type == "text/html", f"{self.status} {self.type}: {self.body[:300]!r}"
        return Page(self.text)

    @property
    def type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def leads_to(self) -> str:
        """Path and query of ``Location`` if it leads to this site, the whole of it otherwise; "" without one."""
        if "Location" not in self.headers:
            return ""
        target = urljoin(self.url, self.headers["Location"])
        here, there = urlsplit(self.url), urlsplit(target)
        if there.netloc != here.netloc:
            return target
        return there.path + (f"?{there.query}" if there.query else "")

    def goes_to(self, path: str) -> None:
        """Check that it is a redirect to that path of this site; a query may follow."""
        assert self.status in (302, 303), f"{self.status} instead of a redirect to {path}: {self.body[:2000]!r}"
        assert self.leads_to.partition("?")[0] == path, f"it goes to {self.leads_to}, not {path}"

    def refuses(self, *kept: str) -> Page:
        """Check that it is a form's page with errors, which has the texts that were ``kept`` in its fields."""
        assert self.status == 422, f"{self.status} instead of 422, {self.leads_to}: {self.body[:300]!r}"
        page = self.page
        assert any(page.alerts), "no element with role=alert has a text"
        values = [value for form in page.forms for value in form.fields.values()]
        assert [text for text in kept if text not in values] == [], f"not kept, there is {values}"
        return page

    def problem(self, status: int, *places: str) -> list[dict[str, str]]:
        """Check that it is a problem of that status with errors at these ``places``: pointers, or parameters' names."""
        assert self.status == status, f"{self.status} instead of {status}: {self.body[:500]!r}"
        assert self.type in ("application/problem+json", "application/json"), self.type
        said = self.json
        assert said["status"] == status
        assert isinstance(said["title"], str)
        assert isinstance(said["detail"], str)
        errors: list[dict[str, str]] = said.get("errors", [])
        assert all(isinstance(error["detail"], str) for error in errors)
        found = {error.get("pointer") or error.get("parameter") for error in errors}
        assert found == set(places) if status == 422 or places else True, said
        return errors

    def parameter(self, name: str) -> list[str]:
        """The values that ``Location`` has of a parameter."""
        return parse_qs(urlsplit(self.leads_to).query).get(name, [])


class Visitor:
    """Somebody at ``url``: keeps cookies, follows no redirect, sends forms as they are in the page.

    :param token: of the API, sent with each request to ``/api/``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.token: str | None = None
        self.name = ""
        self.address = _address()
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, local_addr=(self.address, 0)),
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # of an address, not a name
            timeout=aiohttp.ClientTimeout(total=_DEADLINE_S),
            headers={"User-Agent": "contract"},
        )

    async def aclose(self) -> None:
        await self._http.close()

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """One request. ``path`` is sent as it is; ``more`` are aiohttp's ``data``, ``json``, …"""
        given = {"Accept": BROWSER, **(headers or {})}
        if self.token and path.startswith("/api/") and "Authorization" not in given:
            given["Authorization"] = f"Bearer {self.token}"
        url = URL(urljoin(self.url, path) if path.startswith("http") else self.url + path, encoded=True)
        async with self._http.request(method, url, headers=given, allow_redirects=False, **more) as response:
            return Answer(response.status, response.headers, await response.read(), str(url))

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def page(self, path: str) -> Page:
        """A page that is shown."""
        answer = await self.get(path)
        assert answer.status == 200, f"{path} is {answer.status} {answer.leads_to}"
        return answer.page

    async def api(self, method: str, path: str, json: Any = None, **more: Any) -> Answer:
        """A request to ``/api/v1`` + path, as a program sends it."""
        if json is not None:
            more["json"] = json
        path = path if path.startswith("/api/") else f"/api/v1{path}"
        return await self.ask(method, path, headers={"Accept": "application/json", **more.pop("headers", {})}, **more)

    async def send(self, page: Page | str, action: str, /, **fields: str) -> Answer:
        """Fill in the form of a page, or of the page at a path, that is sent to ``action``, and send it."""
        shown = await self.page(page) if isinstance(page, str) else page
        form = shown.form(action)
        assert form.method == "post", f"the form to {action} is sent with {form.method}"
        assert fields.keys() <= form.fields.keys(), f"the form to {action} has the fields {list(form.fields)}"
        return await self.ask("POST", form.action, data={**form.fields, **fields}, headers={"Origin": self.url})

    async def send_file(self, page: str, action: str, content: bytes, name: str = "links.csv") -> Answer:
        """Send a file with the form of a page."""
        form = (await self.page(page)).form(action)
        data = aiohttp.FormData(form.fields)
        for field in form.files:
            data.add_field(field, content, filename=name, content_type="text/csv")
        return await self.ask("POST", form.action, data=data, headers={"Origin": self.url})

    async def register(self, name: str, password: str = PASSWORD) -> Answer:
        self.name = name
        return await self.send("/register", "/register", username=name, password=password)

    async def log_in(self, name: str, password: str = PASSWORD, path: str = "/login") -> Answer:
        self.name = name
        return await self.send(path, "/login", username=name, password=password)

    async def log_out(self, page: str = "/links") -> Answer:
        return await self.send(page, "/logout")

    async def csrf_token(self, page: str = "/links/new") -> str:
        """What is in the pages' forms."""
        return (await self.page(page)).form(page).fields["csrf_token"]

    async def link(self, slug: str, target: str = "https://example.com/", **fields: Any) -> Any:
        """Make a link with the API; what is answered."""
        answer = await self.api("POST", "/links", {"target": target, "slug": slug, **fields})
        assert answer.status == 201, answer.text
        return answer.json

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self._http.cookie_jar}

    def forge(self, name: str, value: str) -> None:
        self._http.cookie_jar.update_cookies({name: value}, URL(self.url))

    async def until(self, path: str, done: Any, within_s: float = 60) -> Any:
        """Ask the API for ``path`` until ``done(json)``; its last answer."""
        deadline, pause = asyncio.get_running_loop().time() + within_s, 0.1
        while True:
            answer = await self.api("GET", path)
            assert answer.status == 200, answer.text
            if done(answer.json):
                return answer.json
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"after {within_s} s still {answer.text[:1000]}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 1)  # a token may ask so often a minute

    @asynccontextmanager
    async def live(self, *events: str, url: str = "", origin: str = "") -> AsyncIterator[Live]:
        """A page that is open: connected by WebSocket with the session's cookie.

        :raises socketio.exceptions.ConnectionError: if it is refused.
        """
        url = url or self.url
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        client = socketio.AsyncClient(reconnection=False, http_session=None)
        live = Live(client)
        for event in events:
            client.on(event, live.told.put_nowait)
        headers = {"Cookie": cookie, "Origin": origin or url}
        try:
            await client.connect(url, headers=headers, transports=["websocket"], wait_timeout=_DEADLINE_S)
            yield live
        finally:
            await client.disconnect()


class Live:
    """An open page's connection; ``told`` are the events' data, in order."""

    def __init__(self, client: socketio.AsyncClient) -> None:
        self._client = client
        self.told: asyncio.Queue[Any] = asyncio.Queue()

    async def call(self, event: str, data: Any) -> Any:
        """Emit an event; its acknowledgement."""
        return await self._client.call(event, data, timeout=_DEADLINE_S)

    async def clicks(self, most: int) -> dict[str, int]:
        """The clicks that are told, by slug, until there are so many."""
        counts: dict[str, int] = {}
        async with asyncio.timeout(_DEADLINE_S):
            while sum(counts.values()) < most:
                news = await self.told.get()
                counts[news["slug"]] = counts.get(news["slug"], 0) + news["clicks"]
        return counts
