"""From counts to the figures of a report. Rules only, no I/O; what may leave is decided in `surveys.suppression`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

from surveys.questions import Question, Questionnaire
from surveys.report import Day, Funnel, Month, OptionResult, QuestionResult, Total, VenueResult
from surveys.scores import DEFAULT, mean_of, percent, share
from surveys.suppression import Cell, guard, guard_funnel, guard_rows, is_small

Counts = Mapping[tuple[date, str, str], int]
"""(day, question, value) -> n, of one questionnaire at one venue"""
Steps = Mapping[tuple[date, str], int]
"""(day, step) -> n"""

HEADLINE = "overall"
"""The factor of the question whose figures stand for the whole."""


def merged_questions(versions: Sequence[Questionnaire]) -> list[Question]:
    """All closed questions of *versions* (newest last): as the newest words them, dropped ones and options after."""
    found: dict[str, Question] = {}
    options: dict[str, dict[str, Question]] = {}
    for version in reversed(versions):
        for question in version.questions:
            if question.kind == "comment":
                continue
            found.setdefault(question.key, question)
            for option in question.options:
                options.setdefault(question.key, {}).setdefault(option.key, question)
    return [_with_options(question, options[key]) for key, question in found.items()]


def _with_options(question: Question, sources: Mapping[str, Question]) -> Question:
    options = [option for key, source in sources.items() for option in source.options if option.key == key]
    return Question(
        question.key,
        question.kind,
        question.text,
        tuple(options),
        question.when,
        question.factor,
        question.nd61_item,
    )


def headline_question(questions: Iterable[Question]) -> Question | None:
    """The question whose figures stand for the whole: the factor "overall", else the first scale."""
    scales = [question for question in questions if question.kind == "scale"]
    return next((q for q in scales if q.factor == HEADLINE), scales[0] if scales else None)


def sum_values(counts: Counts, question: str) -> Counter[str]:
    """Value -> n of *question*."""
    found: Counter[str] = Counter()
    for (_, key, value), n in counts.items():
        if key == question:
            found[value] += n
    return found


def question_result(questionnaire: str, question: Question, counts: Mapping[str, int]) -> QuestionResult:
    """The figures of *question*, whose options were chosen *counts* times."""
    top = DEFAULT.top if question.kind == "scale" else ()
    guarded = guard([Cell(o.key, counts.get(o.key, 0), o.score, o.valid) for o in question.options], top)
    options = []
    for option in question.options:
        n, base = guarded.cells[option.key], guarded.n_valid if option.valid else guarded.n
        options.append(
            OptionResult(
                option.key, option.text, option.face, n, percent(n, base) if n is not None and base else None
            )
        )
    return QuestionResult(
        questionnaire,
        question.key,
        question.kind,
        question.text,
        question.factor,
        question.nd61_item,
        guarded.n,
        guarded.n_valid,
        tuple(options),
        guarded.top,
        guarded.total,
        share(guarded.top, guarded.n_valid) if guarded.top is not None and guarded.n_valid else None,
        mean_of(guarded.total, guarded.n_valid) if guarded.total is not None and guarded.n_valid else None,
    )


def funnel_result(steps: Steps) -> Funnel:
    """The funnel of *steps*."""
    sums: Counter[str] = Counter()
    for (_, step), n in steps.items():
        sums[step] += n
    guarded = guard_funnel(sums)
    shown, started = guarded["shown"] or 0, guarded["started"]
    rate = percent(started, shown) if started is not None and shown else None
    return Funnel(shown, started, guarded["completed"], guarded["skipped"] or 0, rate)


def trend_result(
    question: Question, counts: Counts, total: QuestionResult, first: date, last: date
) -> tuple[Month, ...]:
    """The satisfied share of the headline *question* month by month; nothing when its *total* is withheld."""
    if total.top_two is None:
        return ()
    scores = {option.key: option.score for option in question.options if option.valid}
    rows: dict[date, list[int]] = {month: [0, 0] for month in months_between(first, last)}
    for (day, key, value), n in counts.items():
        if key == question.key and value in scores:
            rows[day.replace(day=1)][0 if scores[value] in DEFAULT.top else 1] += n
    if len(rows) < 2:
        return ()
    shown = guard_rows(list(rows.values()), 3)
    return tuple(
        Month(month, top + other, share(top, top + other) if top + other else None)
        if is_shown
        else Month(month, None, None)
        for (month, (top, other)), is_shown in zip(rows.items(), shown, strict=True)
    )


def day_results(steps: Steps, funnel: Funnel, first: date, last: date) -> tuple[Day, ...]:
    """Portal pages and first answers day by day; first answers by whole weeks of the period when one is small."""
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    started = [steps.get((day, "started"), 0) for day in days]
    safe = guard_rows([(n,) for n in started], 7) if len(days) > 1 else [True]
    return tuple(
        Day(day, steps.get((day, "shown"), 0), n if is_shown and funnel.started is not None else None)
        for day, n, is_shown in zip(days, started, safe, strict=True)
    )


def total_result(venues: Sequence[VenueResult]) -> Total | None:
    """The last row of a table of centres: sums of what is printed above it, so that it subtracts to nothing new.

    Centres whose satisfied share is withheld are not in it; a column that one of the others withholds is withheld.
    """
    rows = [(venue, venue.overall) for venue in venues]
    full = [(v, q) for v, q in rows if q is not None and q.satisfied is not None and q.n_valid]
    if len(full) < 2:
        return None
    n_valid = sum(q.n_valid or 0 for _, q in full)
    shown = sum(v.funnel.shown for v, _ in full)
    started = _sum(v.funnel.started for v, _ in full)
    scores = _sum(q.score_sum for _, q in full)
    cells = {
        option.key: _sum(next((o.n for o in q.options if o.key == option.key), None) for _, q in full)
        for option in full[0][1].options
    }
    return Total(
        len(full),
        shown,
        started,
        percent(started, shown) if started is not None and shown else None,
        n_valid,
        cells,
        share(sum(q.satisfied or 0 for _, q in full), n_valid),
        None if scores is None else mean_of(scores, n_valid),
    )


def _sum(column: Iterable[int | None]) -> int | None:
    """The sum of *column*; None when a part of it is withheld."""
    parts = list(column)
    return None if None in parts else sum(part or 0 for part in parts)


def change_against(now: QuestionResult | None, before: QuestionResult | None) -> Decimal | None:
    """The change of the satisfied share in percentage points."""
    if now is None or before is None or now.top_two is None or before.top_two is None:
        return None
    return now.top_two.percent - before.top_two.percent


def enough(steps: Steps) -> bool:
    """Whether at least 5 people answered anything."""
    started = sum(n for (_, step), n in steps.items() if step == "started")
    return started > 0 and not is_small(started)


def months_between(first: date, last: date) -> list[date]:
    """The first days of the months from *first* to *last*."""
    start, end = first.year * 12 + first.month - 1, last.year * 12 + last.month - 1
    return [date(count // 12, count % 12 + 1, 1) for count in range(start, end + 1)]


def is_whole_months(first: date, last: date) -> bool:
    """Whether the period begins and ends with a month."""
    return first.day == 1 and (last + timedelta(days=1)).day == 1


def period_before(first: date, last: date) -> tuple[date, date]:
    """The period of the same length that ends the day before *first*: in months when both are whole months."""
    end = first - timedelta(days=1)
    if is_whole_months(first, last):
        count = first.year * 12 + first.month - 1 - len(months_between(first, last))
        return date(count // 12, count % 12 + 1, 1), end
    return first - (last - first) - timedelta(days=1), end
