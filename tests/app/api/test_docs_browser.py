"""``/api/docs`` in Chromium: it runs under the content security policy, and requests can be tried out."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from blockbuster import BlockBuster
from playwright.async_api import Browser, Page, async_playwright, expect

from app.accounts import service
from decant import Quart

from ...serving import serve
from ..conftest import PASSWORD

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]
expect.set_options(timeout=30_000)  # milliseconds


@pytest.fixture
async def browser(no_blocking: BlockBuster) -> AsyncIterator[Browser]:
    no_blocking.deactivate()  # Playwright starts its driver with calls that block
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


LOOKS: list[dict[str, Any]] = [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"forced_colors": "active"}]


async def test_a_link_is_made_from_the_documentation(app: Quart, browser: Browser) -> None:
    """With the session of whoever is logged in; the console shows no error and no violation of the policy."""
    async with app.app_context():
        await service.register("ada", PASSWORD)
    async with serve(app) as url:
        for number, look in enumerate(LOOKS):
            page = await (await browser.new_context(**look)).new_page()
            complaints: list[str] = []
            page.on("console", lambda message, told=complaints: told.append(message.text))
            page.on("pageerror", lambda error, told=complaints: told.append(str(error)))
            await page.goto(f"{url}/login?next=/api/docs")
            await page.fill("[name=username]", "ada")
            await page.fill("[name=password]", PASSWORD)
            await page.click("main button")
            await make_link(page, f"from-docs-{number}")
            assert complaints == [], look
            dark = await page.evaluate("document.documentElement.classList.contains('dark-mode')")
            assert dark == (look.get("color_scheme") == "dark")
            assert (await page.request.get(f"{url}/api/v1/links/from-docs-{number}")).status == 200
            await page.context.close()


async def make_link(page: Page, slug: str) -> None:
    """Try the operation out, and look at a model."""
    await expect(page.locator(".opblock")).to_have_count(15)
    operation = page.locator("#operations-links-create_link")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Try it out").click()
    await operation.locator("textarea").fill(f'{{"target": "https://example.com/", "slug": "{slug}"}}')
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table .response-col_status").last).to_have_text(re.compile("201"))
    await page.click(".models button")
    await expect(page.get_by_role("button", name="NewToken", exact=True)).to_be_visible()
