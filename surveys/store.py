"""Questionnaire versions, responses and their counts: the SQL.

A response's document is the truth. Facts and counters are kept with it in the same transaction and can be
made again from it (`surveys.rebuild`). Rows of a batch are written in the order of their random ids and keys,
so nothing in the store tells who came after whom.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Executable, Table, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.errors import UserError
from crm.tables import answer_fact, daily_count, daily_funnel, monthly_hour, questionnaire_version, response
from surveys.counts import Kept, Tally, amend, comment_keys
from surveys.questions import (
    Questionnaire,
    check_successor,
    content_hash,
    structure_hash,
)


class Version(msgspec.Struct, frozen=True):
    """A published questionnaire; it never changes."""

    id: int
    venue: str
    questionnaire: Questionnaire
    number: int


class Answer(msgspec.Struct, frozen=True):
    """One answer as the pages hand it over; *value* comes from `surveys.answers.check_answer`.

    Where, when and how are those of the response's first answer: later ones do not change them. *hour* is
    local and goes into a monthly counter only.
    """

    response: UUID
    version: Version
    unit: str
    day: date
    daypart: int
    hour: int
    channel: str
    language: str
    question: str
    value: str
    final: bool


class Step(msgspec.Struct, frozen=True):
    """The portal was shown to somebody, or somebody skipped the survey."""

    version: Version
    unit: str
    day: date
    daypart: int
    channel: str
    language: str
    step: Literal["shown", "skipped"]


def _upsert(table: Table, column: str, *, adding: bool) -> dict[str, Executable]:
    """The statement that inserts a row or changes *column* of the one there; *adding*: by what is given."""
    statements: dict[str, Executable] = {}
    keys = [key.name for key in table.primary_key]
    for name, make in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert)):
        into = make(table)
        given = into.excluded[column]
        value = table.c[column] + given if adding else given
        statements[name] = into.on_conflict_do_update(index_elements=keys, set_={column: value})
    return statements


def _delete_empty(table: Table) -> Executable:
    return delete(table).where(
        table.c.n == 0, *(key == bindparam(f"of_{key.name}") for key in table.primary_key)
    )


_ADD = {table: _upsert(table, "n", adding=True) for table in (daily_count, daily_funnel, monthly_hour)}
_COUNTER_KEYS = {table: [key.name for key in table.primary_key] for table in _ADD}
_DELETE_EMPTY = _delete_empty(daily_count)
_SET_FACT = _upsert(answer_fact, "value", adding=False)
_DELETE_FACT = delete(answer_fact).where(
    answer_fact.c.response_id == bindparam("of_response"), answer_fact.c.question == bindparam("of_question")
)
_KEPT = ("id", "venue", "version_id", "unit", "day", "daypart", "channel", "language", "complete", "answers")
_SELECT_KEPT = (
    select(*(response.c[name] for name in _KEPT))
    .where(response.c.id.in_(bindparam("ids", expanding=True)))
    .with_for_update()
)
_INSERT_RESPONSE = insert(response)
_UPDATE_RESPONSE = (
    update(response)
    .where(response.c.id == bindparam("of_id"))
    .values(answers=bindparam("new_answers"), complete=bindparam("new_complete"))
)
_SELECT_ANSWERS = select(response.c.answers).where(response.c.id == bindparam("of_id"))


def save_answers(conn: Connection, batch: Sequence[Answer]) -> Sequence[dict[str, str] | UserError]:
    """Batch function of `crm.store.Store.write`: keep every answer, give back all answers of its response.

    The first answer makes the response and counts *started*; the last one, or one marked final, counts
    *completed*, once. A changed answer corrects the counts and drops answers that it takes off the route; the
    same post twice is one. An item whose response belongs to another venue or version gets a `UserError`.
    """
    versions = {item.version.id: item.version.questionnaire for item in batch}
    known = _select_kept(conn, {item.response for item in batch}, versions)
    comments = {id_: comment_keys(questionnaire) for id_, questionnaire in versions.items()}
    tally = Tally()
    results = [_keep(known, comments, tally, item) for item in batch]
    write_responses(conn, known.values())
    write_tally(conn, tally)
    return results


def _select_kept(
    conn: Connection, responses: Collection[UUID], versions: Mapping[int, Questionnaire]
) -> dict[UUID, Kept]:
    """The *responses* there are; one of a version that nobody asks about just now is there to be refused."""
    known: dict[UUID, Kept] = {}
    keys = {id_: (comment_keys(asked), asked.key) for id_, asked in versions.items()}
    for row in conn.execute(_SELECT_KEPT, {"ids": list(responses)}):
        fields: list[Any] = [*row, *keys.get(row.version_id, (frozenset(), ""))]
        known[row.id] = Kept(*fields)
    return known


def _keep(
    known: dict[UUID, Kept], comments: Mapping[int, frozenset[str]], tally: Tally, item: Answer
) -> dict[str, str] | UserError:
    version, kept = item.version, known.get(item.response)
    if kept is not None and (kept.venue, kept.version_id) != (version.venue, version.id):
        return UserError("The survey has changed since you began. Please open it again.", 409)
    before = kept.answers if kept else {}
    answers, last = amend(version.questionnaire, before, item.question, item.value)
    if kept is None:
        if not answers:
            return {}
        kept = known[item.response] = _new(item, comments[version.id])
        tally.start(kept, item.hour)
    tally.change(kept, answers)
    if not kept.complete and (item.final or last):
        tally.complete(kept)
    return answers


def _new(item: Answer, comments: frozenset[str]) -> Kept:
    return Kept(
        item.response,
        item.version.venue,
        item.version.id,
        item.unit,
        item.day,
        item.daypart,
        item.channel,
        item.language,
        False,
        {},
        comments,
        item.version.questionnaire.key,
        new=True,
    )


def write_responses(conn: Connection, responses: Iterable[Kept]) -> None:
    """Write the documents of the *responses* that are new or have changed."""
    changed = sorted((kept for kept in responses if kept.changed), key=lambda kept: kept.id.int)
    new = [{name: getattr(kept, name) for name in _KEPT} for kept in changed if kept.new]
    old = [
        {"of_id": kept.id, "new_answers": kept.answers, "new_complete": kept.complete}
        for kept in changed
        if not kept.new
    ]
    if new:
        conn.execute(_INSERT_RESPONSE, new)
    if old:
        conn.execute(_UPDATE_RESPONSE, old)


def write_tally(conn: Connection, tally: Tally) -> None:
    """Write the facts and add the counts that *tally* has gathered."""
    facts = sorted(tally.facts.items(), key=lambda item: (item[0][0].int, item[0][1]))
    gone = [{"of_response": id_, "of_question": question} for (id_, question), fact in facts if fact is None]
    if gone:
        conn.execute(_DELETE_FACT, gone)
    kept = [
        {"response_id": id_, "question": question, "venue": fact[0], "value": fact[1]}
        for (id_, question), fact in facts
        if fact is not None
    ]
    if kept:
        conn.execute(_SET_FACT[conn.dialect.name], kept)
    add_counts(conn, daily_count, tally.counts)
    add_counts(conn, daily_funnel, tally.funnel)
    add_counts(conn, monthly_hour, tally.hours)


def add_counts(conn: Connection, table: Table, gains: Counter[Any]) -> None:
    """Add *gains* (counter key -> change) to a counter table; a count that falls to nothing leaves no row."""
    names = _COUNTER_KEYS[table]
    # Sorted: the order says nothing of arrival, and two writers of PostgreSQL cannot lock each other out.
    changes = sorted(item for item in gains.items() if item[1])
    if changes:
        rows = [{**dict(zip(names, key, strict=True)), "n": n} for key, n in changes]
        conn.execute(_ADD[table][conn.dialect.name], rows)
    less = [
        {f"of_{name}": part for name, part in zip(names, key, strict=True)} for key, n in changes if n < 0
    ]
    if less:
        conn.execute(_DELETE_EMPTY, less)


def count_steps(conn: Connection, batch: Sequence[Step]) -> Sequence[None]:
    """Batch function of `crm.store.Store.write`: count portal pages shown and surveys skipped."""
    gains = Counter(
        (
            item.version.venue,
            item.version.questionnaire.key,
            item.day,
            item.daypart,
            item.unit,
            item.channel,
            item.language,
            item.step,
        )
        for item in batch
    )
    add_counts(conn, daily_funnel, gains)
    return [None] * len(batch)


async def select_answers(conn: AsyncConnection, response: UUID) -> dict[str, str]:
    """What *response* has answered so far; {} when nothing."""
    answers: dict[str, str] | None = await conn.scalar(_SELECT_ANSWERS, {"of_id": response})
    return answers or {}


async def publish(conn: AsyncConnection, venue: str, questionnaire: Questionnaire, day: date) -> Version:
    """Make *questionnaire* the one that *venue* asks from *day* on; the same content is the version there is.

    Raises `UserError` 409 when a key was used for something else before.
    """
    versions = await select_versions(conn, venue, questionnaire.key)
    content = content_hash(questionnaire)
    if versions and content_hash(versions[-1].questionnaire) == content:
        return versions[-1]
    check_successor(questionnaire, [version.questionnaire for version in versions])
    number = len(versions) + 1
    row = await conn.execute(
        insert(questionnaire_version).values(
            venue=venue,
            questionnaire=questionnaire.key,
            number=number,
            structure_hash=structure_hash(questionnaire),
            content_hash=content,
            document=msgspec.to_builtins(questionnaire),
            published=day,
        )
    )
    primary_key = row.inserted_primary_key
    assert primary_key is not None  # noqa: S101 - an insert of one row has one
    return Version(primary_key[0], venue, questionnaire, number)


async def select_versions(conn: AsyncConnection, venue: str, questionnaire: str) -> list[Version]:
    """All versions that *venue* has published of *questionnaire*, newest last."""
    table = questionnaire_version
    rows = await conn.execute(
        select(table.c.id, table.c.document, table.c.number)
        .where(table.c.venue == venue, table.c.questionnaire == questionnaire)
        .order_by(table.c.number)
    )
    return [
        Version(id_, venue, msgspec.convert(document, Questionnaire), number)
        for id_, document, number in rows
    ]


async def has_versions(conn: AsyncConnection, versions: Collection[Version]) -> bool:
    """Whether the store has all *versions* as they are; one that was restored from a backup may not."""
    wanted = {version.id: content_hash(version.questionnaire) for version in versions}
    table = questionnaire_version
    rows = await conn.execute(select(table.c.id, table.c.content_hash).where(table.c.id.in_(wanted)))
    return {row.id: row.content_hash for row in rows} == wanted
