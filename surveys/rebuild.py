"""Counts and facts made again from the documents, which are the truth."""

from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.tables import answer_fact, daily_count, daily_funnel, questionnaire_version
from surveys.counts import COMMENT, Tally, comment_keys
from surveys.documents import stream_responses
from surveys.questions import Questionnaire
from surveys.store import add_counts


async def rebuild_counts(conn: AsyncConnection, venue: str) -> None:
    """Make the counts of answers, of started and completed responses and the facts of *venue* again.

    What no document holds stays as it is: pages shown, surveys skipped, the hours of a month. Run it in a
    transaction of its own (`Store.begin`).
    """
    questionnaires = await _select_questionnaires(conn, venue)
    await conn.execute(delete(answer_fact).where(answer_fact.c.venue == venue))
    await conn.execute(delete(daily_count).where(daily_count.c.venue == venue))
    await conn.execute(
        delete(daily_funnel).where(
            daily_funnel.c.venue == venue, daily_funnel.c.step.in_(("started", "completed"))
        )
    )
    tally = Tally()
    async for page in stream_responses(conn, venue):
        facts: list[dict[str, Any]] = []
        for row in page:
            facts += _count(row, questionnaires[row.version_id], tally)
        if facts:
            await conn.execute(insert(answer_fact), facts)
    await conn.run_sync(add_counts, daily_count, tally.counts)
    await conn.run_sync(add_counts, daily_funnel, tally.funnel)


def _count(row: Row[Any], questionnaire: Questionnaire, tally: Tally) -> list[dict[str, Any]]:
    """Add one response to *tally*; give back its facts."""
    comments = comment_keys(questionnaire)
    key = (row.venue, questionnaire.key, row.day, row.daypart, row.unit, row.channel, row.language)
    tally.funnel[(*key, "started")] += 1
    tally.funnel[(*key, "completed")] += int(row.complete)
    for question, value in row.answers.items():
        tally.counts[(*key, question, COMMENT if question in comments else value)] += 1
    return [
        {"response_id": row.id, "question": question, "venue": row.venue, "value": value}
        for question, value in row.answers.items()
        if question not in comments
    ]


async def _select_questionnaires(conn: AsyncConnection, venue: str) -> dict[int, Questionnaire]:
    rows = await conn.execute(
        select(questionnaire_version.c.id, questionnaire_version.c.document).where(
            questionnaire_version.c.venue == venue
        )
    )
    return {id_: msgspec.convert(document, Questionnaire) for id_, document in rows}
