"""Applications with ``share_proxies()``, and a browser that visits them over a real socket."""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from decant.flask import share_proxies
from decant.quart import Quart
from tests.serving import serve

__all__ = ["Answer", "Visitor", "make_app", "visiting"]


def make_app(**config: Any) -> Quart:
    app = Quart(__name__, template_folder=None)
    app.config.update(SECRET_KEY="secret", **config)
    share_proxies(app)
    return app


class Answer(NamedTuple):
    status_code: int
    text: str
    headers: Any

    def json(self) -> Any:
        return jsons.loads(self.text)


class Visitor:
    """A browser, as far as it goes: it keeps cookies, and follows no redirects."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.jar = aiohttp.CookieJar(unsafe=True)
        self.http = aiohttp.ClientSession(cookie_jar=self.jar, timeout=aiohttp.ClientTimeout(total=20))

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    @property
    def cookies(self) -> set[str]:
        return {cookie.key for cookie in self.jar}

    def forget(self, name: str) -> None:
        self.jar.clear(lambda cookie: cookie.key == name)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self._ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self._ask("POST", path, **options)

    async def _ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, self.url + path, allow_redirects=False, **options) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)


@asynccontextmanager
async def visiting(app: Quart) -> AsyncIterator[Visitor]:
    async with serve(app) as url, Visitor(url) as client:
        yield client
