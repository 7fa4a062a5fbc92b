"""A kill -9 at random instants: every answer that got its reply is in the store, and the store opens clean."""

import base64
import contextlib
import http.client
import json
import random
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import pytest

from surveys.questionnaire_files import load_questionnaire
from tests.lab.journey import BROWSER
from tests.lab.loopback import Portal
from tests.lab.page import Page

KILLS = 200
GUESTS_AT_ONCE = 6
MOST_REPLIES = 40
"""Answers that got their reply before a kill, at most; at this count the kill comes within `JITTER` seconds."""
JITTER = 0.01

Given = dict[UUID, dict[str, str]]


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    made = Portal(tmp_path)
    yield made
    made.close()


class Guest(threading.Thread):
    """Answers as one person after the other, each from an address of its own, until the portal is gone."""

    def __init__(self, port: int, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.replied: Given = {}
        self.replies = 0
        self.midway = False  # between the first answer and the last; stays so when the portal dies
        self._port = port
        self._number = number
        self._chance = random.Random(seed)

    def run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for person in range(1, 60_000):
                self._be(f"127.{self._number + 1}.{person >> 8}.{person & 255}")

    def _be(self, address: str) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=60, source_address=(address, 0)
        )
        with contextlib.closing(connection):
            connection.request("GET", "/en", headers=BROWSER)
            page = Page("http://127.0.0.1/", connection.getresponse().read().decode())
            while page.survey:
                form = page.survey
                value = (
                    self._chance.choice(form.values) if form.values else "A comment, more or less long." * 3
                )
                body = urlencode({**form.fields, "value": value})
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", form.action, body, kind)
                reply = connection.getresponse()
                reply.read()
                assert reply.status == 303, reply.status
                response = UUID(bytes=base64.urlsafe_b64decode(form.fields["r"])[:16])
                self.replied.setdefault(response, {})[form.question] = value
                self.replies += 1
                self.midway = True
                connection.request("GET", reply.headers["Location"], headers=BROWSER)
                page = Page("http://127.0.0.1/", connection.getresponse().read().decode())
            self.midway = False


def answer_until_killed(portal: Portal, cycle: int, chance: random.Random) -> tuple[Given, bool]:
    """Start the portal, answer at it, kill it at a random instant: what was replied to, was anybody midway."""
    guests = [Guest(portal.port, number, cycle * 100 + number) for number in range(GUESTS_AT_ONCE)]
    portal.start()
    for guest in guests:
        guest.start()
    enough, until = chance.randrange(MOST_REPLIES), time.monotonic() + 60
    while sum(guest.replies for guest in guests) < enough and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, JITTER))
    portal.kill9()
    replied: Given = {}
    for guest in guests:
        guest.join(90)
        assert not guest.is_alive()
        replied |= guest.replied
    return replied, any(guest.midway for guest in guests)


@contextlib.contextmanager
def copy_of(portal: Portal, folder: Path) -> Iterator[sqlite3.Connection]:
    """The store as the kill left it, opened elsewhere: the portal itself must recover the one it has."""
    for name in ("crm.db", "crm.db-wal"):
        (folder / name).unlink(missing_ok=True)
        if (portal.home / name).exists():
            shutil.copy(portal.home / name, folder)
    with contextlib.closing(sqlite3.connect(folder / "crm.db")) as store:
        yield store


def assert_kept(store: sqlite3.Connection, replied: Given) -> None:
    """Every answer in *replied* stands in its response's document."""
    for response, answers in replied.items():
        row = store.execute("SELECT answers FROM response WHERE id = ?", (response.hex,)).fetchone()
        assert row, response
        assert json.loads(row[0]).items() >= answers.items()


def test_two_hundred_kills_lose_no_answer(portal: Portal, tmp_path: Path) -> None:
    chance = random.Random(20)
    folder = tmp_path / "copy"
    folder.mkdir()
    everything: Given = {}
    interrupted = 0
    for cycle in range(KILLS):
        replied, midway = answer_until_killed(portal, cycle, chance)
        interrupted += midway
        everything |= replied
        with copy_of(portal, folder) as store:
            assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert store.execute("PRAGMA foreign_key_check").fetchall() == []
            assert_kept(store, replied)
    assert sum(map(len, everything.values())) > 10 * KILLS
    assert interrupted > KILLS / 2, "most kills must have come in the middle of somebody's answers"
    assert "Traceback" not in portal.log
    with copy_of(portal, folder) as store:
        assert_kept(store, everything)
        assert_counts_agree(store)


def assert_counts_agree(store: sqlite3.Connection) -> None:
    """Counters and facts say what the documents say, to the one."""
    comments = {q.key for q in load_questionnaire("nhanh").questions if q.kind == "comment"}
    documents = {
        id_: json.loads(answers) for id_, answers in store.execute("SELECT id, answers FROM response")
    }
    facts = Counter((q, v) for answers in documents.values() for q, v in answers.items() if q not in comments)
    counts = {
        (q, v): n
        for q, v, n in store.execute("SELECT question, value, sum(n) FROM daily_count GROUP BY 1, 2")
    }
    assert {key: n for key, n in counts.items() if key[0] not in comments} == facts
    assert Counter(store.execute("SELECT question, value FROM answer_fact").fetchall()) == facts
    funnel = dict(store.execute("SELECT step, sum(n) FROM daily_funnel GROUP BY step"))
    assert funnel["started"] == len(documents)
    assert funnel["completed"] == store.execute("SELECT sum(complete) FROM response").fetchone()[0]
