"""What a person sees of an import, in Chromium, against Hypercorn and a worker of their own."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

from playwright.sync_api import APIResponse, Page, Route, expect

from ..browsing import (
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
from ..site import Site
from .conftest import file_of

__all__ = ["chromium", "no_blocking", "open_browser", "pytestmark", "served", "settings", "site"]

SITE = "https://example.com/"


def csv_file(path: Path, rows: int) -> Path:
    """Every hundredth row is refused."""
    path.write_bytes(
        file_of(*((f"{SITE}{n}" if n % 100 else "nowhere", f"row-{n}") for n in range(rows)), header="target,slug")
    )
    return path


def send(page: Page, site: Site, file: Path) -> None:
    page.goto(f"{site.url}/links")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Import").click()
    page.wait_for_url("**/imports/*")
    expect(page.get_by_label("Waiting for a worker")).to_be_visible()


# Notes each value that the bar has, and all that is announced.
NOTE = """() => {
    window.values = []; window.said = [];
    new MutationObserver(() => {
        const bar = document.querySelector("#progress");
        if (bar) window.values.push(bar.hasAttribute("value") ? bar.value : 0);
    }).observe(document.querySelector("main"), { subtree: true, childList: true, attributes: true });
    const live = document.querySelector("#said");
    new MutationObserver(() => window.said.push(live.textContent)).observe(live, { childList: true });
}"""


def late_answer(page: Page) -> list[tuple[Route, APIResponse]]:
    """Has the first answer to the page's script, as soon as the server has given it; the script waits for it."""
    late: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if late or route.request.resource_type != "fetch":
            route.fallback()
        else:
            late.append((route, route.fetch()))

    page.route("**/imports/*", hold)
    return late


def test_the_bar_moves_by_itself_to_the_end(
    site: Site, open_browser: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    """No reload: the bar rises, tenths are announced, the end and the refused rows appear, and can be downloaded.

    The page asks the server now and then, too: an answer that is older than what was told is left alone.
    """
    page = open_browser()
    complaints = watch(page)
    register(page, site)
    send(page, site, csv_file(tmp_path / "many.csv", 4000))
    page.wait_for_selector("html[data-watching]")
    page.evaluate(NOTE)
    late = late_answer(page)
    while not late:
        page.wait_for_timeout(50)
    with worker(settings, tmp_path / "worker") as process:
        while not page.evaluate("window.values.at(-1)"):
            page.wait_for_timeout(50)
        process.send_signal(signal.SIGSTOP)  # what is told now is newer than the answer, and not the end
        route, answer = late[0]
        route.fulfill(response=answer)
        process.send_signal(signal.SIGCONT)
        expect(page.get_by_text("All 4,000 rows are done.").first).to_be_visible(timeout=120_000)
    values = page.evaluate("window.values")
    assert values == sorted(values)
    assert len(set(values)) >= 5, values
    said = page.evaluate("window.said")
    assert said[-1] == "All 4,000 rows are done."
    assert 3 <= len(said) <= 12, said
    expect(page.locator("[data-made]")).to_have_text("3,960")
    expect(page.locator("[data-refused]")).to_have_text("40")
    expect(page.locator("#import tbody tr")).to_have_count(10)
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download all of them").click()
    rows = list(csv.reader(Path(downloading.value.path()).read_text("utf-8-sig").splitlines()))
    assert len(rows) == 41
    assert rows[1][:1] == ["2"]
    page.get_by_role("link", name="Show the links").click()
    expect(page.locator(".links li")).to_have_count(20)
    assert complaints == []


def test_an_import_is_cancelled_while_it_runs(
    site: Site, open_browser: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    """The button stops it; what was made stays, and the page says so; the list has it."""
    page = open_browser()
    register(page, site)
    send(page, site, csv_file(tmp_path / "many.csv", 20_000))
    with worker(settings, tmp_path / "worker") as process:
        expect(page.locator("[data-made]")).not_to_have_text("0", timeout=110_000)
        process.send_signal(signal.SIGSTOP)  # or it could be done before the button is found
        try:
            with page.expect_request("**/cancel"):
                page.get_by_role("button", name="Cancel the import").click(no_wait_after=True)
        finally:
            process.send_signal(signal.SIGCONT)
        expect(page.get_by_text("The import was cancelled after")).to_be_visible()
    made = page.locator("[data-made]").inner_text()
    assert 0 < int(made.replace(",", "")) < 19_800
    page.get_by_role("link", name="Your imports").click()
    expect(page.locator(".imports .tag").first).to_have_text("cancelled")
    expect(page.locator(".imports .visits strong")).to_have_text(made)


def test_without_javascript_the_page_loads_itself_again(
    site: Site, open_browser: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Until the import has ended."""
    page = open_browser(java_script_enabled=False)
    register(page, site)
    send(page, site, csv_file(tmp_path / "few.csv", 200))
    with worker(settings, tmp_path / "worker"):
        expect(page.get_by_text("All 200 rows are done.")).to_be_visible(timeout=120_000)
    expect(page.locator("#progress")).to_have_count(0)


def test_pages_of_imports_fit_a_phone_and_have_contrast(
    site: Site, open_browser: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Waiting and done, the form, one with an error, the list: nothing scrolls sideways at 320 pixels."""
    page = open_browser(viewport={"width": 320, "height": 640})
    complaints = watch(page)
    register(page, site)
    page.goto(f"{site.url}/imports")
    look(page, "an empty list")
    page.goto(f"{site.url}/imports/new")
    look(page, "the form")
    send(page, site, csv_file(tmp_path / f"{'x' * 60}.csv", 300))
    look(page, "waiting")
    with worker(settings, tmp_path / "worker"):
        expect(page.get_by_text("All 300 rows are done.").first).to_be_visible(timeout=120_000)
    look(page, "done")
    page.goto(f"{site.url}/imports")
    look(page, "the list")
    page.goto(f"{site.url}/links")
    look(page, "the links")
    assert complaints == []
    page.goto(f"{site.url}/imports/new")
    page.get_by_role("button", name="Import").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Choose a file.")
    look(page, "the form with an error")
    alert.get_by_role("link").click()
    expect(page.locator("#file")).to_be_focused()
