"""What a person does, in Chromium, against Hypercorn and a worker: nothing is faked in between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .browsing import (
    chromium,
    look,
    no_blocking,
    open_browser,
    pytestmark,
    register,
    served,
    settings,
    site,
    watch,
    worker,
)
from .site import Site, serve_site

__all__ = ["chromium", "no_blocking", "open_browser", "pytestmark", "served", "settings", "site"]


class Elsewhere(BaseHTTPRequestHandler):
    """Where the links lead: a page of another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def target() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/page"
        server.shutdown()
        thread.join()


def shorten(page: Page, site: Site, target: str, slug: str) -> None:
    page.goto(f"{site.url}/links/new")
    page.get_by_label("Address").fill(target)
    page.get_by_label("Short name").fill(slug)
    page.get_by_role("button", name="Shorten").click()
    page.wait_for_url(f"**/links/{slug}")


def test_a_click_is_seen_in_the_chart(
    site: Site, open_browser: Any, settings: dict[str, Any], tmp_path: Path, target: str
) -> None:
    """Register, shorten, follow: a few seconds later the chart and its table have the click, with no complaint."""
    page = open_browser()
    complaints = watch(page)
    register(page, site)
    shorten(page, site, target, "mine")
    expect(page.locator("#chart .u-over")).to_have_count(1)
    assert "Nobody has followed it" in (page.locator("details.figures").text_content() or "")
    page.get_by_role("link", name=f"{site.url}/mine").click()
    page.wait_for_url(target)
    with worker(settings, tmp_path / "worker"):
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline:
            page.goto(f"{site.url}/links/mine")
            if sum(json.loads(page.locator("#chart").get_attribute("data-chart") or "")["clicks"]) == 1:
                break
            time.sleep(0.3)
        else:
            raise AssertionError((tmp_path / "worker").read_text()[-3000:])
    page.locator("details.figures summary").click()
    expect(page.locator("details.figures tbody tr")).to_have_count(1)
    expect(page.locator("details.figures tbody td")).to_have_text("1")
    expect(page.locator("dl.facts dd").first).to_have_text("1")
    # A bar was drawn: the canvas has pixels of the accent colour.
    drawn = page.evaluate(
        """() => {
            const canvas = document.querySelector("#chart canvas");
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let i = 0; i < pixels.length; i += 4)
                if (pixels[i] === 15 && pixels[i + 1] === 92 && pixels[i + 2] === 92 && pixels[i + 3] === 255) count++;
            return count;
        }"""
    )
    assert drawn > 200
    assert complaints == []


def test_a_click_is_seen_at_once_in_another_process(
    site: Site, open_browser: Any, settings: dict[str, Any], tmp_path: Path, target: str
) -> None:
    """Two web processes, two browsers: within a second after a click in one, the other's pages show it."""
    with serve_site(settings, tmp_path / "other") as other:
        watcher = open_browser()
        complaints = watch(watcher)
        register(watcher, other)
        shorten(watcher, other, target, "mine")
        visits = watcher.locator("dl.facts dd [data-live]").first
        assert visits.inner_text() == "0"
        watcher.wait_for_selector("html[data-watching]")
        clicker, took = open_browser(), list[float]()
        while not took or (took[-1] >= 1 and len(took) < 20):  # a busy machine may hold some of them up
            clicker.goto(f"{site.url}/mine")
            started = time.monotonic()
            expect(visits).to_have_text(str(len(took) + 1))
            took.append(time.monotonic() - started)
        assert min(took) < 1, took
        watcher.goto(f"{other.url}/links")
        watcher.wait_for_selector("html[data-watching]")
        before = int(watcher.locator("[data-live]").inner_text())
        clicker.goto(f"{site.url}/mine")
        expect(watcher.locator("[data-live]")).to_have_text(str(before + 1))
        expect(watcher.locator("[data-unit]")).to_have_text("visit" if before + 1 == 1 else "visits")
        watcher.goto(f"{other.url}/links/mine")
        watcher.locator("details.qr summary").click()
        image = watcher.locator("details.qr img")
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")  # fails where there is no image
        assert complaints == []


def test_everything_works_without_javascript(site: Site, open_browser: Any) -> None:
    """Register, shorten, see the table, edit, delete, log out: no script is needed."""
    page = open_browser(java_script_enabled=False)
    register(page, site)
    shorten(page, site, "https://example.com/", "mine")
    assert page.locator("details.figures").get_attribute("open") is not None
    expect(page.locator("#chart")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy")).to_be_hidden()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Title").fill("A title")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("A title")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete the link").click()
    page.wait_for_url("**/links")
    assert "deleted" in page.get_by_role("status").inner_text()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{site.url}/")


def test_errors_are_announced_and_lead_to_their_fields(site: Site, open_browser: Any) -> None:
    """The summary has the focus and is an alert; its links focus the fields; each field is tied to its sentence."""
    page = open_browser()
    register(page, site)
    page.goto(f"{site.url}/links/new")
    page.get_by_label("Address").fill("ftp://example.com/")
    page.get_by_role("button", name="Shorten").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("One thing is to be corrected")
    expect(alert).to_be_focused()
    alert.get_by_role("link").click()
    expect(page.locator("#target")).to_be_focused()
    field = page.get_by_label("Address")
    assert field.get_attribute("aria-invalid") == "true"
    described = (field.get_attribute("aria-describedby") or "").split()
    assert "Only http and https" in " ".join(page.locator(f"#{name}").inner_text() for name in described)


def test_the_keyboard_reaches_everything(site: Site, open_browser: Any) -> None:
    """The first Tab offers to skip to the content, and Enter on it does; a form can be sent from the keyboard."""
    page = open_browser()
    register(page, site)
    page.goto(f"{site.url}/links/new")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_have_text("Skip to the content")
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("https://example.com/")
    page.keyboard.press("Tab")
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    page.wait_for_url("**/links/typed")


def test_pages_fit_a_phone_and_have_contrast(site: Site, open_browser: Any) -> None:
    """No page scrolls sideways at 320 pixels; every text has a contrast of at least 4.5 to 1, light and dark."""
    page = open_browser(viewport={"width": 320, "height": 640})
    complaints = watch(page)
    register(page, site)
    shorten(page, site, "https://example.com/" + "a-long-path/" * 20, "x" * 64)
    page.goto(f"{site.url}/account")
    page.get_by_label("What is the new token for?").fill("W" * 64)
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#secret")).to_be_visible()
    look(page, "the page of a new token")
    for path in ("/links", "/links/new", f"/links/{'x' * 64}", f"/links/{'x' * 64}/edit", "/account"):
        page.goto(f"{site.url}{path}")
        look(page, path)
    assert complaints == []
