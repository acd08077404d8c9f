"""The application as it is started: with nothing configured, and what it writes to its log."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypercorn.utils import load_application

from app.config import Settings

from .conftest import PASSWORD
from .site import serve_site


def test_the_documentation_has_every_setting() -> None:
    """Each key of Settings is in the table of docs/application.md."""
    page = Path("docs/application.md").read_text()
    assert [key for key in Settings.model_fields if f"`{key}`" not in page] == []


@pytest.mark.timeout(300)
def test_without_a_database_one_is_embedded_and_migrated(settings: dict[str, Any], tmp_path: Path) -> None:
    """With REDIS_URL alone set, plain Hypercorn serves on an embedded PostgreSQL; what is stored is there next time."""
    given = {key: value for key, value in settings.items() if key not in ("DATABASE_URL", "SECRET_KEY")}
    given["DATA_DIR"] = tmp_path / "data"
    with serve_site(given, tmp_path / "log") as site:
        cookie, _ = site.log_in("ada", PASSWORD)
        assert site.get("/links", Cookie=cookie)[0] == 200
    assert "Traceback" not in (tmp_path / "log").read_text()
    with serve_site(given, tmp_path / "log") as site:
        assert site.get("/links", Cookie=cookie)[0] == 200
    assert sorted(path.name for path in given["DATA_DIR"].iterdir()) == ["postgresql", "secret_key"]


async def test_an_open_page_does_not_hold_up_the_end(settings: dict[str, Any], tmp_path: Path) -> None:
    """SIGTERM with the settings of ``decant up``: the page's WebSocket is told and closed, long before any deadline."""
    options = ["--config", "hypercorn.toml", "--graceful-timeout", "60"]
    async with AsyncExitStack() as stack:
        serving = serve_site(settings, tmp_path / "log", *options)
        site = await asyncio.to_thread(serving.__enter__)
        stack.push_async_callback(asyncio.to_thread, serving.__exit__, None, None, None)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        page = await http.ws_connect(f"{site.url}/socket.io/?EIO=4&transport=websocket")
        assert (await page.receive_str()).startswith("0{")
        site.process.terminate()
        assert await page.receive_str(timeout=30) == "1"
        assert (await page.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
        assert await asyncio.to_thread(site.process.wait, 45) == 0
        assert "Traceback" not in await asyncio.to_thread(site.log.read_text)


def test_hypercorn_finds_the_factory(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """``hypercorn 'app:create_app()'``: it looks among the module's own names, not by getattr."""
    for key in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
        monkeypatch.setenv(key, settings[key])
    app: Any = load_application("app:create_app()", 0)
    assert app.app.config["DATABASE_URL"] == settings["DATABASE_URL"]


def test_a_wrong_setting_stops_the_server(settings: dict[str, Any]) -> None:
    """Hypercorn ends at once, with the key, the value and what is allowed (its status is its own)."""
    environment = {**os.environ, "DATABASE_URL": settings["DATABASE_URL"], "REDIS_URL": "http://nowhere"}
    command = [sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:0", "app.asgi:app"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert "REDIS_URL = 'http://nowhere' is not valid: a Redis URL is needed" in result.stderr
    assert "Running on" not in result.stderr


LOGGING = """
import logging
from app.config import Settings
from app.web.logs import configure_logs
import structlog

configure_logs(Settings(LOG_FORMAT={kind!r}))
structlog.contextvars.bind_contextvars(request_id="abc")

def fail(password):
    raise ValueError("it failed")

try:
    fail("correct horse battery")
except ValueError:
    logging.getLogger("somewhere").exception("a %s", "bug")
structlog.get_logger("own").info("an event", number=3)
"""


@pytest.mark.parametrize("kind", ["console", "json"])
def test_logs_have_the_request_and_no_local_variables(kind: str) -> None:
    """One line per event with the request's id; a traceback shows no values, among which passwords are."""
    result = subprocess.run(
        [sys.executable, "-c", LOGGING.format(kind=kind)], capture_output=True, text=True, timeout=100, check=True
    )
    assert "it failed" in result.stderr
    assert "correct horse battery" not in result.stderr.replace('fail("correct horse battery")', "")
    if kind == "json":
        lines = [json.loads(line) for line in result.stderr.splitlines()]
        assert [line["event"] for line in lines] == ["a bug", "an event"]
        assert {line["request_id"] for line in lines} == {"abc"}
        assert lines[1]["number"] == 3
