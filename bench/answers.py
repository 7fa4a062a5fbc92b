"""Durable answers per second through HTTP, 50 guests at once.

Beside: the same portal with one transaction per answer, and raw sqlite3 in batches of 50. Each guest has an
address of its own in 127.0.0.0/8, opens the page, answers four questions and goes online.
"""

import re
import selectors
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.processes import scratch, started
from bench.table import Row

AT_ONCE = 50
GUESTS = 2_000
FEW = 300
RAW_ANSWERS = 50_000
ANSWERS = (("A0", "done"), ("A1", "4"), ("A2", "waiting"), ("A4", "Nhân viên hướng dẫn rất tận tình."))
TOKEN = re.compile(rb'name="r" value="([^"]{40})"')


def measure() -> list[Row]:
    """Answers per second: grouped, a transaction each in two ways, and of sqlite3 itself."""
    grouped, plain, single = _portal("grouped", GUESTS), _portal("plain", FEW), _portal("single", FEW)
    raw = _raw()
    what = "durable answers through HTTP, 50 at once"
    return [
        Row(
            what,
            f"{grouped:,.0f}/s",
            f"a transaction per request {plain:,.0f}/s",
            f"{grouped / plain:.1f} x",
            "10 x",
        ),
        Row(
            what,
            f"{grouped:,.0f}/s",
            f"our writer, one a commit {single:,.0f}/s",
            f"{grouped / single:.1f} x",
            "-",
        ),
        Row(
            what,
            f"{grouped:,.0f}/s",
            f"raw sqlite3, 50 a commit {raw:,.0f}/s",
            f"{grouped / raw:.1%}",
            "10 %",
        ),
    ]


def _portal(way: str, guests: int) -> float:
    with scratch() as folder, started("bench.portal", str(folder), way) as (port, _):
        crowd = [_Guest(port, number) for number in range(guests)]
        _play(crowd, _Guest.ask_for_page)
        began = time.perf_counter()
        _play(crowd, _Guest.answer_all)
        seconds = time.perf_counter() - began
        with sqlite3.connect(folder / "crm.db") as store:
            (complete,) = store.execute("SELECT count(*) FROM response WHERE complete").fetchone()
    if complete != guests:
        raise RuntimeError(f"{guests} guests answered, {complete} responses are stored")
    return guests * len(ANSWERS) / seconds


class _Guest:
    """One phone: an address and a connection of its own. Its steps yield when they wait for an answer."""

    def __init__(self, port: int, number: int) -> None:
        self.sock = socket.socket()
        self.sock.bind((f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}", 0))
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.token = b""

    def ask_for_page(self) -> Iterator[None]:
        """Open the first page and keep its token."""
        self.sock.sendall(b"GET /vi HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while b"</html>" not in self.received:
            yield
        found = TOKEN.search(self.received)
        if found is None:
            raise RuntimeError("the first page carries no token")
        self.token, self.received = found.group(1), b""

    def answer_all(self) -> Iterator[None]:
        """Answer every question; each answer is sent when the reply to the one before is there."""
        for question, value in ANSWERS:
            form = b"r=" + self.token + b"&value=" + value.encode()
            self.sock.sendall(
                f"POST /vi/survey/{question} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(form)}\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode()
                + form
            )
            while b"\r\n\r\n" not in self.received:
                yield
            if not self.received.startswith(b"HTTP/1.1 303"):
                raise RuntimeError(self.received[:200] + self.received[-900:])
            self.received = b""


def _play(crowd: list[_Guest], steps: Callable[[_Guest], Iterator[None]]) -> None:
    """Let everybody take *steps*, `AT_ONCE` at a time, in one thread that costs the server little."""
    coming = iter(crowd)
    with selectors.DefaultSelector() as selector:

        def next_one() -> None:
            for guest in coming:
                under_way = steps(guest)
                next(under_way)
                selector.register(guest.sock, selectors.EVENT_READ, (guest, under_way))
                return

        for _ in range(AT_ONCE):
            next_one()
        while selector.get_map():
            for key, _ in selector.select():
                guest, under_way = key.data
                if not (more := guest.sock.recv(65536)):
                    raise RuntimeError("the portal closed a guest's connection: is this machine too busy?")
                guest.received += more
                if next(under_way, "done") == "done":
                    selector.unregister(guest.sock)
                    next_one()


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
