"""How the guest pages look to Chromium: sizes, contrast, room, focus, and that nothing else is asked for."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from surveys.questionnaire_files import load_questionnaire
from tests.crm.guest_browser import (
    CHROMIUM,
    CONTRASTS,
    DOUBLE,
    FLAGS,
    NARROW,
    OUT_OF_ROOM,
    RINGS,
    TARGETS,
    Portal,
    phone,
    show,
)
from tests.crm.guest_pages import ACCENT, TOKEN, guest_pages, question_page

MANY_COLOURS = ("home-urgent", "scale-again", "comment-error", "online")
"""Between them they show every colour there is."""

PAGES = sorted(guest_pages("vi"))
QUESTIONNAIRES = Path(__file__).parents[2] / "surveys" / "questionnaires"
FORBIDDEN = r"<script|<img|<iframe|<link rel=.?style|style=|\son\w+=|target=|type=.?file|@import|url\(|{{|{%"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium with the letters it comes with."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium (Debian: chromium) is not installed")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser,
    ):
        yield browser


@pytest.fixture
def portal() -> Iterator[Portal]:
    """A portal with one page."""
    server = Portal()
    yield server
    server.close()


@pytest.mark.parametrize("language", ["vi", "en", "km"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_document_in_its_language(name: str, language: str):
    html = guest_pages(language)[name]
    assert f'<html lang="{language}">' in html
    assert html.count("<h1>") == html.count("<main>") == 1
    assert re.search(r"<title>[^<]+</title>", html)
    for code in ("vi", "en", "km"):
        assert re.search(rf'href="/{code}[^"]*" lang="{code}"', html)
    assert html.count('aria-current="true"') == 1
    assert re.findall(FORBIDDEN, html) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_small(name: str):
    size = len(gzip.compress(guest_pages("vi")[name].encode()))
    assert size <= 6_000, "the limit for the first page is 14 kB; this is the aim"


def test_what_was_typed_comes_back_as_text_beside_the_error():
    html = guest_pages("en")["comment-error"]
    assert "thêm ghế ngồi. &lt;b&gt;" in html
    assert "Please shorten your comment to 1000 letters." in html
    assert "<title>Error:" in html


def test_every_drawing_that_a_questionnaire_names_is_there_and_no_face_looks_like_another():
    drawn: dict[str, str] = {}
    for path in QUESTIONNAIRES.glob("*.toml"):
        for question in load_questionnaire(path.stem).questions:
            html = question_page(path.stem, question.key)
            for option in (each for each in question.options if each.face):
                row = re.search(rf'<button[^>]* value="{option.key}">.*?</button>', html, re.DOTALL)
                assert row is not None
                picture = re.search(r"<svg.*?</svg>", row[0])
                assert picture is not None, f"{path.name}: no drawing is called {option.face!r}"
                drawn[option.face] = picture[0]
    assert len({drawn[face] for face in "54321"}) == 5


@pytest.mark.browser
def test_a_page_asks_for_nothing_else_and_keeps_its_policy(chromium: Browser, portal: Portal):
    complaints: list[str] = []
    with phone(chromium) as context:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        for name, html in guest_pages("vi").items():
            portal.page = html
            page.goto(portal.url + name)
            assert (
                page.locator("header").evaluate("each => getComputedStyle(each).borderBottomWidth") == "4px"
            )
            assert portal.asked == [f"/{name}"]
            portal.asked.clear()
        page.wait_for_load_state("networkidle")
    assert portal.asked == []
    assert complaints == []


@pytest.mark.browser
def test_one_tap_answers_and_skip_posts_the_token_without_script(chromium: Browser, portal: Portal):
    portal.page = guest_pages("vi")["home"]
    with phone(chromium, java_script_enabled=False) as context:
        page = context.new_page()
        for tap in ("Đang chờ", "Bỏ qua, vào mạng ngay"):
            page.goto(portal.url)
            with page.expect_navigation():
                page.get_by_role("button", name=tap).tap()
    assert portal.forms == [
        ("/vi/survey/A0", {"r": [TOKEN], "value": ["waiting"]}),
        ("/vi/skip", {"r": [TOKEN]}),
    ]


@pytest.mark.browser
def test_a_comment_is_sent_with_its_label(chromium: Browser, portal: Portal):
    portal.page = guest_pages("en")["comment"]
    with phone(chromium) as context:
        page = context.new_page()
        page.goto(portal.url)
        page.get_by_label("Any other comments?").fill("Chờ lâu quá")
        with page.expect_navigation():
            page.get_by_role("button", name="Send").press("Enter")
    assert portal.forms == [("/en/survey/A4", {"r": [TOKEN], "value": ["Chờ lâu quá"]})]


@pytest.mark.browser
@pytest.mark.parametrize("language", ["vi", "en", "km"])
def test_everything_to_tap_is_large(chromium: Browser, language: str):
    with phone(chromium) as context:
        page = context.new_page()
        for name, html in guest_pages(language).items():
            show(page, html)
            found = page.evaluate(TARGETS)
            assert len(found) >= 3, name  # the tongues at least
            assert [each for each in found if each[1] < 48 or each[2] < each[3]] == [], name


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("accent", [ACCENT, "#ffd400", "#c8102e", "#808080", "#ffffff", "#000000"])
def test_text_has_contrast_7_and_edges_3(chromium: Browser, accent: str, scheme: str):
    with phone(chromium, color_scheme=scheme) as context:
        page = context.new_page()
        for name, html in guest_pages("vi", accent).items():
            if accent != ACCENT and name not in MANY_COLOURS:
                continue
            show(page, html)
            found = page.evaluate(CONTRASTS)
            assert {kind for kind, _, _ in found} >= {"text", "edge", "line"}
            poor = [each for each in found if each[2] < (7 if each[0] == "text" else 3)]
            assert poor == [], name


@pytest.mark.browser
@pytest.mark.parametrize("letters", ["usual", "double"])
def test_nothing_is_wider_than_a_narrow_phone(chromium: Browser, letters: str):
    flags = [*FLAGS, DOUBLE] if letters == "double" else FLAGS
    with (
        chromium.browser_type.launch(executable_path=CHROMIUM, args=flags) as browser,
        phone(browser, viewport=NARROW) as context,
    ):
        page = context.new_page()
        for language in ("vi", "en", "km"):
            for name, html in guest_pages(language).items():
                show(page, html)
                assert letters_of(page) == ("38px" if letters == "double" else "19px")
                assert page.evaluate(OUT_OF_ROOM) == [], (language, name)


def letters_of(page: Page) -> str:
    size: str = page.evaluate("getComputedStyle(document.body).fontSize")
    return size


@pytest.mark.browser
@pytest.mark.parametrize("name", ["home", "home-urgent", "scale", "comment"])
def test_skip_is_seen_without_scrolling(chromium: Browser, name: str):
    with phone(chromium) as context:
        page = context.new_page()
        show(page, guest_pages("vi")[name])
        box = page.locator(".skip button").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 740


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_focus_is_seen_on_everything(chromium: Browser, scheme: str):
    with phone(chromium, color_scheme=scheme) as context:
        page = context.new_page()
        for name, html in guest_pages("vi").items():
            show(page, html)
            rings = page.evaluate(RINGS)
            assert len(rings) >= 3, name
            for what, ring in rings:
                assert "rgb(255, 221, 0)" in ring, (name, what)
                assert "rgb(11, 12, 12)" in ring, (name, what)


@pytest.mark.browser
def test_nothing_moves(chromium: Browser):
    moving = """[...document.querySelectorAll('*')].filter(each => {
        const style = getComputedStyle(each);
        return style.animationName !== 'none' || style.transitionDuration !== '0s';
    }).length"""
    with phone(chromium) as context:
        page = context.new_page()
        for name, html in guest_pages("vi").items():
            show(page, html)
            assert page.evaluate(moving) == 0, name


@pytest.mark.browser
def test_khmer_has_room_between_lines_and_none_between_letters(chromium: Browser):
    tight = """[...document.querySelectorAll('body *')].filter(each => {
        const style = getComputedStyle(each);
        return each.checkVisibility() && !each.closest('svg') && each.textContent.trim() &&
            (parseFloat(style.lineHeight) / parseFloat(style.fontSize) < 1.7 || style.letterSpacing !== 'normal');
    }).map(each => each.outerHTML.slice(0, 80))"""
    with phone(chromium) as context:
        page = context.new_page()
        for name, html in guest_pages("km").items():
            show(page, html)
            assert page.evaluate(tight) == [], name


@pytest.mark.browser
def test_the_rules_print_without_buttons(chromium: Browser):
    with phone(chromium) as context:
        page = context.new_page()
        show(page, guest_pages("vi")["rules"])
        page.emulate_media(media="print")
        assert page.locator("article li").first.is_visible()
        assert page.locator("nav, .big, .back").locator("visible=true").count() == 0
