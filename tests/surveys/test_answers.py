"""What is taken as an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import UserError
from surveys.answers import check_answer
from surveys.questionnaire_files import load_questionnaire
from surveys.questions import find_question

NHANH = load_questionnaire("nhanh")
A1, A4 = find_question(NHANH, "A1"), find_question(NHANH, "A4")


def test_an_option_is_its_key() -> None:
    assert check_answer(A1, "5") == "5"
    assert check_answer(A1, "na") == "na"


@pytest.mark.parametrize(
    "raw", ["", "6", "5 ", "５", "Rất hài lòng", "5" * 10_000, "\0", "'; DROP TABLE response"]
)
def test_anything_else_is_refused(raw: str) -> None:
    with pytest.raises(UserError) as told:
        check_answer(A1, raw)
    assert told.value.status == 400


def test_a_comment_is_cleaned_and_masked() -> None:
    assert check_answer(A4, "  Tốt\r\n\r\n\r\n\r\nlắm \x00\x1b[31m \u202egọi 0912 345 678 ") == (
        "Tốt\n\nlắm [31m gọi [số điện thoại đã ẩn]"
    )
    assert check_answer(A4, " \n\t ") == ""
    assert check_answer(A4, "tô\u0301t") == "tốt"


def test_a_comment_may_be_so_long_and_no_longer() -> None:
    assert check_answer(A4, "ố" * 1000) == "ố" * 1000
    with pytest.raises(UserError, match="1000 letters"):
        check_answer(A4, "a" * 1001)


@given(st.text(max_size=300))
def test_whatever_is_typed_can_be_stored(raw: str) -> None:
    kept = check_answer(A4, raw)
    kept.encode("utf-8")
    assert "\0" not in kept
    assert check_answer(A4, kept) == kept
