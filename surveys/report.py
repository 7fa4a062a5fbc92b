"""A report as data: what the page shows and the files hold. Everything in it may leave; None: not enough data."""

from datetime import date
from decimal import Decimal

import msgspec

from surveys.questions import Kind, Texts
from surveys.scores import Share


class OptionResult(msgspec.Struct, frozen=True):
    """How often one option was chosen; *percent* is of the valid answers, of all answers for "no opinion"."""

    key: str
    texts: Texts
    face: str
    n: int | None
    percent: Decimal | None


class QuestionResult(msgspec.Struct, frozen=True):
    """One closed question: *n* answers, *n_valid* of them with an opinion."""

    questionnaire: str
    key: str
    kind: Kind
    texts: Texts
    factor: str
    nd61_item: str
    n: int | None
    n_valid: int | None
    options: tuple[OptionResult, ...]
    satisfied: int | None  # answers in the top two boxes; scales only
    score_sum: int | None
    top_two: Share | None  # satisfied, of the valid answers; scales only
    mean: Decimal | None  # converted as the report's template says; scales only

    @property
    def withheld(self) -> bool:
        """Whether anything of this question may not leave."""
        headline = (self.top_two, self.mean) if self.kind == "scale" and self.n_valid != 0 else ()
        return any(part is None for part in (self.n, self.n_valid, *(o.n for o in self.options), *headline))


class Funnel(msgspec.Struct, frozen=True):
    """From the portal page to the last question; *rate*: first answers of pages shown, percent."""

    shown: int
    started: int | None
    completed: int | None
    skipped: int
    rate: Decimal | None


class Month(msgspec.Struct, frozen=True):
    """The headline question in one month (or the part of it that the period covers)."""

    month: date
    n: int | None
    top_two: Share | None


class Day(msgspec.Struct, frozen=True):
    """One day's portal pages and first answers."""

    day: date
    shown: int
    started: int | None


class Comment(msgspec.Struct, frozen=True):
    """A comment as it was stored, masked, and the month it was left in.

    The day stays here: at a small centre it tells who was there.
    """

    month: date
    text: str


class Version(msgspec.Struct, frozen=True):
    """A questionnaire version that was asked in the period."""

    questionnaire: str
    number: int
    published: date


class VenueResult(msgspec.Struct, frozen=True):
    """Everything about one centre; *enough* is False when fewer than 5 people answered anything."""

    code: str
    names: Texts
    enough: bool
    channels: tuple[str, ...]
    versions: tuple[Version, ...]
    funnel: Funnel
    headline: str  # the key of the question whose figures stand for the whole; "" when there is none
    change: Decimal | None  # of its satisfied share against the period before, in percentage points
    questions: tuple[QuestionResult, ...]
    trend: tuple[Month, ...]
    days: tuple[Day, ...]
    comments: tuple[Comment, ...]

    @property
    def overall(self) -> QuestionResult | None:
        """The headline question."""
        return next((question for question in self.questions if question.key == self.headline), None)


class Total(msgspec.Struct, frozen=True):
    """The sum of those centres' rows whose satisfied share is shown: nothing that is not printed above it."""

    venues: int
    shown: int
    started: int | None
    rate: Decimal | None
    n_valid: int
    cells: dict[str, int | None]
    top_two: Share
    mean: Decimal | None


class Report(msgspec.Struct, frozen=True):
    """What citizens answered at *venues* from *first* to *last* (local days, both included)."""

    first: date
    last: date
    made: date
    template: str  # id of the scoring template
    demo: bool  # holds synthetic answers
    whole_months: bool
    venues: tuple[VenueResult, ...]
    total: Total | None
