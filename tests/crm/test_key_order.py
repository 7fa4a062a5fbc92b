"""With the file in hand nobody tells in which order rows came: between pages, inside them, in the log."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, insert, select, update

from crm.key_order import KeyOrder
from crm.store import Store, open_store
from crm.tables import answer_fact, questionnaire_version, response, venue
from tests.lab.disk import order_tells
from tests.waiting import LONG

TODAY = datetime.now(UTC).date()
BY_CHANCE = 1e-9
FEW = 20
"""Arrivals that one page holds: of more, pages that were split tell less than would show for certain."""


def prepare(conn: Connection, _items: Sequence[None]) -> Sequence[None]:
    conn.execute(insert(venue).values(code="V", names={}, languages=[], accent="#000000"))
    version = {"venue": "V", "questionnaire": "q", "number": 1, "structure_hash": "x", "content_hash": "x"}
    conn.execute(insert(questionnaire_version).values(id=1, **version, document={}, published=TODAY))
    return [None]


def answer(conn: Connection, items: Sequence[tuple[UUID, date]]) -> Sequence[None]:
    for id_, day in items:
        row = {"venue": "V", "version_id": 1, "day": day, "daypart": 0, "channel": "wifi", "language": "vi"}
        conn.execute(insert(response).values(id=id_, **row, answers={}))
        for question in ("A0", "A1", "A2"):
            conn.execute(insert(answer_fact).values(response_id=id_, question=question, venue="V", value="5"))
        words = "x" * random.choice([0, 0, 20, 90])
        conn.execute(update(response).where(response.c.id == id_).values(answers={"A1": "5", "A4": words}))
    return [None] * len(items)


async def come(store: Store, number: int, day: date = TODAY) -> list[UUID]:
    arrived = [uuid4() for _ in range(number)]
    for id_ in arrived:
        await store.write(answer, (id_, day))
    return arrived


def told(path: str, arrived: Sequence[UUID]) -> float:
    wal = Path(f"{path}-wal")
    return min(order_tells(file.read_bytes(), arrived) for file in (Path(path), wal) if file.exists())


async def come_to_rest(store: Store) -> None:
    """Wait for the store's own tidying, as a quiet moment does."""
    assert store._tidying
    await asyncio.wait_for(asyncio.shield(store._tidying), LONG)


async def test_the_file_at_rest_does_not_tell_who_came_first(sqlite_dsn: str) -> None:
    store = open_store(sqlite_dsn)
    await store.write(prepare, None)
    before = await come(store, 5, TODAY - timedelta(days=30))
    arrived: list[UUID] = []
    for number in (FEW, 1, 75):  # the one comes after a quiet hour
        arrived += await come(store, number)
        await come_to_rest(store)
        assert told(sqlite_dsn, arrived) > BY_CHANCE
    async with store.read() as conn:
        kept = set(await conn.scalars(select(response.c.id)))
        facts = (await conn.execute(select(answer_fact.c.response_id))).all()
    assert kept == {*before, *arrived}
    assert len(facts) == 3 * 101
    await store.close()


async def test_without_it_the_file_would_tell(sqlite_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyOrder, "restore", lambda _self, _conn: None)
    store = open_store(sqlite_dsn)
    await store.write(prepare, None)
    await come(store, 5, TODAY - timedelta(days=30))
    arrived = await come(store, FEW)
    await come_to_rest(store)
    assert told(sqlite_dsn, arrived) < BY_CHANCE
    await store.close()


async def test_what_a_crash_left_is_put_right_at_the_next_start(
    sqlite_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(KeyOrder, "restore", lambda _self, _conn: None)
        store = open_store(sqlite_dsn)
        await store.write(prepare, None)
        arrived = await come(store, FEW)
        await store.close()
    assert told(sqlite_dsn, arrived) < BY_CHANCE
    store = open_store(sqlite_dsn)
    async with store.begin() as conn:
        await conn.execute(update(venue).values(accent="#111111"))
    await store.close()
    assert told(sqlite_dsn, arrived) > BY_CHANCE


async def test_days_gone_by_rest(sqlite_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves is bounded by the day: after midnight yesterday's rows are put in order once more at most."""
    store = open_store(sqlite_dsn)
    await store.write(prepare, None)
    await come(store, 5, TODAY - timedelta(days=9))
    await come(store, 7)
    await come_to_rest(store)

    def moving(conn: Connection, _items: Sequence[None]) -> Sequence[list[int]]:
        tables = ("response", "answer_fact")
        return [
            [conn.exec_driver_sql(f"SELECT count(*) FROM written_{table}").scalar() or 0 for table in tables]
        ]

    assert await store.write(moving, None) == [12, 36]
    store._order._since = TODAY - timedelta(days=3)
    await come(store, 1)
    await come_to_rest(store)
    assert await store.write(moving, None) == [8, 24]
    await store.close()
