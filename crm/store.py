"""A store: one database, one writer, many readers, and the group commit that answers wait for.

SQLite (the default) and PostgreSQL behind the same four verbs: `Store.read`, `Store.begin`,
`Store.write`, `Store.close`. Nothing here knows a table.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from crm.engines import BUSY_TIMEOUT, make_batch_engine, make_engine
from crm.key_order import KeyOrder
from crm.pace import Pace, Worst

log = structlog.get_logger()

MAX_BATCH = 500
"""Writes that share one transaction at most; bounds how long the first one waits for the last."""

MAX_WAITING = 20_000
"""Writes that may wait; past that a write is refused at once (`StoreBusyError`) rather than remembered."""

TIDY_AFTER = 0.05
"""Seconds without a commit after which SQLite's write-ahead log is emptied; see `Store._tidy`."""

TIDY_AT_LATEST = 1.0
"""Seconds after which the log is emptied even when writes keep coming."""

ORDER_SHARE = 0.05
"""Of the writer's time at most, for putting rows into the order of their keys; see `crm.key_order`."""

BatchWrite = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Takes all items that wait for it and returns one result (or exception) per item, in order.

Not a coroutine: on SQLite the whole batch runs in the writer's thread, one hand-over instead of one per
statement; on PostgreSQL SQLAlchemy runs it beside the event loop.
"""


class StoreBusyError(Exception):
    """More writes wait than the store can take; try again in a moment."""


STORE_ERRORS = (SQLAlchemyError, OSError, StoreBusyError)
"""What a store raises that is full, damaged, read-only, gone, or too slow."""


@dataclass(slots=True)
class _Waiting:
    batch: BatchWrite
    item: Any
    done: asyncio.Future[Any]
    since: float


class Store:
    """An open database. Make it with `open_store`; `close` it when done."""

    def __init__(
        self, writer: AsyncEngine, reader: AsyncEngine, batches: Engine | None, *, max_batch: int = MAX_BATCH
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._batches = batches  # SQLite: the group commit's own connection, used in one thread
        self._thread = ThreadPoolExecutor(1, "group commit")
        self._max_batch = max_batch
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._committer: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._commits = 0
        self._order = KeyOrder()
        self._watching = False
        self._order_after = 0.0
        self._closed = False
        self.failing = False
        """Whether the last write was not taken."""
        self._pace = Pace()

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._writer.dialect.name

    @property
    def waiting(self) -> int:
        """Writes that wait for the next commit."""
        return len(self._waiting)

    def worst(self) -> Worst:
        """How long writes waited and commits took at worst in the last minutes."""
        return self._pace.worst(asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one consistent state and cannot write."""
        async with self._reader.connect() as conn:
            yield conn

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of one's own: commits at the end, rolls back on an exception."""
        async with self._lock, self._writer.begin() as conn:
            yield conn
        self._tidy_soon()

    async def write(self, batch: BatchWrite, item: Any, *, within: float | None = None) -> Any:  # noqa: ANN401
        """Group commit: hand *item* to *batch* in the next transaction; return after its commit.

        Raises TimeoutError when that takes more than *within* seconds; what then still waits is not written.
        Writes that wait for the same *batch* function are handed to it together. When a transaction
        fails, its items are tried again one by one, so that one bad item harms nobody else.
        """
        if self._closed:
            raise StoreBusyError("the store is closed")
        if len(self._waiting) >= MAX_WAITING:
            raise StoreBusyError(f"{MAX_WAITING} writes are waiting")
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_for_ever(), name="group commit")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(batch, item, loop.create_future(), loop.time())
        self._waiting.append(waiting)
        self._wake.set()
        if within is not None:
            giving_up = loop.call_later(within, _settle, waiting, TimeoutError())
            waiting.done.add_done_callback(lambda _done: giving_up.cancel())
        return await waiting.done

    async def close(self) -> None:
        """Commit what waits, then let go of the database."""
        self._closed = True
        if self._committer is not None:
            self._wake.set()
            await self._committer
        if self._tidying is not None:
            await self._tidying
        self._thread.shutdown()
        if self._batches is not None:
            self._batches.dispose()
        await self._reader.dispose()
        await self._writer.dispose()

    async def _commit_for_ever(self) -> None:
        while self._waiting or not self._closed:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            seen = 0  # ten share a commit at the price of one: wait while each turn of the loop brings more
            while seen < len(self._waiting) < self._max_batch:
                seen = len(self._waiting)
                await asyncio.sleep(0)
            # Who gave up waiting was told that it is not kept: then it is not.
            group = [each for each in self._waiting[: self._max_batch] if not each.done.done()]
            del self._waiting[: self._max_batch]
            if group:
                await self._commit(group)

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        began = asyncio.get_running_loop().time()
        try:
            results = await self._run(group)
        except Exception as error:
            if len(group) == 1:
                self._note(error)
                _settle(group[0], error)
                return
            for waiting in (each for each in group if not each.done.done()):  # as above
                await self._commit([waiting])
            return
        self._note(None)
        now = asyncio.get_running_loop().time()
        self._pace.note(now, began - min(each.since for each in group), now - began)
        for waiting, result in zip(group, results, strict=True):
            _settle(waiting, result)

    def _note(self, error: Exception | None) -> None:
        """Tell the log when writing begins to fail and when it works again, not of each failure in between."""
        name = Path(self._writer.url.database or "").name
        if error is not None and not self.failing:
            log.error("a store does not take what is written", store=name, error=type(error).__name__)
        elif error is None and self.failing:
            log.info("a store takes what is written again", store=name)
        self.failing = error is not None

    async def _run(self, group: Sequence[_Waiting]) -> list[Any]:
        """Run *group* in one transaction; the results stand in the group's order."""
        if self._batches is None:
            async with self.begin() as conn:
                return await conn.run_sync(_apply, group)
        async with self._lock:
            results: list[Any] = await self._in_thread(self._batches, lambda conn: _apply(conn, group))
        self._tidy_soon()
        return results

    def _in_thread(self, batches: Engine, work: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Do *work* in a transaction of the group commit's own connection, and in its thread."""

        def transact() -> Any:  # noqa: ANN401
            if not self._watching:
                with batches.begin() as conn:
                    self._watching = self._order.watch(conn)
            with batches.begin() as conn:
                return work(conn)

        return asyncio.get_running_loop().run_in_executor(self._thread, transact)

    def _tidy_soon(self) -> None:
        self._commits += 1
        if self.dialect == "sqlite" and (self._tidying is None or self._tidying.done()):
            self._tidying = asyncio.create_task(self._tidy_when_idle(), name="tidy")

    async def _tidy_when_idle(self) -> None:
        loop = asyncio.get_running_loop()
        tidied_at = -1
        while tidied_at != self._commits:
            latest = loop.time() + TIDY_AT_LATEST
            seen = -1
            while seen != self._commits and loop.time() < latest and not self._closed:
                seen = self._commits
                await asyncio.sleep(TIDY_AFTER)
            seen = self._commits
            try:
                tidy = await self._tidy()
            except (SQLAlchemyError, sqlite3.Error):  # no room, or worse: whoever writes tells of it
                tidy = False
                await asyncio.sleep(0 if self._closed else TIDY_AT_LATEST)
            if tidy or self._closed:
                tidied_at = seen

    async def _tidy(self) -> bool:
        """Leave no order of arrival on the disk; False when something is left to do.

        SQLite's write-ahead log keeps page images in the order of commits, and a page keeps rows where there
        was room when they came: with the disk in hand either would tell in which order answers came, and so
        whose they are. Both are put right whenever the store is idle for a moment.
        """
        ordered = await self._restore_order()
        async with self._lock, self._writer.connect() as conn:
            driver = (await conn.get_raw_connection()).driver_connection
            assert driver is not None  # noqa: S101 - a connected engine has one
            await driver.execute("PRAGMA busy_timeout=0")  # never make writers wait for a reader
            try:
                async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
                    busy = (await cursor.fetchone())[0]
            finally:
                await driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
        return ordered and not busy

    async def _restore_order(self) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() < self._order_after and not self._closed:
            return False
        began = loop.time()
        try:
            async with self._lock:
                if self._batches is not None:
                    await self._in_thread(self._batches, self._order.restore)
        except OperationalError:  # another process writes, or the disk is full: try again
            self._order_after = loop.time() + 1
            return False
        self._order_after = loop.time() + (loop.time() - began) / ORDER_SHARE
        return True


def _apply(conn: Connection, group: Sequence[_Waiting]) -> list[Any]:
    by_batch: dict[BatchWrite, list[int]] = {}
    for index, waiting in enumerate(group):
        by_batch.setdefault(waiting.batch, []).append(index)
    results: list[Any] = [None] * len(group)
    for batch, indices in by_batch.items():
        answers = batch(conn, [group[i].item for i in indices])
        for index, answer in zip(indices, answers, strict=True):
            results[index] = answer
    return results


def _settle(waiting: _Waiting, result: Any) -> None:  # noqa: ANN401
    if waiting.done.done():  # whoever waited has gone away
        return
    if isinstance(result, BaseException):
        waiting.done.set_exception(result)
    else:
        waiting.done.set_result(result)


def open_store(dsn: str, *, max_batch: int = MAX_BATCH) -> Store:
    """Open the store at *dsn* (it must have been migrated). Connects on first use."""
    reader = make_engine(dsn, readonly=True, pool_size=2)
    return Store(make_engine(dsn), reader, make_batch_engine(dsn), max_batch=max_batch)
