from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import UserError
from crm.tokens import LENGTH, read, sign

KEY = b"k" * 32
DAY = date(2026, 11, 21)


@given(st.uuids())
def test_a_token_is_read_back_that_day_and_the_next(response: UUID) -> None:
    token = sign(response, DAY, KEY)
    assert len(token) == LENGTH
    assert read(token, DAY, KEY) == response
    assert read(token, DAY + timedelta(days=1), KEY) == response


def test_it_is_too_old_on_the_third_day_and_unknown_under_another_key() -> None:
    token = sign(uuid4(), DAY, KEY)
    with pytest.raises(UserError, match="out of date"):
        read(token, DAY + timedelta(days=2), KEY)
    with pytest.raises(UserError, match="out of date"):
        read(token, DAY, b"other" * 6)


def test_a_single_changed_letter_is_noticed() -> None:
    token = sign(uuid4(), DAY, KEY)
    for position in range(LENGTH):
        letter = "A" if token[position] != "A" else "B"
        with pytest.raises(UserError):
            read(token[:position] + letter + token[position + 1 :], DAY, KEY)


@given(st.text(max_size=80))
def test_whatever_a_stranger_sends_is_refused_in_words(token: str) -> None:
    with pytest.raises(UserError):
        read(token, DAY, KEY)
