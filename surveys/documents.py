"""Reading responses one after another: by key, a page at a time, so that no page costs more for its place."""

from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.tables import response

PAGE = 2_000
"""Responses read at once."""


async def stream_responses(conn: AsyncConnection, venue: str) -> AsyncIterator[Sequence[Row[Any]]]:
    """All responses of *venue*, in the order of their random ids."""
    async for page in _stream(conn, select(response).where(response.c.venue == venue)):
        yield page


async def stream_comments(
    conn: AsyncConnection, venue: str, question: str, first: date, last: date
) -> AsyncIterator[Sequence[Row[Any]]]:
    """(id, day, comment) of those responses from *first* to *last* that answered *question*, in random order."""
    comment = response.c.answers[question].as_string()
    query = select(response.c.id, response.c.day, comment.label("comment")).where(
        response.c.venue == venue, response.c.day.between(first, last), comment.is_not(None)
    )
    async for page in _stream(conn, query):
        yield page


async def _stream(conn: AsyncConnection, query: Select[Any]) -> AsyncIterator[Sequence[Row[Any]]]:
    ordered = query.order_by(response.c.id).limit(PAGE)
    after: UUID | None = None
    while True:
        page = (await conn.execute(ordered if after is None else ordered.where(response.c.id > after))).all()
        if not page:
            return
        yield page
        after = page[-1].id
