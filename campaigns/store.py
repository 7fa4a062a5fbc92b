"""The SQL of announcements. Whose rows may be touched stands in every WHERE: *venue*, None for all."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, false, func, insert, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from campaigns.announcements import Announcement, Draft, in_order
from crm import tables

announcements = tables.announcement
counts = tables.announcement_count


class Seen(msgspec.Struct, frozen=True):
    """An announcement was shown, or opened, *n* times; by whom is not known here."""

    announcement_id: int
    venue: str
    day: date
    language: str
    event: Literal["shown", "opened"]
    n: int = 1


class Counts(msgspec.Struct, frozen=True):
    """How often an announcement was shown and opened since it began."""

    shown: int = 0
    opened: int = 0


class Centre(msgspec.Struct, frozen=True):
    """A venue that announcements can be written for."""

    code: str
    names: dict[str, str]
    languages: list[str]  # the first must have a text


def _of(venue: str | None) -> ColumnElement[bool]:
    return true() if venue is None else announcements.c.venue == venue


def _announcement(row: Any) -> Announcement:  # noqa: ANN401
    return Announcement(
        *(row.id, row.venue, row.texts, row.starts, row.ends, row.urgent, row.withdrawn, tuple(row.networks))
    )


async def select_centres(conn: AsyncConnection, venue: str | None) -> list[Centre]:
    """The venue *venue*, or all of them, by code."""
    table = tables.venue
    query = select(table).where(true() if venue is None else table.c.code == venue).order_by(table.c.code)
    return [Centre(row.code, row.names, row.languages) for row in await conn.execute(query)]


async def select_announcements(conn: AsyncConnection, venue: str | None) -> list[Announcement]:
    """Every announcement of *venue*: urgent first, then the newest start."""
    return in_order(
        [_announcement(row) for row in await conn.execute(select(announcements).where(_of(venue)))]
    )


async def select_announcement(
    conn: AsyncConnection, announcement_id: int, venue: str | None
) -> Announcement | None:
    """One announcement, if it is *venue*'s."""
    query = select(announcements).where(announcements.c.id == announcement_id, _of(venue))
    row = (await conn.execute(query)).one_or_none()
    return _announcement(row) if row else None


async def select_shown(conn: AsyncConnection, venue: str, day: date) -> list[Announcement]:
    """What guests of *venue* see on the local *day*, in the order they see it."""
    query = select(announcements).where(
        announcements.c.venue == venue,
        announcements.c.withdrawn == false(),
        announcements.c.starts <= day,
        or_(announcements.c.ends.is_(None), announcements.c.ends >= day),
    )
    return in_order([_announcement(row) for row in await conn.execute(query)])


async def insert_announcement(conn: AsyncConnection, venue: str, draft: Draft) -> int:
    """Keep a new announcement; returns its id."""
    values = {**msgspec.structs.asdict(draft), "venue": venue, "withdrawn": False}
    result = await conn.execute(insert(announcements).values(values).returning(announcements.c.id))
    return int(result.scalar_one())


async def _change(conn: AsyncConnection, announcement_id: int, venue: str | None, **values: object) -> bool:
    query = update(announcements).where(announcements.c.id == announcement_id, _of(venue)).values(**values)
    return bool((await conn.execute(query)).rowcount)


async def update_announcement(
    conn: AsyncConnection, announcement_id: int, venue: str | None, draft: Draft
) -> bool:
    """Write *draft* into an announcement; False when *venue* has no such announcement."""
    return await _change(conn, announcement_id, venue, **msgspec.structs.asdict(draft))


async def withdraw_announcement(conn: AsyncConnection, announcement_id: int, venue: str | None) -> bool:
    """Take an announcement away from guests; False when *venue* has no such announcement."""
    return await _change(conn, announcement_id, venue, withdrawn=True)


async def restore_announcement(conn: AsyncConnection, announcement_id: int, venue: str | None) -> bool:
    """Undo `withdraw_announcement`; False when *venue* has no such announcement."""
    return await _change(conn, announcement_id, venue, withdrawn=False)


def count_seen(conn: Connection, batch: Sequence[Seen]) -> Sequence[None]:
    """Add what *batch* saw to the counts; a batch function for `Store.write`."""
    totals: Counter[tuple[int, date, str, str, str]] = Counter()
    for seen in batch:
        totals[(seen.announcement_id, seen.day, seen.language, seen.event, seen.venue)] += seen.n
    rows = [
        {"announcement_id": id_, "day": day, "language": language, "event": event, "venue": venue, "n": n}
        for (id_, day, language, event, venue), n in sorted(totals.items())
    ]
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    upsert = dialect.insert(counts)
    key = [column.name for column in counts.primary_key]
    upsert = upsert.on_conflict_do_update(index_elements=key, set_={"n": counts.c.n + upsert.excluded.n})
    if rows:
        conn.execute(upsert, rows)
    return [None] * len(batch)


async def select_counts(conn: AsyncConnection, venue: str | None) -> dict[int, Counts]:
    """{announcement id: how often it was shown and opened}; ids nobody has seen are missing."""
    query = (
        select(counts.c.announcement_id, counts.c.event, func.sum(counts.c.n).label("n"))
        .where(true() if venue is None else counts.c.venue == venue)
        .group_by(counts.c.announcement_id, counts.c.event)
    )
    found: dict[int, dict[str, int]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.announcement_id, {})[row.event] = int(row.n)
    return {announcement_id: Counts(**events) for announcement_id, events in found.items()}
