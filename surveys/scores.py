"""Scores: top-two-box, converted mean, points per dossier. Rules only, no I/O.

Vietnam's official methods differ and change, so a score is never code for a law but a versioned template whose id
every report names; a changed method is a new template beside the old one. The formula of SIPAS has not been published
in a form we could read: the two percentages here are the two usual readings of it. Arithmetic is exact; figures are
rounded once, at the end, half up: percentages to two decimals, points to one.
"""

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from surveys.questions import Texts

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Template(msgspec.Struct, frozen=True):
    """How options become figures.

    *top*: the scores that count as satisfied. *mean*: "share" is sum(k*n_k) / (highest*n), so that 5 levels give
    20 to 100; "from_zero" is (mean - lowest) / (highest - lowest), 0 to 100; "points" is the plain mean.
    """

    id: str
    names: Texts
    basis: str
    lowest: int
    highest: int
    top: tuple[int, ...]
    mean: Literal["share", "from_zero", "points"]


TEMPLATES = {
    template.id: template
    for template in (
        Template(
            "levels5-share/1",
            {"vi": "5 mức, điểm trung bình quy đổi 20–100", "en": "5 levels, converted mean 20–100"},
            "satisfied: levels 4 and 5; mean: sum(k*n_k) / (5*n)",
            1,
            5,
            (4, 5),
            "share",
        ),
        Template(
            "levels5-from-zero/1",
            {"vi": "5 mức, điểm trung bình quy đổi 0–100", "en": "5 levels, converted mean 0–100"},
            "satisfied: levels 4 and 5; mean: (mean - 1) / 4",
            1,
            5,
            (4, 5),
            "from_zero",
        ),
        Template(
            "nd61-2018/1",
            {"vi": "NĐ 61/2018 (tham khảo), điểm 2/1/0", "en": "Decree 61/2018 (reference), points 2/1/0"},
            "Circular 01/2018/TT-VPCP article 15: sum of points / dossiers",
            0,
            2,
            (1, 2),
            "points",
        ),
    )
}
DEFAULT = TEMPLATES["levels5-share/1"]


class Share(msgspec.Struct, frozen=True):
    """A percentage with its 95 % interval, two decimals."""

    percent: Decimal
    low: Decimal
    high: Decimal


def share(part: int, n: int) -> Share:
    """*part* of *n* (n > 0) in percent, with the Wilson interval."""
    low, high = wilson(part, n)
    return Share(
        percent(part, n), round_half_up(Decimal(low * 100), 2), round_half_up(Decimal(high * 100), 2)
    )


def wilson(part: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927), as fractions; sound for small n and near 0 and 1."""
    p, square = part / n, Z95 * Z95
    centre = p + square / (2 * n)
    spread = Z95 * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + square / n)), min(1.0, (centre + spread) / (1 + square / n))


def top_count(counts: Mapping[int, int], template: Template = DEFAULT) -> int:
    """How many of *counts* (score -> n) are satisfied."""
    return sum(n for score, n in counts.items() if score in template.top)


def converted_mean(counts: Mapping[int, int], template: Template = DEFAULT) -> Decimal | None:
    """The mean of *counts* (score -> n, only valid answers) as *template* converts it; None without answers."""
    return mean_of(sum(score * n for score, n in counts.items()), sum(counts.values()), template)


def mean_of(total: int, n: int, template: Template = DEFAULT) -> Decimal | None:
    """The converted mean of *n* answers whose scores sum up to *total*."""
    if not n:
        return None
    mean = Fraction(total, n)
    if template.mean == "points":
        return round_half_up(mean, 1)
    if template.mean == "share":
        return round_half_up(mean / template.highest * 100, 2)
    return round_half_up((mean - template.lowest) / (template.highest - template.lowest) * 100, 2)


def percent(part: int, n: int) -> Decimal:
    """*part* of *n* in percent, two decimals."""
    return round_half_up(Fraction(part, n) * 100, 2)


def round_half_up(value: Fraction | Decimal, places: int) -> Decimal:
    """*value* (not negative) with *places* decimals; a five goes up, as Vietnamese offices round."""
    scale = 10**places
    if isinstance(value, Fraction):
        return Decimal(math.floor(value * scale + Fraction(1, 2))).scaleb(-places)
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
