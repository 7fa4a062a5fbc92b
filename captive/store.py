"""The SQL of the access store."""

import os
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime

import msgspec
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from captive.tables import asked, day_secret, grant


class GrantRow(msgspec.Struct, frozen=True):
    """A device comes online: until when (UTC), and the day's mark by which it is known again (or b"")."""

    mac: str
    expires: datetime
    device: bytes


async def select_secret(conn: AsyncConnection, day: date) -> bytes:
    """The secret of *day*, made on first use; a day before takes its secret and its marks with it."""
    kept = (await conn.execute(select(day_secret.c.secret).where(day_secret.c.day == day))).scalar()
    if kept is not None:
        return bytes(kept)
    await conn.execute(delete(day_secret))
    await conn.execute(delete(asked))
    fresh = os.urandom(32)
    await conn.execute(insert(day_secret).values(day=day, secret=fresh))
    return fresh


async def select_asked(conn: AsyncConnection) -> set[bytes]:
    """The marks of all devices that were asked today."""
    return {bytes(row.device) for row in await conn.execute(select(asked))}


async def select_grants(conn: AsyncConnection) -> dict[str, datetime]:
    """Every grant that has not been ended: {MAC: expiry in UTC}."""
    rows = await conn.execute(select(grant))
    return {row.mac: row.expires if row.expires.tzinfo else row.expires.replace(tzinfo=UTC) for row in rows}


def save_grants(conn: Connection, batch: Sequence[GrantRow]) -> Sequence[None]:
    """Keep grants, each replacing the device's earlier one (a batch for `Store.write`)."""
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    rows = {row.mac: row.expires for row in batch}
    upsert = dialect.insert(grant)
    conn.execute(
        upsert.on_conflict_do_update(index_elements=["mac"], set_={"expires": upsert.excluded.expires}),
        [{"mac": mac, "expires": expires} for mac, expires in sorted(rows.items())],
    )
    marks = sorted({row.device for row in batch if row.device})
    if marks:
        conn.execute(dialect.insert(asked).on_conflict_do_nothing(), [{"device": mark} for mark in marks])
    return [None] * len(batch)


async def delete_grants(conn: AsyncConnection, macs: Collection[str]) -> None:
    """Forget ended grants, and with them their MACs."""
    await conn.execute(delete(grant).where(grant.c.mac.in_(list(macs))))


async def delete_asked(conn: AsyncConnection, mark: bytes) -> None:
    """Forget that the device of *mark* was asked today."""
    await conn.execute(delete(asked).where(asked.c.device == mark))
