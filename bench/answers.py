"""Durable answers per second through HTTP, 50 guests at once.

Beside: the same portal with one transaction per answer, and raw sqlite3 in batches of 50. Each guest has an
address of its own in 127.0.0.0/8, opens the page, answers four questions and goes online.
"""

import asyncio
import re
import sqlite3
import time
from pathlib import Path

from bench.processes import scratch, started
from bench.table import Row

AT_ONCE = 50
GUESTS = 1_500
RAW_ANSWERS = 50_000
ANSWERS = (("A0", "done"), ("A1", "4"), ("A2", "waiting"), ("A4", "Nhân viên hướng dẫn rất tận tình."))
TOKEN = re.compile(rb'name="r" value="([^"]{40})"')


def measure() -> list[Row]:
    """Answers per second, grouped and one by one, and of sqlite3 itself."""
    grouped, single = _portal(500, GUESTS), _portal(1, GUESTS)
    raw = _raw()
    return [
        Row("durable answers through HTTP, 50 at once", f"{grouped:,.0f}/s", f"one by one {single:,.0f}/s",
            f"{grouped / single:.1f} x", "10 x"),
        Row("the same", f"{grouped:,.0f}/s", f"raw sqlite3, 50 a commit {raw:,.0f}/s", f"{grouped / raw:.1%}", "10 %"),
    ]  # fmt: skip


def _portal(max_batch: int, guests: int) -> float:
    with scratch() as folder, started("bench.portal", str(folder), str(max_batch)) as (port, _):
        began = time.perf_counter()
        asyncio.run(_crowd(port, guests))
        seconds = time.perf_counter() - began
        with sqlite3.connect(folder / "crm.db") as store:
            (complete,) = store.execute("SELECT count(*) FROM response WHERE complete").fetchone()
    if complete != guests:
        raise RuntimeError(f"{guests} guests answered, {complete} responses are stored")
    return guests * len(ANSWERS) / seconds


async def _crowd(port: int, guests: int) -> None:
    waiting = list(range(guests))

    async def one_after_another() -> None:
        while waiting:
            await _guest(port, waiting.pop())

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))


async def _guest(port: int, number: int) -> None:
    address = f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    page = await _ask(reader, writer, "GET /vi HTTP/1.1", "")
    found = TOKEN.search(page)
    if found is None:
        raise RuntimeError("the first page carries no token")
    token = found.group(1).decode()
    for question, value in ANSWERS:
        await _ask(reader, writer, f"POST /vi/survey/{question} HTTP/1.1", f"r={token}&value={value}")
    writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str, form: str) -> bytes:
    body = form.encode()
    writer.write(
        f"{line}\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 303")):
        raise RuntimeError(head[:200])
    length = re.search(rb"Content-Length: (\d+)", head)
    return await reader.readexactly(int(length.group(1))) if length else b""


def _raw() -> float:
    """Rows per second of plain sqlite3 with the same durability, 50 to a commit: the ceiling."""
    with scratch() as folder:
        store = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        store.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE a(id TEXT PRIMARY KEY, v)"
        )
        began = time.perf_counter()
        for start in range(0, RAW_ANSWERS, AT_ONCE):
            store.execute("BEGIN")
            rows = [(f"{number:032x}", '{"A1": "4"}') for number in range(start, start + AT_ONCE)]
            store.executemany("INSERT INTO a VALUES (?, ?)", rows)
            store.execute("COMMIT")
        seconds = time.perf_counter() - began
        store.close()
    return RAW_ANSWERS / seconds


if __name__ == "__main__":
    print(*measure(), sep="\n")
