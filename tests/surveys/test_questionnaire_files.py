"""A mistake in a questionnaire file is told with its file, its line and what was expected."""

import pytest

from crm.errors import SetupError
from surveys.questionnaire_files import load_questionnaire, parse_questionnaire
from surveys.questions import content_hash

GOOD = """\
key = "k"
title = { vi = "Tên" }

[[scale.s]]
key = "5"
score = 5
text.vi = "Tốt"

[[scale.s]]
key = "na"
valid = false
text.vi = "Không ý kiến"

[[question]]
key = "Q1"
kind = "choice"
text.vi = "Xong chưa?"

[[question.option]]
key = "yes"
text.vi = "Rồi"

[[question.option]]
key = "no"
text.vi = "Chưa"

[[question]]
key = "Q2"
kind = "scale"
scale = "s"
when = { Q1 = ["yes"] }
text.vi = "Thế nào?"
"""


def test_a_good_file_is_read() -> None:
    questionnaire = parse_questionnaire(GOOD, "k.toml")
    assert questionnaire.questions[1].when == {"Q1": ("yes",)}
    assert [option.key for option in questionnaire.questions[1].options] == ["5", "na"]
    assert content_hash(questionnaire) == content_hash(parse_questionnaire(GOOD, "other name"))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('key = "k"\n', 'key = "k k"\n', 1, "letters, digits or _"),
        ('key = "k"\n', 'key = "k"\ncolour = 1\n', 2, "no such key"),
        ('title = { vi = "Tên" }', 'title = { vi = " " }', 2, "at least one language"),
        ('title = { vi = "Tên" }', 'title = { vietnamese = "Tên" }', 2, "not a language code"),
        ("score = 5", "score = 6", 6, "1 to 5"),
        ("score = 5", 'score = "5"', 6, "int"),
        ('kind = "choice"', 'kind = "chioce"', 16, "Invalid enum value"),
        ('kind = "choice"', 'kind = "comment"', 16, "no options"),
        ('kind = "choice"\n', "", 14, "kind"),
        ('kind = "choice"\n', 'kind = "choice"\nmax_length = 5000\n', 17, "1 to 1000"),
        ('key = "no"', 'key = "yes"', 24, "stands twice"),
        ('key = "Q2"', 'key = "Q1"', 28, "stands twice"),
        ('scale = "s"', 'scale = "t"', 30, "of this file: s"),
        ('Q1 = ["yes"]', 'Q2 = ["yes"]', 31, "earlier question"),
        ('Q1 = ["yes"]', 'Q1 = ["maybe"]', 31, "options of Q1: no, yes"),
        ('Q1 = ["yes"]', "Q1 = []", 31, "options of Q1"),
        ('text.vi = "Chưa"\n', 'text.vi = "Chưa"\nsize = 3\n', 26, "no such key"),
        ('text.vi = "Chưa"', "", 23, "text"),
        ('scale = "s"\n', "", 27, "2 to 12 options"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    with pytest.raises(SetupError) as told:
        parse_questionnaire(GOOD.replace(old, new, 1), "k.toml")
    assert str(told.value).startswith(f"k.toml:{line}: ")
    assert words in str(told.value)


def test_what_is_no_toml_is_told() -> None:
    with pytest.raises(SetupError, match=r"k.toml: not TOML: .*line 2"):
        parse_questionnaire("key = 'k'\nkey key", "k.toml")


def test_no_question_is_none() -> None:
    with pytest.raises(SetupError, match="1 to 60 questions"):
        parse_questionnaire('key = "k"\ntitle.vi = "t"\nquestion = []', "k.toml")


def test_only_shipped_names_are_opened() -> None:
    assert load_questionnaire("nhanh").key == "nhanh"
    assert [question.factor for question in load_questionnaire("chuan").questions] == [
        "1",
        "2",
        "3",
        "4",
        "5",
    ]
    for name in ("another", "../settings", "", "nhanh.toml"):
        with pytest.raises(SetupError, match="there are: chuan, nhanh"):
            load_questionnaire(name)
