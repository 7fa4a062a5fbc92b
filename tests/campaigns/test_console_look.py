"""How the console looks to Chromium, and that a manager gets through it without script, on a small phone."""

import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from campaigns.console import ROUTES
from campaigns.samples import insert_samples
from crm.settings import Network, Settings
from crm.store import Store
from crm.web import SETTINGS
from tests.console_app import PASSWORD, Client, add_people, fill, make_console, open_client
from tests.crm.guest_browser import CHROMIUM, CONTRASTS, FLAGS

pytestmark = pytest.mark.browser

PAGES = ("/sign-in", "/announcements", "/announcements/new", "/announcements/1/edit", "/nowhere")
CONTROLS = "button, .button, summary, input:not([type=hidden]):not([type=checkbox]), select, textarea, nav a"


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Client]:
    await fill(store)
    await insert_samples(store, "DEMO-P01", date(2026, 11, 1))
    app = make_console(store, ROUTES, ("crm", "campaigns"))
    app[SETTINGS] = Settings(networks=(Network(name="guest"), Network(name="desks")))
    opened = await open_client(app)
    await add_people(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium (Debian: chromium) is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


async def open_page(chromium: Browser, client: Client, *, dark: bool = False, script: bool = True) -> Page:
    context = await chromium.new_context(
        base_url=str(client.make_url("/")),
        viewport={"width": 320, "height": 640},
        color_scheme="dark" if dark else "light",
        locale="vi-VN",
        java_script_enabled=script,
    )
    return await context.new_page()


async def sign_in(page: Page) -> None:
    await page.goto("/sign-in?next=/announcements")
    await page.fill("#name", "mai")
    await page.fill("#password", PASSWORD)
    await page.click("main button")
    await page.wait_for_url("**/announcements")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_pages_have_room_contrast_and_targets_at_320_px(
    chromium: Browser, client: Client, dark: bool
) -> None:
    page = await open_page(chromium, client, dark=dark)
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    for path in PAGES:
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
        texts = [ratio for ratio in await page.evaluate(CONTRASTS) if ratio[0] == "text"]
        assert texts
        assert [text for text in texts if text[2] < 7] == [], path
        for control in await page.locator(CONTROLS).all():
            box = await control.bounding_box()
            assert box is None or box["height"] >= 44, (path, await control.evaluate("e => e.outerHTML"))
        if path == "/sign-in":
            await sign_in(page)
    assert [line for line in troubles if "404" not in line] == [], "the page breaks its own policy"


async def test_a_manager_without_script_corrects_a_mistake_looks_saves_and_undoes(
    chromium: Browser, client: Client
) -> None:
    page = await open_page(chromium, client, script=False)
    await sign_in(page)
    await page.click("text=Soạn thông báo mới")
    await page.select_option("#venue", "DEMO-P01")
    await page.click("main button")
    await page.fill("#title-vi", "Cúp điện sáng thứ Ba")
    await page.fill("#ends", "2026-11-01")
    await page.click("button[value=save]")
    await page.click(".error-summary a[href='#body-vi']")
    assert page.url.endswith("#body-vi")
    await page.fill("#body-vi", "Từ **8 giờ** đến 10 giờ.")
    await page.fill("#ends", "2026-11-24")
    await page.click("button[value=preview]")
    assert await page.locator(".notice strong").inner_text() == "8 giờ"
    await page.click("button[value=save]")
    assert "Đã lưu “Cúp điện sáng thứ Ba”." in await page.locator("[role=status]").inner_text()
    await page.locator("article", has_text="Cúp điện").locator("button.danger").click()
    await page.click("text=Hoàn tác")
    await page.wait_for_url("**/announcements?state=shown&changed=6")
    assert await page.locator("article", has_text="Cúp điện").count() == 1


async def test_the_keyboard_reaches_the_content_first_and_focus_is_seen(
    chromium: Browser, client: Client
) -> None:
    page = await open_page(chromium, client)
    await page.goto("/sign-in")
    await page.keyboard.press("Tab")
    skip = page.locator(".skip")
    box = await skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    await page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    await page.keyboard.press("Tab")
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert await page.evaluate("document.activeElement.id") == "name"
    assert re.fullmatch(r"[3-9](\.\d+)?px", outline)
