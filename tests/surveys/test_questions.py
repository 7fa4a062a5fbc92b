"""Routes, progress, hashes, and which version may follow which."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import UserError
from surveys.questionnaire_files import load_questionnaire
from surveys.questions import (
    Option,
    Question,
    Questionnaire,
    check_successor,
    content_hash,
    find_question,
    first_question,
    in_language,
    next_question,
    previous_question,
    progress,
    reachable,
    structure_hash,
)

NHANH = load_questionnaire("nhanh")
ROUTES = {
    "done": ("A0", "A1", "A2", "A4"),
    "waiting": ("A0", "A3", "A4"),
    "with": ("A0", "A4"),
}


def test_nhanh_says_what_the_reference_says() -> None:
    assert [question.key for question in NHANH.questions] == ["A0", "A1", "A2", "A3", "A4"]
    assert [question.kind for question in NHANH.questions] == [
        "choice",
        "scale",
        "choice",
        "scale",
        "comment",
    ]
    a1 = find_question(NHANH, "A1")
    assert [(o.key, o.score, o.valid) for o in a1.options] == [
        ("5", 5, True),
        ("4", 4, True),
        ("3", 3, True),
        ("2", 2, True),
        ("1", 1, True),
        ("na", None, False),
    ]
    assert in_language(a1.options[0].text, "km") == "ពេញចិត្តខ្លាំង"
    a2 = find_question(NHANH, "A2")
    assert [in_language(o.text, "km") for o in a2.options][:2] == ["Thời gian chờ", "Hướng dẫn giấy tờ"]
    assert "km" not in a2.options[0].text  # a native reader is to say
    for question in NHANH.questions:
        assert {"vi", "en", "km"} <= set(question.text)


@pytest.mark.parametrize(("answer", "route"), ROUTES.items())
def test_the_route_follows_the_first_answer(answer: str, route: tuple[str, ...]) -> None:
    answers = {"A0": answer}
    assert reachable(NHANH, answers) == route
    walked, question = ["A0"], next_question(NHANH, "A0", answers)
    while question is not None:
        walked.append(question.key)
        question = next_question(NHANH, question.key, answers)
    assert tuple(walked) == route
    back = [previous_question(NHANH, key, answers) for key in route]
    assert [question and question.key for question in back] == [None, *route[:-1]]
    assert [progress(NHANH, key, answers) for key in route] == [
        (n, len(route)) for n in range(1, len(route) + 1)
    ]


def test_before_the_first_answer_the_longest_way_is_promised() -> None:
    assert progress(NHANH, "A0", {}) == (1, 4)
    assert first_question(NHANH).key == "A0"


def test_an_answer_off_the_route_opens_nothing() -> None:
    scale = (Option("y", {"vi": "Có"}), Option("n", {"vi": "Không"}))
    three = Questionnaire(
        "k",
        {"vi": "t"},
        (
            Question("A", "choice", {"vi": "?"}, scale),
            Question("B", "choice", {"vi": "?"}, scale, {"A": ("y",)}),
            Question("C", "choice", {"vi": "?"}, scale, {"B": ("y",)}),
        ),
    )
    assert reachable(three, {"A": "y", "B": "y"}) == ("A", "B", "C")
    assert reachable(three, {"A": "n", "B": "y"}) == ("A",)


def test_an_unknown_key_is_told() -> None:
    for ask in (
        find_question,
        lambda q, key: next_question(q, key, {}),
        lambda q, key: previous_question(q, key, {}),
    ):
        with pytest.raises(UserError) as told:
            ask(NHANH, "B9")
        assert told.value.status == 404


@given(
    st.dictionaries(
        st.sampled_from(["A0", "A1", "A2", "A3", "A4", "X"]),
        st.sampled_from(["done", "waiting", "with", "5", "?", ""]),
    )
)
def test_the_route_is_in_order_and_ends(answers: dict[str, str]) -> None:
    route = reachable(NHANH, answers)
    assert list(route) == sorted(route)
    assert route[0] == "A0"
    assert route[-1] == "A4"


def test_a_text_falls_back_to_vietnamese_then_to_any() -> None:
    assert in_language({"vi": "a", "en": "b"}, "en") == "b"
    assert in_language({"vi": "a", "en": "b"}, "km") == "a"
    assert in_language({"en": "b"}, "km") == "b"
    assert in_language({}, "vi") == ""


def test_a_fixed_word_keeps_the_structure_and_changes_the_content() -> None:
    fixed = msgspec.structs.replace(NHANH, title={**NHANH.title, "en": "Short survey"})
    assert structure_hash(fixed) == structure_hash(NHANH)
    assert content_hash(fixed) != content_hash(NHANH)
    a1 = find_question(NHANH, "A1")
    fewer = msgspec.structs.replace(
        NHANH, questions=(NHANH.questions[0], msgspec.structs.replace(a1, options=a1.options[:5]))
    )
    assert structure_hash(fewer) != structure_hash(NHANH)
    turned = msgspec.structs.replace(NHANH, title=dict(reversed(NHANH.title.items())))
    assert content_hash(turned) == content_hash(NHANH)  # a database may turn the keys of a document about


def test_a_dropped_option_comes_back_as_itself_only() -> None:
    a2 = find_question(NHANH, "A2")

    def with_options(options: tuple[Option, ...]) -> Questionnaire:
        return Questionnaire("nhanh", NHANH.title, (msgspec.structs.replace(a2, options=options, when={}),))

    first, second = with_options(a2.options), with_options(a2.options[:3])
    check_successor(with_options(a2.options), [first, second])
    other = msgspec.structs.replace(a2.options[4], text={"vi": "Chỗ để xe"})
    with pytest.raises(UserError, match="Option ontime of A2"):
        check_successor(with_options((*a2.options[:3], other)), [first, second])
    check_successor(
        with_options((*a2.options[:3], msgspec.structs.replace(other, key="parking"))), [first, second]
    )
    reworded = msgspec.structs.replace(a2.options[0], text={"vi": "Thời gian phải chờ"})
    check_successor(with_options((reworded, *a2.options[1:])), [first])
