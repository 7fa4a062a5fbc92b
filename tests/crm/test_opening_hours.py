"""Opening hours, read and reckoned with."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.opening_hours import DAYS, in_spans, open_until, opens_next, parse_hours

FRIDAY = datetime(2026, 11, 20, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))
OFFICE = parse_hours(["mon-fri 07:30-11:30", "mon-fri 13:30-17:00", "sat 08:00-11:30"])


def at(clock: str, days: int = 0) -> datetime:
    hour, minute, *second = (int(part) for part in clock.split(":"))
    return FRIDAY + timedelta(days=days, hours=hour, minutes=minute, seconds=sum(second))


@pytest.mark.parametrize(
    ("now", "closes"),
    [
        (at("07:29"), at("07:29")),
        (at("07:30"), at("11:30")),
        (at("11:29:59"), at("11:30")),
        (at("11:30"), at("11:30")),  # the break
        (at("16:00"), at("17:00")),
        (at("23:59"), at("23:59")),
        (at("09:00", days=1), at("11:30", days=1)),
        (at("09:00", days=2), at("09:00", days=2)),  # Sunday
    ],
)
def test_it_closes_when_the_hours_say(now: datetime, closes: datetime) -> None:
    assert open_until(OFFICE, now) == closes


def test_without_hours_it_never_closes() -> None:
    assert open_until((), FRIDAY) is None


def test_hours_that_touch_are_one_stretch_across_midnight_and_the_week() -> None:
    night = parse_hours(["fri-sat 20:00-24:00", "sat-sun 00:00-03:00"])
    assert open_until(night, at("21:00")) == at("03:00", days=1)
    assert open_until(parse_hours(["mon-sun 00:00-24:00"]), FRIDAY) is None
    assert open_until(parse_hours(["sat-mon 00:00-24:00"]), at("10:00", days=1)) == at("00:00", days=4)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("8-17", "not of the form"),
        ("mon-fri 8:00-17:00", "not of the form"),
        ("mon-xyz 08:00-17:00", "not of the form"),
        ("mon 08:00-25:00", "no clock shows"),
        ("mon 08:60-09:00", "no clock shows"),
        ("mon 17:00-08:00", "closes before it opens"),
        ("mon 08:00-08:00", "closes before it opens"),
        ("mon 08:00-17:00; drop", "not of the form"),
    ],
)
def test_a_mistake_is_told(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_hours([line])


lines = st.builds(
    lambda first, last, opens, length: (
        f"{DAYS[first]}-{DAYS[last]} {opens // 60:02}:{opens % 60:02}-"
        f"{min(opens + length, 1440) // 60:02}:{min(opens + length, 1440) % 60:02}"
    ),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 1438),
    st.integers(1, 1440),
)


@given(st.lists(lines, min_size=1, max_size=5), st.integers(0, 7 * 1440 - 1))
def test_minute_by_minute_it_is_open_exactly_until_it_says(texts: list[str], minute: int) -> None:
    hours = parse_hours(texts)
    now = FRIDAY + timedelta(minutes=minute)

    def is_open(moment: datetime) -> bool:
        return open_until(hours, moment) != moment

    closes = open_until(hours, now)
    if closes is None:
        assert all(is_open(now + timedelta(hours=step)) for step in range(0, 170, 7))
        return
    assert not is_open(closes)
    step = now
    while step < closes:
        assert is_open(step)
        step += timedelta(minutes=max(1, (closes - now) // timedelta(minutes=40)))


@given(st.lists(lines, min_size=1, max_size=5), st.integers(0, 7 * 1440 - 1))
def test_it_opens_next_when_it_says_and_at_no_minute_before(texts: list[str], minute: int) -> None:
    hours = parse_hours(texts)
    now = FRIDAY + timedelta(minutes=minute)
    opens = opens_next(hours, now)
    assert opens is not None
    assert now < opens <= now + timedelta(days=7)
    assert open_until(hours, opens) != opens
    if open_until(hours, now) == now:
        step = now
        while step < opens:
            assert open_until(hours, step) == step
            step += timedelta(minutes=max(1, (opens - now) // timedelta(minutes=40)))


def test_what_opens_once_a_week_opens_next_week() -> None:
    hours = parse_hours(["fri 07:30-09:30"])
    assert opens_next(hours, at("09:30")) == at("07:30", days=7)
    assert opens_next(hours, at("07:30")) == at("07:30", days=7)


def test_without_hours_nothing_opens_next() -> None:
    assert opens_next((), FRIDAY) is None


def test_hours_are_read_out_by_days() -> None:
    hours = parse_hours(
        ["mon-fri 13:30-17:00", "mon-fri 07:00-11:30", "sat 08:00-24:00", "sat-mon 20:00-21:00"]
    )
    assert in_spans(hours) == [
        (0, 4, "07:00–11:30, 13:30–17:00"),
        (5, 5, "08:00–24:00"),
        (5, 0, "20:00–21:00"),
    ]
