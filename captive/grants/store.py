"""The SQL of the access store."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from captive.grants.policy import Usage
from captive.grants.tables import asked, day_secret, grant, usage, wish


class GrantRow(msgspec.Struct, frozen=True):
    """A device comes online: until when (UTC), and the day's mark by which it is known again (or b"")."""

    device: str
    expires: datetime
    mark: bytes
    extensions: int = 0
    up: int = 0
    down: int = 0
    seen_up: int = 0
    seen_down: int = 0


class CountRow(msgspec.Struct, frozen=True):
    """What a device took since its grant, and the kernel's own counts by then; all in bytes."""

    device: str
    up: int
    down: int
    seen_up: int
    seen_down: int


class KeptGrant(msgspec.Struct, frozen=True):
    """A grant as the store has it; *expires* in UTC, counts in bytes."""

    expires: datetime
    up: int
    down: int
    seen_up: int
    seen_down: int
    extensions: int


class Day(msgspec.Struct, frozen=True):
    """What is kept of one day: its secret, the marks of who was asked, what each had."""

    day: date
    secret: bytes
    asked: set[bytes]
    usage: dict[bytes, Usage]


async def select_day(conn: AsyncConnection) -> Day | None:
    """The day that the store was left on; None when it is new."""
    row = (await conn.execute(select(day_secret).order_by(day_secret.c.day.desc()))).first()
    if row is None:
        return None
    return Day(row.day, bytes(row.secret), await select_asked(conn), await select_usage(conn))


async def save_all(conn: AsyncConnection, day: Day, grants: Sequence[GrantRow]) -> None:
    """Make the store hold *day* and *grants* and nothing else; what the technician wants stays."""
    for table in (day_secret, asked, usage, grant):
        await conn.execute(delete(table))
    await conn.execute(insert(day_secret).values(day=day.day, secret=day.secret))
    used = [
        {"device": mark, "seconds": had.seconds, "bytes": had.bytes}
        for mark, had in sorted(day.usage.items())
    ]
    for table, rows in (
        (asked, [{"device": mark} for mark in sorted(day.asked)]),
        (usage, used),
        (grant, [_fields(row) for row in sorted(grants, key=lambda row: row.device)]),
    ):
        if rows:
            await conn.execute(insert(table), rows)


async def select_asked(conn: AsyncConnection) -> set[bytes]:
    """The marks of all devices that were asked today."""
    return {bytes(row.device) for row in await conn.execute(select(asked))}


async def select_usage(conn: AsyncConnection) -> dict[bytes, Usage]:
    """{mark: what the device had today}, where there is a daily allowance."""
    return {bytes(row.device): Usage(row.seconds, row.bytes) for row in await conn.execute(select(usage))}


async def select_grants(conn: AsyncConnection) -> dict[str, KeptGrant]:
    """Every grant that has not been ended, by device."""
    return {
        row.device: KeptGrant(
            row.expires if row.expires.tzinfo else row.expires.replace(tzinfo=UTC),
            *(row.up, row.down, row.seen_up, row.seen_down, row.extensions),
        )
        for row in await conn.execute(select(grant))
    }


def save_grants(conn: Connection, batch: Sequence[GrantRow]) -> Sequence[None]:
    """Keep grants, each replacing the device's earlier one (a batch for `Store.write`)."""
    dialect = _dialect(conn)
    rows = {row.device: row for row in batch}
    upsert = dialect.insert(grant)
    names = [column.name for column in grant.c if not column.primary_key]
    conn.execute(
        upsert.on_conflict_do_update(
            index_elements=["device"], set_={name: upsert.excluded[name] for name in names}
        ),
        [_fields(row) for _, row in sorted(rows.items())],
    )
    marks = sorted({row.mark for row in batch if row.mark})
    if marks:
        conn.execute(dialect.insert(asked).on_conflict_do_nothing(), [{"device": mark} for mark in marks])
    return [None] * len(batch)


def _fields(row: GrantRow) -> dict[str, object]:
    return {column.name: getattr(row, column.name) for column in grant.c}


async def extend_grant(conn: AsyncConnection, device: str, expires: datetime, extensions: int) -> None:
    """Let a grant end at *expires* (UTC) instead; its counts go on."""
    changed = update(grant).where(grant.c.device == device).values(expires=expires, extensions=extensions)
    await conn.execute(changed)


async def save_counts(conn: AsyncConnection, counts: Sequence[CountRow], used: Mapping[bytes, Usage]) -> None:
    """Keep what devices took: *counts* of their grants, and what they *used* today by mark."""
    if counts:
        names = ("up", "down", "seen_up", "seen_down")
        change = update(grant).where(grant.c.device == bindparam("key"))
        await conn.execute(
            change.values({name: bindparam(f"new_{name}") for name in names}),
            [
                {"key": row.device} | {f"new_{name}": getattr(row, name) for name in names}
                for row in sorted(counts, key=lambda row: row.device)
            ],
        )
    if used:
        upsert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(usage)
        both = {name: upsert.excluded[name] for name in ("seconds", "bytes")}
        await conn.execute(
            upsert.on_conflict_do_update(index_elements=["device"], set_=both),
            [
                {"device": mark, "seconds": each.seconds, "bytes": each.bytes}
                for mark, each in sorted(used.items())
            ],
        )


async def delete_grants(conn: AsyncConnection, devices: Collection[str]) -> None:
    """Forget ended grants, and with them their MACs."""
    await _delete_rows(conn, grant, devices)


async def delete_asked(conn: AsyncConnection, marks: Collection[bytes]) -> None:
    """Forget that the devices of *marks* were asked today."""
    await _delete_rows(conn, asked, marks)


async def select_wishes(conn: AsyncConnection) -> dict[str, str]:
    """{device: verb} of what the technician wants done."""
    return {row.device: row.verb for row in await conn.execute(select(wish))}


async def delete_wishes(conn: AsyncConnection, devices: Collection[str]) -> None:
    """Take what was done off the list."""
    await _delete_rows(conn, wish, devices)


async def insert_wishes(conn: AsyncConnection, devices: Collection[str], verb: str) -> None:
    """Want *verb* done with *devices*; the portal does it within seconds."""
    await delete_wishes(conn, devices)
    if devices:
        await conn.execute(insert(wish), [{"device": device, "verb": verb} for device in sorted(devices)])


async def _delete_rows(conn: AsyncConnection, table: Table, devices: Collection[str | bytes]) -> None:
    """One statement for any number: SQLite takes 32,766 values in one, and would keep each length of list."""
    if devices:
        gone = delete(table).where(table.c.device == bindparam("key"))
        await conn.execute(gone, [{"key": device} for device in devices])


def _dialect(conn: Connection) -> Any:  # noqa: ANN401 - two modules of one shape
    return postgresql if conn.dialect.name == "postgresql" else sqlite
