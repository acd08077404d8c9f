"""The snippets of docs/cdn.md do what the page says."""

from __future__ import annotations

import asyncio
import hashlib
import runpy
from pathlib import Path
from typing import Any

import pytest

from decant.testing.client import Client

FOLDER = Path(__file__).parents[2] / "docs" / "snippets"
CSS = (FOLDER / "cdn_static" / "site.css").read_bytes()
TAG = hashlib.sha256(CSS).hexdigest()[:12]


@pytest.fixture
def app() -> Any:
    app = runpy.run_path(str(FOLDER / "cdn_app.py"))["app"]
    app.test_client_class = Client
    return app


async def test_the_application(app: Any) -> None:
    client = app.test_client()
    page = await (await client.get("/")).get_data(as_text=True)
    assert page == f'<link rel="stylesheet" href="https://cdn.example/static/site.css?t={TAG}">'
    response = await client.get(f"/static/site.css?t={TAG}", headers={"Accept-Encoding": "br"})
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Content-Encoding"] == "br"


async def test_flask() -> None:
    def ask() -> Any:
        client = runpy.run_path(str(FOLDER / "cdn_flask.py"))["app"].test_client()
        with client.get("/stylesheet", follow_redirects=True) as response:
            return response.request.url, response.headers["Cache-Control"], response.get_data()

    url, cache, body = await asyncio.to_thread(ask)
    assert (url, body) == (f"http://localhost/static/site.css?t={TAG}", CSS)
    assert "immutable" in cache
