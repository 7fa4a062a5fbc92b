"""A report out of the store: counts and funnel from the daily counters, comments from the documents."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.errors import UserError
from crm.tables import daily_count, daily_funnel, questionnaire_version, venue
from surveys.documents import stream_comments
from surveys.figures import (
    Counts,
    Steps,
    change_against,
    day_results,
    enough,
    funnel_result,
    headline_question,
    is_whole_months,
    merged_questions,
    period_before,
    question_result,
    sum_values,
    total_result,
    trend_result,
)
from surveys.questions import Question, Questionnaire, Texts
from surveys.report import Comment, Funnel, QuestionResult, Report, VenueResult, Version
from surveys.scores import DEFAULT

DEMO = "demo"
"""The channel that marks synthetic answers."""

LONGEST = 5 * 366
"""Days of a report at most."""


class _Asked(msgspec.Struct, frozen=True):
    """What a venue asked in a period: the versions of one questionnaire, newest last."""

    versions: tuple[Version, ...]
    questionnaires: tuple[Questionnaire, ...]

    @property
    def key(self) -> str:
        return self.versions[-1].questionnaire

    @property
    def comment_keys(self) -> list[str]:
        asked = [q.key for version in self.questionnaires for q in version.questions if q.kind == "comment"]
        return list(dict.fromkeys(asked))


async def build_report(
    conn: AsyncConnection, venues: Sequence[str], first: date, last: date, *, now: datetime
) -> Report:
    """What citizens answered at *venues* from *first* to *last*, both included; *now* dates the report.

    Raises `UserError`: no such venue (404), a period that is none or longer than five years (400).
    """
    if last < first:
        raise UserError("The period ends before it begins. Please check the two days.", 400)
    if (last - first).days >= LONGEST:
        raise UserError("A report covers five years at most. Please choose a shorter period.", 400)
    results = [await _build_venue(conn, code, first, last) for code in dict.fromkeys(venues)]
    return Report(
        first,
        last,
        now.date(),
        DEFAULT.id,
        any(DEMO in result.channels for result in results),
        is_whole_months(first, last),
        tuple(results),
        total_result(results),
    )


async def _build_venue(conn: AsyncConnection, code: str, first: date, last: date) -> VenueResult:
    names: Texts | None = await conn.scalar(select(venue.c.names).where(venue.c.code == code))
    if names is None:
        raise UserError("There is no centre with the code {code}.", 404, code=code)
    surveys = await _select_asked(conn, code, first, last)
    steps, channels = await _select_steps(conn, code, first, last)
    funnel, there = funnel_result(steps), enough(steps)
    counts = await _select_counts(conn, code, first, last)
    asked = [(survey.key, merged_questions(survey.questionnaires)) for survey in surveys]
    # Beside the event loop: the audit of an odd table takes half a second, and guests share this process.
    questions = await asyncio.to_thread(_figures, asked, counts)
    source, headline = _headline(asked, questions)
    return VenueResult(
        code=code,
        names=names,
        enough=there,
        channels=tuple(sorted(channels)),
        versions=tuple(version for survey in surveys for version in survey.versions),
        funnel=funnel,
        headline=headline.key if headline and there else "",
        change=await _change(conn, code, source, headline, first, last) if there else None,
        questions=tuple(questions) if there else (),
        trend=trend_result(source[1], counts[source[0]], headline, first, last)
        if source and headline and there
        else (),
        days=day_results(steps, funnel, first, last) if there else (),
        comments=await _select_comments(conn, code, surveys, first, last) if there else (),
    )


def _figures(
    asked: Sequence[tuple[str, list[Question]]], counts: Mapping[str, Counts]
) -> list[QuestionResult]:
    return [
        question_result(key, question, sum_values(counts.get(key, {}), question.key))
        for key, questions in asked
        for question in questions
    ]


def _headline(
    asked: Sequence[tuple[str, list[Question]]], results: Sequence[QuestionResult]
) -> tuple[tuple[str, Question] | None, QuestionResult | None]:
    """The question that stands for the whole, and its figures."""
    for key, questions in asked:
        question = headline_question(questions)
        if question is not None:
            found = next(r for r in results if (r.questionnaire, r.key) == (key, question.key))
            return (key, question), found
    return None, None


async def _change(
    conn: AsyncConnection,
    code: str,
    source: tuple[str, Question] | None,
    headline: QuestionResult | None,
    first: date,
    last: date,
) -> Decimal | None:
    if source is None:
        return None
    key, question = source
    before = await _select_counts(conn, code, *period_before(first, last))
    return change_against(headline, question_result(key, question, sum_values(before[key], question.key)))


async def _select_asked(conn: AsyncConnection, code: str, first: date, last: date) -> list[_Asked]:
    """The questionnaires that *code* asked in the period, each with the versions that were in force then."""
    table = questionnaire_version
    rows = await conn.execute(
        select(table.c.questionnaire, table.c.number, table.c.published, table.c.document)
        .where(table.c.venue == code, table.c.published <= last)
        .order_by(table.c.questionnaire, table.c.number)
    )
    by_key: defaultdict[str, list[tuple[Version, Questionnaire]]] = defaultdict(list)
    for key, number, published, document in rows:
        if published <= first:
            by_key[key].clear()
        by_key[key].append((Version(key, number, published), msgspec.convert(document, Questionnaire)))
    return [_Asked(*map(tuple, zip(*versions, strict=True))) for versions in by_key.values()]


async def _select_counts(
    conn: AsyncConnection, code: str, first: date, last: date
) -> defaultdict[str, dict[tuple[date, str, str], int]]:
    """Questionnaire -> (day, question, value) -> n."""
    table = daily_count
    rows = await conn.execute(
        select(table.c.questionnaire, table.c.day, table.c.question, table.c.value, func.sum(table.c.n))
        .where(table.c.venue == code, table.c.day.between(first, last))
        .group_by(table.c.questionnaire, table.c.day, table.c.question, table.c.value)
    )
    found: defaultdict[str, dict[tuple[date, str, str], int]] = defaultdict(dict)
    for key, day, question, value, n in rows:
        found[key][day, question, value] = int(n)
    return found


async def _select_steps(conn: AsyncConnection, code: str, first: date, last: date) -> tuple[Steps, set[str]]:
    """(day, step) -> n, and the channels that they came by."""
    table = daily_funnel
    rows = await conn.execute(
        select(table.c.day, table.c.step, table.c.channel, func.sum(table.c.n))
        .where(table.c.venue == code, table.c.day.between(first, last))
        .group_by(table.c.day, table.c.step, table.c.channel)
    )
    steps: Counter[tuple[date, str]] = Counter()
    channels = set()
    for day, step, channel, n in rows:
        steps[day, step] += int(n)
        channels.add(channel)
    return steps, channels


async def select_funnel(conn: AsyncConnection, code: str, day: date) -> Funnel:
    """What visitors of *code* did on *day*; few answers are withheld as in a report."""
    return funnel_result((await _select_steps(conn, code, day, day))[0])


async def _select_comments(
    conn: AsyncConnection, code: str, surveys: Sequence[_Asked], first: date, last: date
) -> tuple[Comment, ...]:
    """Comments month by month; within a month in the order of random ids."""
    found: list[Comment] = []
    for key in dict.fromkeys(key for survey in surveys for key in survey.comment_keys):
        async for page in stream_comments(conn, code, key, first, last):
            found += [Comment(row.day.replace(day=1), row.comment) for row in page]
    return tuple(sorted(found, key=lambda comment: comment.month))


async def select_centres(conn: AsyncConnection) -> dict[str, Texts]:
    """All centres, code -> names, in the order of their codes."""
    rows = await conn.execute(select(venue.c.code, venue.c.names).order_by(venue.c.code))
    return {row.code: row.names for row in rows}
