"""The group commit and its promises, on both databases where they are the same."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from crm.engines import store_url
from crm.errors import SetupError
from crm.store import Store, StoreBusyError, open_store
from crm.tables import venue
from tests.waiting import LONG, until

BATCHES: list[int] = []


def add(conn: Connection, codes: Sequence[str]) -> Sequence[str]:
    BATCHES.append(len(codes))
    conn.execute(
        venue.insert(), [{"code": code, "names": {"vi": code}, "languages": ["vi"]} for code in codes]
    )
    return [code.lower() for code in codes]


def picky(conn: Connection, codes: Sequence[str]) -> Sequence[object]:
    return [ValueError(code) if code == "bad" else code for code in codes]


async def count(store: Store) -> int:
    async with store.read() as conn:
        return (await conn.execute(select(func.count()).select_from(venue))).scalar_one()


async def test_whoever_waits_shares_a_commit_and_gets_their_own_answer(both_stores: Store) -> None:
    BATCHES.clear()
    answers = await asyncio.gather(*(both_stores.write(add, f"V{number}") for number in range(1200)))
    assert answers == [f"v{number}" for number in range(1200)]
    assert await count(both_stores) == 1200
    assert len(BATCHES) <= 5
    assert max(BATCHES) <= 500


async def test_who_comes_in_the_next_turns_of_the_loop_shares_the_commit(store: Store) -> None:
    """Guests' posts come one after another: the first must not have a commit of its own while the others wait."""

    async def come(turn: int) -> None:
        for _ in range(turn):
            await asyncio.sleep(0)
        await store.write(add, f"V{turn}")

    await store.write(add, "before")
    BATCHES.clear()
    await asyncio.gather(*(come(turn) for turn in range(50)))
    assert BATCHES == [50]


async def test_one_bad_item_harms_nobody_else(both_stores: Store) -> None:
    await both_stores.write(add, "A")
    results = await asyncio.gather(
        *(both_stores.write(add, code) for code in ("B", "A", "C")), return_exceptions=True
    )
    assert results[0] == "b"
    assert isinstance(results[1], IntegrityError)
    assert results[2] == "c"
    assert await count(both_stores) == 3


async def test_a_batch_may_refuse_single_items(both_stores: Store) -> None:
    results = await asyncio.gather(
        *(both_stores.write(picky, code) for code in ("a", "bad", "c")), return_exceptions=True
    )
    assert results[0] == "a"
    assert isinstance(results[1], ValueError)
    assert results[2] == "c"


async def test_both_kinds_of_write_take_turns(both_stores: Store) -> None:
    async def own(code: str) -> None:
        async with both_stores.begin() as conn:
            await conn.execute(venue.insert().values(code=code, names={}, languages=[]))
            await asyncio.sleep(0.001)

    await asyncio.gather(
        *(own(f"own{n}") for n in range(20)), *(both_stores.write(add, f"V{n}") for n in range(20))
    )
    assert await count(both_stores) == 40


async def test_what_somebody_gave_up_waiting_for_is_not_written_later(both_stores: Store) -> None:
    async with both_stores.begin() as conn:
        await conn.execute(venue.insert().values(code="first", names={}, languages=[]))
        under_way = asyncio.create_task(both_stores.write(add, "taken already"))
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(both_stores.write(add, "given up"), 0.2)
        with pytest.raises(TimeoutError):
            await both_stores.write(add, "given up, too", within=0.1)
    await under_way
    await both_stores.write(add, "last")
    async with both_stores.read() as conn:
        codes = set((await conn.execute(select(venue.c.code))).scalars())
    assert codes == {"first", "taken already", "last"}


async def test_nor_when_the_commit_fails_that_it_waited_for(store: Store) -> None:
    go_on = threading.Event()
    tried: list[Sequence[str]] = []

    def fail_late(_conn: Connection, items: Sequence[str]) -> Sequence[str]:
        tried.append(items)
        go_on.wait(LONG)
        raise ValueError

    both = [store.write(fail_late, each, within=0.1) for each in ("a", "b")]
    assert [type(each) for each in await asyncio.gather(*both, return_exceptions=True)] == [TimeoutError] * 2
    go_on.set()
    await store.write(add, "last")
    assert tried == [["a", "b"]]


async def test_a_reader_cannot_write(store: Store) -> None:
    async with store.read() as conn:
        with pytest.raises(OperationalError, match="readonly"):
            await conn.execute(venue.insert().values(code="X", names={}, languages=[]))


async def test_what_was_answered_is_there_for_another_process(sqlite_dsn: str) -> None:
    store = open_store(sqlite_dsn)
    await store.write(add, "A")
    other = open_store(sqlite_dsn)
    assert await count(other) == 1
    await other.close()
    await store.close()


async def test_the_log_of_commits_is_emptied_when_idle_and_under_load(sqlite_dsn: str) -> None:
    """SQLite's write-ahead log would tell the order of answers."""
    store = open_store(sqlite_dsn)
    await store.write(add, "V")
    log, largest, number = Path(sqlite_dsn + "-wal"), 0, 0
    async with asyncio.timeout(LONG):  # it grows with each commit, until a second of them has passed
        while (size := log.stat().st_size) >= largest:
            largest, number = size, number + 1
            await store.write(add, f"V{number}")
    await until(lambda: log.stat().st_size == 0)
    await store.close()


async def test_a_long_reader_keeps_nobody_from_writing(sqlite_dsn: str) -> None:
    store = open_store(sqlite_dsn)
    await store.write(add, "A")
    async with store.read() as conn:
        await conn.execute(select(venue))
        for number in range(5):
            await asyncio.wait_for(store.write(add, f"V{number}"), LONG)
            await asyncio.sleep(0.1)
    await until(lambda: Path(sqlite_dsn + "-wal").stat().st_size == 0)
    await store.close()


async def test_closing_commits_what_waits_and_then_refuses(sqlite_dsn: str) -> None:
    store = open_store(sqlite_dsn)
    writes = [asyncio.create_task(store.write(add, f"V{number}")) for number in range(10)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*writes)) == 10
    with pytest.raises(StoreBusyError):
        await store.write(add, "late")


@pytest.mark.parametrize("dsn", ["mysql://x/y", "nonsense://", "postgresql://h:port/x"])
def test_an_address_that_cannot_be_is_told(dsn: str) -> None:
    with pytest.raises(SetupError, match=r"store|address"):
        store_url(dsn)
