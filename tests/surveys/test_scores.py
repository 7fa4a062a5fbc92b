"""Figures against a statistics library and against hand-computed ones."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from surveys.scores import TEMPLATES, converted_mean, percent, round_half_up, share, top_count, wilson


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_is_wilsons(n: int, fraction: float) -> None:
    part = round(fraction * n)
    low, high = proportion_confint(part, n, alpha=0.05, method="wilson")
    assert wilson(part, n) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-9)


def test_a_known_table() -> None:
    counts = {5: 46, 4: 38, 3: 10, 2: 4, 1: 2}
    assert top_count(counts) == 84
    assert converted_mean(counts) == Decimal("84.40")  # (230+152+30+8+2) / 500
    assert converted_mean(counts, TEMPLATES["levels5-from-zero/1"]) == Decimal("80.50")
    assert share(84, 100).percent == Decimal("84.00")
    assert str(share(1, 3).percent) == "33.33"


def test_points_per_dossier_have_one_decimal() -> None:
    assert converted_mean({2: 1, 1: 2, 0: 1}, TEMPLATES["nd61-2018/1"]) == Decimal("1.0")
    assert str(converted_mean({2: 1, 1: 19}, TEMPLATES["nd61-2018/1"])) == "1.1"  # 1.05 goes up


def test_a_five_goes_up() -> None:
    assert percent(1, 16) == Decimal("6.25")
    assert percent(1, 800) == Decimal("0.13")  # 0.125: round() would say 0.12
    assert round_half_up(Decimal("2.675"), 2) == Decimal("2.68")


def test_nobody_answered() -> None:
    assert converted_mean({5: 0, 4: 0}) is None


@given(st.dictionaries(st.sampled_from([1, 2, 3, 4, 5]), st.integers(0, 500), min_size=5))
def test_the_mean_stays_on_its_scale(counts: dict[int, int]) -> None:
    mean = converted_mean(counts)
    if sum(counts.values()):
        assert mean is not None
        assert Decimal(20) <= mean <= Decimal(100)
