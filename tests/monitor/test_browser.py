"""The pages in Chromium: what axe says of them, light and dark, on a phone; keyboard, no script, live."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from redis import Redis

from ..ledgers import empty, new_ledger
from . import sample

CHROMIUM = os.environ.get("DECANT_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
expect.set_options(timeout=30_000)  # milliseconds
SHOTS = os.environ.get("DECANT_TEST_SHOTS")
"""A folder for pictures of every page."""
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; DECANT_TEST_CHROMIUM names another"),
]
REFRESHED = re.compile("[1-9]")
PAGES = {
    "overview": "/",
    "overview-24h": "/?period=24h",
    "workers": "/workers",
    "worker": f"/worker/{sample.WORKER}",
    "tasks": "/tasks",
    "tasks-failed": "/tasks?state=FAILURE&text=number",
    "tasks-error": "/tasks?text=(",
    "task-succeeded": f"/task/{sample.SUCCEEDED}",
    "task-failed": f"/task/{sample.FAILED}",
    "task-progress": f"/task/{sample.PROGRESSING}",
    "task-grouped": f"/task/{sample.GROUPED}",
    "abort": f"/task/{sample.PROGRESSING}/abort",
    "schedules": "/schedules",
    "queues": "/queues",
    "purge": "/queues/purge?queue=mail",
    "not-found": f"/task/{sample.GROUP}",
}
SERVER = """
import asyncio, os
from hypercorn.asyncio import serve
from hypercorn.config import Config
from tests.monitor.conftest import make_app, make_tasks
app = make_app(os.environ["DATABASE"], os.environ["REDIS"], make_tasks())
asyncio.run(serve(app, Config.from_mapping(bind=["fd://" + os.environ["LISTENING"]], accesslog=None)))
"""


@pytest.fixture(autouse=True)
def no_blocking() -> None:
    """Playwright's own event loop runs beneath these tests, which block it as they please; ours is in the server."""


@pytest.fixture(scope="module")
def served(servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a monitor in a process of its own, and that of its database, for all tests of this file."""
    log = tmp_path_factory.mktemp("monitor") / "log"
    with new_ledger(servers) as database_url:
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listening, log.open("wb") as file:
            port, number = listening.getsockname()[1], listening.fileno()
            settings = {"DATABASE": database_url, "REDIS": servers.redis_url, "LISTENING": str(number)}
            process = subprocess.Popen(
                [sys.executable, "-c", SERVER],
                env={**os.environ, **settings},
                stdout=file,
                stderr=file,
                cwd=Path(__file__).parents[2],
                pass_fds=[number],
            )
        try:
            _await(f"http://127.0.0.1:{port}/jobs/healthcheck", process, log)
            yield f"http://127.0.0.1:{port}/jobs", database_url
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def base(served: tuple[str, str], redis_url: str) -> str:
    """The monitor's address; it has the sample's jobs and no others."""
    address, database_url = served
    empty(database_url)
    sample.fill(database_url, redis_url)
    return address


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    from urllib.request import urlopen

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """Without anything of the tests before."""
    yield chromium
    for context in chromium.contexts:
        context.close()


def open_page(browser: Browser, **options: Any) -> tuple[Page, list[str]]:
    """A page, and what the browser complains of: what the policy blocks, scripts that fail."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(30_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


def wait_for(page: Page, expression: str) -> None:
    """Wait until it is true: the policy forbids the browser's own waiting for an expression."""
    deadline = time.monotonic() + 30
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


def axe_source() -> str:
    spec = find_spec("axe_playwright_python")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("axe-playwright-python is not installed")
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text("utf-8")


WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""axe's rules that look at colours; the others find the same in the light and in the dark scheme."""
THIN_OUT = """
Object.defineProperty(document, "hidden", { get: () => true });  // the page is not kept up to date any more
for (const body of document.querySelectorAll("tbody")) {
    const seen = {};
    for (const row of [...body.rows]) {
        const kind = row.querySelector(".state")?.textContent ?? "";
        seen[kind] = (seen[kind] ?? 0) + 1;
        if (seen[kind] > 4) row.remove();
    }
}
"""
"""Of hundreds of rows that are alike four of each kind stay: axe looks at each for milliseconds."""


def axe_finds(page: Page, *rules: str) -> list[Any]:
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found = page.evaluate("(options) => axe.run(options)", options)["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def resize(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_axe_finds_nothing_and_no_page_scrolls_sideways(base: str, browser: Browser) -> None:
    page, complaints = open_page(browser)
    axe = axe_source()
    for name, path in PAGES.items():
        page.goto(f"{base}{path}")
        for width in WIDTHS:
            resize(page, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
            for scheme in SCHEMES if SHOTS else ():
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=f"{SHOTS}/{name}-{scheme}-{width}.png", full_page=True)
        page.evaluate(axe + THIN_OUT)
        for width in WIDTHS:
            resize(page, width)
            for scheme, rules in zip(SCHEMES, ([], OF_COLOURS), strict=True):
                page.emulate_media(color_scheme=scheme)
                assert axe_finds(page, *rules) == [], (name, scheme, width)
    blocked = [text for text in complaints if "status of 4" not in text]  # the pages of errors are meant to be
    assert blocked == []


@pytest.mark.parity("flower", "auto_refresh")
def test_pages_follow_what_happens_and_leave_the_focus_alone(base: str, browser: Browser, redis_url: str) -> None:
    """A worker comes: its row is there without a reload. What one has opened, typed or focused stays as it was."""
    page, complaints = open_page(browser)
    page.goto(f"{base}/workers")
    expect(page.locator("#live")).to_have_text("Live")
    page.locator(f'a[href$="/worker/{sample.WORKER}/shutdown"]').focus()
    with Redis.from_url(redis_url) as redis:
        sample.beat(redis, "aaa1:1:ffffff", active=[])
        expect(page.locator('[id="worker-aaa1:1:ffffff"]')).to_be_visible()
        assert page.evaluate("document.activeElement.getAttribute('href')").endswith(f"{sample.WORKER}/shutdown")
        sample.beat(redis, sample.WORKER, paused=True)
        expect(page.locator(f'[id="worker-{sample.WORKER}"] .state')).to_have_text("paused")

        page.goto(f"{base}/tasks")
        expect(page.locator("#live")).to_have_text("Live")
        page.get_by_label("Search").fill("half a wor")
        redis.xadd("decant:events", {"type": "task-started", "id": "x", "worker": sample.WORKER, "time": time.time()})
        expect(page.locator("body")).to_have_attribute("data-refreshed", REFRESHED)
        assert page.get_by_label("Search").input_value() == "half a wor"
        assert page.evaluate("document.activeElement.id") == "text"

        page.goto(f"{base}/task/{sample.FAILED}")
        expect(page.locator("#live")).to_have_text("Live")
        page.get_by_text("1: RETRY").click()
        fields = {"type": "task-failed", "id": str(sample.FAILED), "worker": sample.WORKER, "time": time.time()}
        redis.xadd("decant:events", fields)
        expect(page.locator("body")).to_have_attribute("data-refreshed", REFRESHED)
        assert page.locator("details[open]").count() == 1
    assert complaints == []


def test_rows_come_and_go_where_they_belong(base: str, browser: Browser) -> None:
    """patch.js makes a list like another whatever is moved, added, changed or taken away, and keeps its elements."""
    page, complaints = open_page(browser)
    page.goto(f"{base}/workers")
    result = page.evaluate(
        """async (address) => {
            const { patch } = await import(address);
            const make = (ids) => {
                const list = document.createElement("ul");
                list.innerHTML = ids.map((id) => `<li id="r${id}" class="c${id}">${id}<b>!</b></li>`).join("\\n");
                return list;
            };
            let seed = 7;
            const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
            const wrong = [];
            for (let round = 0; round < 500; round++) {
                const pick = () => [...Array(12).keys()].filter(() => random(2)).sort(() => random(3) - 1);
                const [before, after] = [pick(), pick()];
                const [old, fresh] = [make(before), make(after)];
                const kept = new Map([...old.children].map((child) => [child.id, child]));
                patch(old, fresh);
                if (old.innerHTML !== fresh.innerHTML) wrong.push([before, after, old.innerHTML]);
                for (const child of old.children)
                    if (kept.has(child.id) && kept.get(child.id) !== child) wrong.push([before, after, "made anew"]);
            }
            return wrong.slice(0, 3);
        }""",
        f"{base}/static/patch.js",
    )
    assert result == []
    assert complaints == []


def test_everything_works_without_javascript(base: str, browser: Browser, redis_url: str) -> None:
    """One goes everywhere, filters, pages, and acts, by links and forms."""
    page, _ = open_page(browser, java_script_enabled=False)
    page.goto(f"{base}/")
    navigation = page.get_by_role("navigation", name="Monitor")
    for name in ("Workers", "Jobs", "Schedules", "Queues", "Overview"):
        navigation.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(navigation.locator("[aria-current]")).to_have_text(name)
    assert not page.locator("#live").is_visible() if page.locator("#live").count() else True
    page.get_by_role("link", name="24 hours").click()
    page.wait_for_url("**period=24h**")
    page.get_by_text("The same figures as a table").click()
    assert page.locator("details.figures[open] tbody tr").count() > 10

    navigation.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newest").click()
    page.get_by_label("State").select_option("FAILURE")
    page.get_by_label("Task").fill("app.mail.send")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**state=FAILURE**")
    states = set(page.locator("table.jobs .state").all_inner_texts())
    assert states == {"FAILURE"}
    page.get_by_role("link", name=f"app.mail.send {sample.FAILED}").click()
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_role("status").first).to_contain_text("in its queue again")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("REVOKED")

    navigation.get_by_role("link", name="Queues", exact=True).click()
    page.get_by_role("link", name="Purge default").click()
    expect(page.locator("main")).to_contain_text("jobs wait there")
    page.get_by_role("button", name="Purge it").click()
    expect(page.get_by_role("status").first).to_contain_text("revoked")


def test_the_keyboard_reaches_everything(base: str, browser: Browser) -> None:
    """The first Tab offers to skip to the content; a table that scrolls can be scrolled; a job opens on Enter."""
    page, _ = open_page(browser, viewport={"width": 390, "height": 844})
    page.goto(f"{base}/tasks")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert (page.locator(".skip").bounding_box() or {})["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("import_csv")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=import_csv**")
    table = page.get_by_role("group", name="Jobs, the newest first")
    table.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "document.activeElement.scrollLeft > 0")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/task/{sample.PROGRESSING}")
