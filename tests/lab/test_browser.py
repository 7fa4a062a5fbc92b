"""Chromium inside a phone's namespace: from a page of the Internet through the portal back to that page.

Screenshots stay in ``artefacts/`` to be looked at.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, Page, sync_playwright

from tests.lab.conftest import NewPhone
from tests.lab.gateway import NAME, PROJECT
from tests.lab.journey import WANTED, is_online
from tests.lab.phone import Phone
from tests.lab.venue import Venue

pytestmark = [pytest.mark.lab, pytest.mark.browser]

CHROMIUM = "/usr/bin/chromium"
ARTEFACTS = PROJECT / "artefacts"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FINGER = 44
"""CSS pixels that a target measures at least in both directions (WCAG 2.2, 2.5.5); the design asks for 48."""


@pytest.fixture(autouse=True)
def chromium() -> None:
    """Skip where there is no Chromium."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"Chromium is not installed at {CHROMIUM}; on Debian: apt-get install chromium")


@contextmanager
def browser_of(
    phone: Phone, folder: Path, venue: Venue, *, language: str, script: bool = True
) -> Iterator[Page]:
    """A page of a mobile Chromium that runs inside *phone* and trusts what the venue's authority has issued."""
    wrapper = folder / "chromium"
    inside = " ".join(phone.namespace.command(CHROMIUM))
    wrapper.write_text(f'#!/bin/sh\nexec {inside} "$@"\n')
    wrapper.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=wrapper,
            timeout=120_000,
            args=[*FLAGS, f"--ignore-certificate-errors-spki-list={venue.authority.pins}"],
        )
        context = browser.new_context(
            viewport={"width": 360, "height": 740},
            device_scale_factor=2,
            is_mobile=True,
            has_touch=True,
            locale=language,
            java_script_enabled=script,
        )
        context.set_default_timeout(60_000)
        yield context.new_page()
        browser.close()


@pytest.mark.parametrize(
    ("language", "script"),
    [("vi-VN", True), ("en-GB", True), ("vi-VN", False)],
    ids=["vi", "en", "vi-without-script"],
)
def test_from_a_page_through_the_portal_to_that_page(
    phone: Phone, venue: Venue, tmp_path: Path, request: pytest.FixtureRequest, language: str, *, script: bool
) -> None:
    label = request.node.callspec.id
    asked: list[str] = []
    with browser_of(phone, tmp_path, venue, language=language, script=script) as page:
        page.on("request", lambda each: asked.append(urlsplit(each.url).hostname or ""))
        page.goto(WANTED)
        assert page.url == f"https://{NAME}/"
        shoot(page, f"{label}-1-first")
        for number, answer in enumerate(("done", "4", "nothing"), 2):
            assert page.locator("html").get_attribute("lang") == language[:2]
            tap(page, f"button[value='{answer}']")
            assert "/survey/" in page.url
            shoot(page, f"{label}-{number}-question")
        page.locator("textarea").fill(
            "Rất tốt, cảm ơn!" if language.startswith("vi") else "Very good, thank you!"
        )
        tap(page, "form.ask button")
        assert urlsplit(page.url).path == f"/{language[:2]}/online"
        shoot(page, f"{label}-5-online")
        assert is_online(phone)
        assert is_online(phone, family=6)
        tap(page, f"a[href='{WANTED}']")
        assert page.url == WANTED
        assert page.locator("h1").text_content() == "You reached neverssl.example"
    assert set(asked) == {"neverssl.example", NAME}, "a guest page asks nobody but the portal"


def test_skip_in_the_browser(phone: Phone, venue: Venue, tmp_path: Path) -> None:
    with browser_of(phone, tmp_path, venue, language="vi-VN") as page:
        page.goto(WANTED)
        tap(page, "form.skip button")
        assert urlsplit(page.url).path == "/vi/online"
        shoot(page, "skip-online")
        tap(page, f"a[href='{WANTED}']")
        assert page.locator("h1").text_content() == "You reached neverssl.example"
    assert is_online(phone)


def test_the_page_in_the_dark_and_with_large_text(phone: Phone, venue: Venue, tmp_path: Path) -> None:
    with browser_of(phone, tmp_path, venue, language="vi-VN") as page:
        page.emulate_media(color_scheme="dark")
        page.goto(WANTED)
        shoot(page, "dark-first")
        page.set_viewport_size({"width": 320, "height": 568})
        page.emulate_media(color_scheme="light")
        shoot(page, "narrow-first")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, "nothing scrolls sideways at 320 px"


def test_a_browser_with_a_page_open_before_the_grant_goes_on_by_itself(
    new_phone: NewPhone, venue: Venue, tmp_path: Path
) -> None:
    """An https page fails at once, not after a minute; after the grant the same tab opens it."""
    phone = new_phone()
    with browser_of(phone, tmp_path, venue, language="en-GB") as page:
        with pytest.raises(Error, match=r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET"):
            page.goto("https://www.google.com/")
        page.wait_for_url("chrome-error://chromewebdata/")  # Chromium's own page about it
        page.goto(WANTED)
        tap(page, "form.skip button")
        page.goto("https://www.google.com/")
        assert page.locator("h1").text_content() == "You reached www.google.com"


def tap(page: Page, selector: str) -> None:
    """Tap the one visible target with a finger, for which it must be large enough; wait for what follows."""
    target = page.locator(selector).filter(visible=True)
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= FINGER, (selector, box)
    with page.expect_navigation():
        target.tap()


def shoot(page: Page, name: str) -> None:
    """Keep what the phone shows, and the whole page."""
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")
    page.screenshot(path=ARTEFACTS / f"{name}-whole.png", full_page=True)
