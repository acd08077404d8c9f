"""Chromium, and the application in a process of its own: what the tests of pages share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from redis import Redis

from .conftest import PASSWORD, copy_of, empty, settings_of
from .site import Site, serve_site

CHROMIUM = os.environ.get("DECANT_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=30_000)  # milliseconds
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; DECANT_TEST_CHROMIUM names another"),
]


@pytest.fixture(autouse=True)
def no_blocking() -> None:
    """Playwright's own event loop runs beneath these tests, which block it as they please; ours is in the server."""


@pytest.fixture(scope="module")
def settings(migrated: str, servers: Any) -> Iterator[dict[str, Any]]:
    """Of the site: a database of its own, and one of Redis, since it goes on while others are emptied."""
    with copy_of(migrated, servers) as url:
        yield settings_of(url, f"{servers.redis_url.rpartition('/')[0]}/7")


@pytest.fixture(scope="module")
def served(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(settings, tmp_path_factory.mktemp("site") / "log") as site:
        yield site


@pytest.fixture
def site(served: Site, settings: dict[str, Any]) -> Site:
    """The application, with nobody registered: one process for all tests of a file."""
    empty(settings["DATABASE_URL"], is_used=True)
    with Redis.from_url(settings["REDIS_URL"]) as client:
        client.flushdb()
    return served


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def open_browser(chromium: Browser) -> Iterator[Any]:
    """Opens pages, each with cookies and a cache of its own."""
    opened: list[BrowserContext] = []

    def open_page(**options: Any) -> Page:
        context = chromium.new_context(**options)
        context.set_default_timeout(30_000)
        opened.append(context)
        return context.new_page()

    yield open_page
    for context in opened:
        context.close()


@contextmanager
def worker(settings: dict[str, Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    given = {key: str(value) for key, value in settings.items() if key not in ("TESTING", "PROPAGATE_EXCEPTIONS")}
    command = [sys.executable, "-m", "arq", "workers.WorkerSettings"]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env={**os.environ, **given}, stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def watch(page: Page) -> list[str]:
    """What the browser complains of: blocked by the policy, failed scripts, missing files."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def look(page: Page, where: str) -> None:
    """At 320 pixels the page does not scroll sideways; its texts have contrast, light and dark."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, where
    for scheme in ("light", "dark"):
        # Without motion: colours would change little by little.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        found = page.evaluate(CONTRAST)
        assert found == [], f"{where}, {scheme}: {found}"


def register(page: Page, site: Site, username: str = "ada") -> None:
    page.goto(f"{site.url}/")
    page.get_by_role("link", name="Make an account").click()
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/links/new")


# Texts whose colour is too near to the background that is behind them (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
    const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const color = rgb(getComputedStyle(node).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const node of document.querySelectorAll("body *")) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!own || !node.checkVisibility() || node.closest(".unseen, .skip, datalist, .status-code")) continue;
        const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className} ${node.textContent.trim()}`);
    }
    return found;
}"""
