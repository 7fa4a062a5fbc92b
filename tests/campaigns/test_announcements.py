"""The rules: when an announcement is shown, what it may hold, how it is rendered."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.announcements import (
    Announcement,
    Texts,
    body_html,
    check_draft,
    in_order,
    shown_on,
    state_on,
    text_in,
    tidy,
)
from crm.words import load_words

DAY = date(2026, 11, 20)
TEXTS = {"vi": {"title": "Nghỉ lễ", "body": "Trung tâm nghỉ."}, "en": {"title": "Holiday", "body": "Closed."}}


def make(
    id_: int = 1,
    starts: date = DAY,
    ends: date | None = None,
    *,
    urgent: bool = False,
    withdrawn: bool = False,
) -> Announcement:
    return Announcement(id_, "DEMO-P01", TEXTS, starts, ends, urgent, withdrawn)


@pytest.mark.parametrize(
    ("starts", "ends", "state"),
    [
        (20, None, "shown"),
        (20, 20, "shown"),
        (1, 20, "shown"),
        (21, None, "coming"),
        (1, 19, "past"),
    ],
)
def test_first_and_last_day_count(starts: int, ends: int | None, state: str) -> None:
    last = date(2026, 11, ends) if ends else None
    announcement = make(starts=date(2026, 11, starts), ends=last)
    assert state_on(announcement, DAY) == state
    assert shown_on(announcement, DAY) == (state == "shown")


def test_a_withdrawn_one_is_not_shown() -> None:
    assert state_on(make(withdrawn=True), DAY) == "withdrawn"


def test_urgent_ones_stand_first_then_the_newest_start() -> None:
    old, new = make(1, date(2026, 11, 1)), make(2, date(2026, 11, 10))
    same, urgent = make(3, date(2026, 11, 10)), make(4, date(2026, 10, 1), urgent=True)
    assert [a.id for a in in_order([old, new, same, urgent])] == [4, 3, 2, 1]


def test_a_missing_language_falls_back() -> None:
    assert text_in(TEXTS, "en") == ("en", "Holiday", "Closed.")
    assert text_in(TEXTS, "km") == ("vi", "Nghỉ lễ", "Trung tâm nghỉ.")
    assert text_in(TEXTS, "km", first="en")[0] == "en"
    only: Texts = {"en": TEXTS["en"]}
    assert text_in(only, "km")[0] == "en"


def test_bodies_are_paragraphs_lists_and_stress() -> None:
    html = body_html("Xin **chào**\nhàng hai\n\n- một\n- hai\n\n    thụt vào")
    assert html == (
        "<p>Xin <strong>chào</strong><br>\nhàng hai</p>\n"
        "<ul>\n<li>\n<p>một</p>\n</li>\n<li>\n<p>hai</p>\n<p>thụt vào</p>\n</li>\n</ul>\n"
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![x](http://evil.example/x.png)",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](//evil.example)",
        "[x](/staff)",
        "[x](http:javascript:alert(1))",
        '[x](https://a.vn "title\\" onclick=alert(1)")',
        "<https://a.vn/\"onmouseover='alert(1)'>",
        "# <b>h1</b>",
        "&lt;script&gt;",
    ],
)
def test_nothing_active_comes_out(hostile: str) -> None:
    html = body_html(hostile)
    for bad in (
        "<script",
        "<img",
        "<h1",
        "<b>",
        'href="/',
        'href="j',
        'href="d',
        "title=",
        'href="http:j',
    ):
        assert bad not in html.lower(), html
    assert not [part for part in html.split("<")[1:] if "onclick" in part.split(">")[0]]


def test_links_say_that_they_are_foreign() -> None:
    html = body_html("<https://dichvucong.gov.vn>")
    assert html == (
        '<p><a href="https://dichvucong.gov.vn" rel="noopener noreferrer nofollow">'
        "https://dichvucong.gov.vn</a></p>\n"
    )


@given(st.text(max_size=300))
def test_any_text_renders_without_an_unknown_tag(text: str) -> None:
    html = body_html(text)
    names = {part.split(">")[0].split(" ")[0].strip("/") for part in html.split("<")[1:]}
    assert names <= {"p", "br", "strong", "em", "ul", "ol", "li", "a", "blockquote", "hr"}


@given(st.text(max_size=300))
def test_tidy_text_can_be_stored_and_stays(text: str) -> None:
    for lines in (False, True):
        once = tidy(text, lines=lines)
        assert "\0" not in once
        assert tidy(once, lines=lines) == once
        once.encode()


FORM = {"title-vi": "Nghỉ lễ", "body-vi": "Trung tâm nghỉ.", "starts": "2026-11-20"}


def test_a_good_form_is_a_draft() -> None:
    form = {**FORM, "ends": "2026-11-22", "urgent": "on", "title-en": "", "body-en": " \r\n "}
    draft, problems = check_draft(form, ["vi", "en"])
    assert problems == []
    assert draft.texts == {"vi": TEXTS["vi"]}
    assert (draft.starts, draft.ends, draft.urgent) == (DAY, date(2026, 11, 22), True)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"title-vi": " "}, ["title-vi"]),
        ({"body-vi": "\x00"}, ["body-vi"]),
        ({"title-en": "Holiday"}, ["body-en"]),
        ({"body-en": "Closed."}, ["title-en"]),
        ({"title-vi": "ễ" * 121}, ["title-vi"]),
        ({"body-vi": "ễ" * 4001}, ["body-vi"]),
        ({"starts": ""}, ["starts"]),
        ({"starts": "2026-02-30"}, ["starts"]),
        ({"starts": "20/11/2026"}, ["starts"]),
        ({"starts": "0001-01-01"}, ["starts"]),
        ({"ends": "soon"}, ["ends"]),
        ({"ends": "2026-11-19"}, ["ends"]),
    ],
)
def test_each_mistake_is_told_at_its_field(change: dict[str, str], fields: list[str]) -> None:
    _, problems = check_draft(FORM | change, ["vi", "en"])
    assert [problem.field for problem in problems] == fields
    for problem in problems:
        assert problem.message.format(**problem.values)


def test_letters_are_counted_composed() -> None:
    form = FORM | {"title-vi": "e\u0302\u0303" * 120, "body-vi": "e\u0302\u0303" * 4000}
    draft, problems = check_draft(form, ["vi"])
    assert problems == []
    assert draft.texts["vi"]["title"] == "ễ" * 120


def test_every_problem_is_told_in_vietnamese_too() -> None:
    words = load_words()
    bad = {"title-vi": "x" * 121, "body-vi": "x" * 4001, "title-en": "x", "starts": "", "ends": "x"}
    wrong_order = {"body-en": "x", "starts": "2026-11-20", "ends": "2026-11-19"}
    problems = check_draft(bad, ["vi", "en"])[1] + check_draft(wrong_order, ["vi", "en"])[1]
    assert len({problem.message for problem in problems}) == 7
    for problem in problems:
        assert words.say("vi", problem.message, **problem.values) != problem.message.format(**problem.values)
