"""The connection log as the portal writes it: what is in the file, what is not, clocks, crashes, disks, crowds."""

import asyncio
import io
import itertools
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from captive.connections import log as connection_log
from captive.connections.keys import find_public, make_private, open_sealed, read_private, write_public
from captive.connections.log import MAX_ADDRESSES, ConnectionLog, open_log
from captive.connections.records import (
    RESUMED,
    SIZE,
    Event,
    Kind,
    Pairing,
    Session,
    in_order,
    matches,
    pack,
    unpack,
)
from captive.connections.retention import STEADY, Retention
from captive.connections.sealed_file import PIECE, seal, unseal
from captive.connections.store import insert_records, opened, set_aside_files, transaction
from crm.errors import SetupError
from crm.settings import ConnectionLogSection, Settings
from crm.settings_file import parse_settings

MAC = "02:00:5e:10:00:0a"
DEVICE = f"guest {MAC}"
ADDRESS = "192.168.50.12"
NOON = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)  # 12:00 at the centre


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.moment = 1000.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.moment

    def pass_(self, **time: float) -> None:
        """Both clocks go on."""
        self.now += timedelta(**time)
        self.moment += timedelta(**time).total_seconds()


class Venue:
    """A box with a log, and, elsewhere, who can read it."""

    def __init__(self, folder: Path, **section: object) -> None:
        self.private = PrivateKey.generate()
        self.path = folder / "connections.db"
        self.clock = Clock()
        self.addresses: dict[str, str] = {}  # address -> device: the kernel's neighbour table
        self.settings = Settings(
            connection_log=ConnectionLogSection(
                enabled=True,
                public_key=write_public(self.private.public_key),
                path=str(self.path),
                **section,  # type: ignore[arg-type]
            )
        )

    def log(self) -> ConnectionLog:
        key = self.private.public_key
        return ConnectionLog(
            self.settings, key, self.clock, addresses=lambda: self.addresses, monotonic=self.clock.monotonic
        )

    def retention(self) -> Retention:
        return Retention(self.settings, self.clock, monotonic=self.clock.monotonic)

    def rows(self) -> list[tuple[str, bytes, bytes]]:
        return sqlite3.connect(self.path).execute("SELECT day, id, sealed FROM record").fetchall()

    def events(self) -> list[Event]:
        opened_rows = [open_sealed(sealed, [self.private]) for _, _, sealed in self.rows()]
        return in_order([unpack(each) for each in opened_rows if each is not None])

    def sessions(self) -> list[Session]:
        return told(self.events())


def told(events: list[Event]) -> list[Session]:
    """What an export makes of *events*, which it finds day by day in no order."""
    pairing = Pairing()
    days: dict[int, list[Event]] = {}
    for event in events:
        days.setdefault(event.at // 86_400, []).append(event)
    return [
        *(
            session
            for day in sorted(days)
            for event in in_order(days[day])
            for session in pairing.feed(event)
        ),
        *pairing.rest(),
    ]


@pytest.fixture
def venue(tmp_path: Path) -> Venue:
    return Venue(tmp_path, macs="clear")


@pytest.mark.parametrize("ended", [False, True])
def test_a_portal_started_anew_within_the_second_of_a_begin_makes_no_second_connection(
    *, ended: bool
) -> None:
    six = "fd50:7c3a:1::abcd"
    happened = [
        Event("on", 100, "a", "guest", MAC, ADDRESS),
        Event("also", 100, "a", "guest", MAC, six),
        Event("on", 100, "b", "guest", MAC, "", RESUMED),
        Event("also", 100, "b", "guest", MAC, six),
        *([Event("off", 100, "b", "guest", MAC, "", "expired")] if ended else []),
    ]
    for kept in itertools.permutations(happened):  # the log keeps them in no order
        [session] = told(list(kept))
        assert (session.on, session.off) == (100, 100 if ended else None)
        assert session.note == ("expired" if ended else "end not recorded")
        assert session.addresses == [(ADDRESS, 100), (six, 100)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "address", "restart", "wait", "wait", "set back"]),
        st.integers(0, 2),
        st.sampled_from([0, 1, 400, 999, 2500, 3_600_000]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("clocks", ["even", "set back"])
@given(steps=STEPS, shuffle=st.randoms(use_true_random=False))
@given_settings(max_examples=150, deadline=None)
def test_however_close_restarts_and_however_often_the_clock_is_set_back_each_connection_is_told_once(
    clocks: str, steps: list[tuple[str, int, int]], shuffle: random.Random
) -> None:
    """The log keeps events in no order; what a restart and a clock both upset at once nobody can tell."""
    now, ids = 1_763_700_000_000, itertools.count()
    events: list[Event] = []
    online: dict[str, tuple[str, int]] = {}  # device -> its number in this run of the portal, its connection
    true: list[tuple[int, int | None]] = []  # begin and end of each connection, by the clock of then

    def note(kind: Kind, device: str, number: str, address: str = "", reason: str = "") -> None:
        at, ms = divmod(now, 1000)
        events.append(Event(kind, at, number, "guest", device, address, reason, 0, ms))

    for what, which, amount in steps:
        device = f"d{which}"
        if what == "begin" and device not in online:
            online[device] = str(next(ids)), len(true)
            true.append((now // 1000, None))
            note("on", device, online[device][0], ADDRESS)
        elif what == "end" and device in online:
            number, connection = online.pop(device)
            true[connection] = true[connection][0], now // 1000
            note("off", device, number)
        elif what == "address" and device in online:
            note("also", device, online[device][0], f"fd50::{amount}")
        elif what == "restart" and clocks == "even":
            online = {each: (str(next(ids)), connection) for each, (_, connection) in online.items()}
            for each, (number, _) in online.items():
                note("on", each, number, "", RESUMED)
        elif what == "set back" and clocks == "set back":
            now -= amount
        now += amount if what == "wait" else clocks == "even"
    shuffle.shuffle(events)
    found = told(events)
    assert sorted((s.on, s.off or 0) for s in found) == sorted(
        (on, off or 0) if off is None or on <= off else (off, on) for on, off in true
    )
    assert all(s.addresses[0][0] == ADDRESS for s in found if clocks == "even")
    assert all(ADDRESS in [address for address, _ in s.addresses] for s in found)


async def test_a_connection_is_kept_from_its_begin_to_its_end(venue: Venue) -> None:
    log = venue.log()
    log.began(DEVICE, ADDRESS)
    venue.clock.pass_(minutes=5)
    log.began(DEVICE, "fd50:7c3a:1::abcd")
    log.began(DEVICE, ADDRESS)  # told again: nothing new
    venue.clock.pass_(minutes=40)
    log.ended(DEVICE, "expired")
    assert await log.flush()
    [session] = venue.sessions()
    assert session.on == int(NOON.timestamp())
    assert session.off == session.on + 45 * 60
    assert (session.network, session.device, session.note) == ("guest", MAC, "expired")
    assert session.addresses == [(ADDRESS, session.on), ("fd50:7c3a:1::abcd", session.on + 5 * 60)]
    assert venue.path.stat().st_mode & 0o077 == 0


async def test_a_device_of_a_network_that_goes_by_mac_and_address_stands_as_its_mac(venue: Venue) -> None:
    log = venue.log()
    log.began(f"{DEVICE} {ADDRESS}", ADDRESS)
    await log.flush()
    assert venue.sessions()[0].device == MAC


async def test_addresses_that_the_neighbour_table_knows_are_noted_too(venue: Venue) -> None:
    log = venue.log()
    log.began(DEVICE, "::ffff:192.168.50.12")
    venue.addresses = {
        ADDRESS: DEVICE, "fd50::1": DEVICE, "fe80::1%3": DEVICE, "192.168.50.13": "guest 02:00:5e:10:00:0b"
    }  # fmt: skip
    venue.clock.pass_(seconds=10)
    await log.flush()
    log.ended(DEVICE)
    await log.flush()
    [session] = venue.sessions()
    assert [address for address, _ in session.addresses] == [ADDRESS, "fd50::1"]


@pytest.mark.parametrize("macs", ["clear", "hashed"])
async def test_the_bytes_of_the_file_tell_no_device_no_address_and_no_time(tmp_path: Path, macs: str) -> None:
    venue = Venue(tmp_path, macs=macs)
    log = venue.log()
    for number in range(40):
        log.began(f"guest 02:00:5e:10:00:{number:02x}", f"192.168.50.{number + 2}")
    venue.clock.pass_(minutes=7)
    await log.flush()
    for number in range(40):
        log.ended(f"guest 02:00:5e:10:00:{number:02x}", "expired")
    await log.flush()
    text = venue.path.read_bytes()
    at = int(NOON.timestamp())
    for number in range(40):
        mac = f"02:00:5e:10:00:{number:02x}"
        for bare in (mac, mac.replace(":", ""), mac.replace(":", "-"), f"192.168.50.{number + 2}"):
            assert bare.encode() not in text
        assert bytes.fromhex(mac.replace(":", "")) not in text
    for time in range(at, at + 8 * 60):
        assert str(time).encode() not in text
    # Only the audit is dated to the second, for staff; here it tells from when on the key is in force.
    assert re.findall(rb"2026-11-21T[0-9:]+Z", text) == [b"2026-11-21T05:07:00Z"]
    assert b"guest" not in text
    assert b"expired" not in text
    assert len({len(sealed) for _, _, sealed in venue.rows()}) == 1, "lengths tell"
    assert {day for day, _, _ in venue.rows()} == {"2026-11-21"}
    assert [path.name for path in tmp_path.iterdir()] == ["connections.db"], "nothing stays beside it"


async def test_rows_lie_in_the_order_of_random_ids_not_of_arrival(venue: Venue) -> None:
    log = venue.log()
    for number in range(60):
        log.began(f"guest 02:00:5e:10:00:{number:02x}", "")
    await log.flush()
    found = [unpack(open_sealed(row[2], [venue.private]) or b"").device for row in venue.rows()]
    assert sorted(found) != found
    ids = [row[1] for row in venue.rows()]
    assert ids == sorted(ids)
    schema = (
        sqlite3.connect(venue.path).execute("SELECT sql FROM sqlite_schema WHERE name='record'").fetchone()[0]
    )
    assert "WITHOUT ROWID" in schema


async def test_the_box_alone_cannot_read_it(venue: Venue) -> None:
    log = venue.log()
    log.began(DEVICE, ADDRESS)
    await log.flush()
    [(_, _, sealed)] = venue.rows()
    public = find_public(venue.settings.connection_log.public_key)
    assert open_sealed(sealed, [PrivateKey.generate()]) is None
    assert open_sealed(sealed, [PrivateKey(bytes(public))]) is None
    assert open_sealed(sealed[:-1] + bytes([sealed[-1] ^ 1]), [venue.private]) is None, "changed"
    held = [value for value in vars(log).values() if isinstance(value, bytes)]
    assert all(bytes(venue.private) not in value for value in held)
    assert MAC in (open_sealed(sealed, [venue.private]) or b"").decode()


async def test_hashed_devices_are_known_again_on_the_same_day_only(tmp_path: Path) -> None:
    venue = Venue(tmp_path)
    log = venue.log()
    for _ in range(2):
        log.began(DEVICE, ADDRESS)
        log.ended(DEVICE)
        await log.flush()
    venue.clock.pass_(days=1)
    log.began(DEVICE, ADDRESS)
    log.ended(DEVICE)
    await log.flush()
    codes = [session.device for session in sorted(venue.sessions(), key=lambda session: session.on or 0)]
    assert codes[0] == codes[1] != codes[2]
    assert MAC not in codes


async def test_a_restart_loses_no_connection_and_marks_what_went_on(venue: Venue) -> None:
    log = venue.log()
    log.began(DEVICE, ADDRESS)
    log.began("guest 02:00:5e:10:00:0b", "192.168.50.13")
    await log.flush()
    venue.clock.pass_(minutes=10)  # killed, started anew: one is still online, one ran out meanwhile
    log = venue.log()
    log.resume([DEVICE, "guest 02:00:5e:10:00:0b"])
    log.began(DEVICE, ADDRESS)
    log.ended("guest 02:00:5e:10:00:0b")
    venue.clock.pass_(minutes=10)
    log.ended(DEVICE)
    await log.flush()
    sessions = {session.device: session for session in venue.sessions()}
    at = int(NOON.timestamp())
    assert len(sessions) == len(venue.sessions()) == 2
    assert (sessions[MAC].on, sessions[MAC].off) == (at, at + 1200)
    other = sessions["02:00:5e:10:00:0b"]
    assert (other.on, other.off) == (at, at + 600)


async def test_who_was_online_before_the_log_was_turned_on_is_told_as_such(venue: Venue) -> None:
    log = venue.log()
    log.resume([DEVICE])
    log.ended(DEVICE)
    await log.flush()
    [session] = venue.sessions()
    assert session.note == "was online before"


async def test_a_clock_in_the_past_dates_nothing_and_later_the_times_are_right(venue: Venue) -> None:
    venue.clock.now = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    log = venue.log()
    log.began(DEVICE, ADDRESS)
    venue.clock.pass_(minutes=3)
    log.ended(DEVICE)
    venue.clock.pass_(minutes=2)
    assert not await log.flush()
    assert not venue.path.exists(), "nothing is written by such a clock"
    venue.clock.now = NOON  # the network has set it; the monotonic clock knows nothing of it
    assert await log.flush()
    [session] = venue.sessions()
    at = int(NOON.timestamp())
    assert (session.on, session.off) == (at - 300, at - 120)
    assert {row[0] for row in venue.rows()} == {"2026-11-21"}


async def test_local_midnight_parts_the_days(venue: Venue) -> None:
    venue.clock.now = datetime(2026, 11, 21, 16, 59, tzinfo=UTC)  # 23:59 at the centre
    log = venue.log()
    log.began(DEVICE, ADDRESS)
    venue.clock.pass_(minutes=2)
    log.ended(DEVICE)
    await log.flush()
    assert sorted(row[0] for row in venue.rows()) == ["2026-11-21", "2026-11-22"]


async def fill_days(venue: Venue, days: list[date]) -> None:
    with opened(venue.path, create=True) as conn, transaction(conn):
        insert_records(conn, [(day, pack(Event("on", 1, device=f"MARK{day}"))) for day in days])


def days_kept(venue: Venue) -> list[str]:
    return sorted(row[0] for row in venue.rows())


async def test_old_records_go_once_the_clock_has_run_evenly(
    venue: Venue, capsys: pytest.CaptureFixture[str]
) -> None:
    today = date(2026, 11, 21)
    first = today - timedelta(days=364)
    await fill_days(venue, [first - timedelta(days=1), first, today])
    retention = venue.retention()
    await retention.look()
    assert len(days_kept(venue)) == 3, "not by a clock nobody has watched yet"
    venue.clock.pass_(seconds=STEADY + 1)
    await retention.look()
    assert days_kept(venue) == [first.isoformat(), today.isoformat()]
    assert f"MARK{first - timedelta(days=1)}".encode() not in venue.path.read_bytes(), (
        "overwritten, not only let go"
    )
    assert "old records removed" in capsys.readouterr().out
    venue.clock.pass_(days=1)
    await retention.look()
    assert days_kept(venue) == [today.isoformat()]


async def test_a_clock_that_jumps_empties_nothing(venue: Venue, capsys: pytest.CaptureFixture[str]) -> None:
    await fill_days(venue, [date(2026, 11, 1), date(2026, 11, 21)])
    retention = venue.retention()
    await retention.look()
    venue.clock.pass_(seconds=STEADY - 1)
    venue.clock.now += timedelta(days=20 * 365)  # for some minutes, until the network sets it right
    for _ in range(5):
        await retention.look()
        venue.clock.pass_(seconds=60)
    venue.clock.now -= timedelta(days=20 * 365)
    await retention.look()
    venue.clock.pass_(seconds=STEADY + 1)
    await retention.look()
    assert len(days_kept(venue)) == 2
    capsys.readouterr()
    venue.clock.now = datetime(1970, 1, 1, tzinfo=UTC)
    for _ in range(5):
        venue.clock.pass_(seconds=STEADY + 1)
        await retention.look()
    assert len(days_kept(venue)) == 2
    assert capsys.readouterr().out == "", "not even tried"


async def test_turned_off_or_nought_days_it_still_runs_out(tmp_path: Path) -> None:
    for section, kept in (
        (ConnectionLogSection(days=30), 1),
        (ConnectionLogSection(enabled=True, days=0), 0),
    ):
        assert not section.on
        venue = Venue(tmp_path)
        await fill_days(venue, [date(2026, 10, 1), date(2026, 11, 21)])
        venue.settings = Settings(connection_log=msgspec.structs.replace(section, path=str(venue.path)))
        retention = venue.retention()
        for _ in range(2):
            await retention.look()
            venue.clock.pass_(seconds=STEADY + 1)
        await retention.look()
        assert len(days_kept(venue)) == kept
        venue.path.unlink()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow past 20 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


async def test_a_full_disk_hurts_nobody_and_what_waited_is_written_later(
    venue: Venue, full_disk: None, capsys: pytest.CaptureFixture[str]
) -> None:
    log = venue.log()
    for number in range(200):
        log.began(f"guest 02:00:5e:10:00:{number:02x}", ADDRESS)
    assert not await log.flush()
    assert not await log.flush()
    told = capsys.readouterr().out
    assert told.count("not written; guests are not affected") == 1
    assert MAC[:8] not in told
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert await log.flush()
    assert len(venue.rows()) == 200
    assert "written again" in capsys.readouterr().out


async def test_memory_is_bounded_and_the_log_tells_what_it_lost(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_log, "MAX_WAITING", 10)
    log = venue.log()
    for number in range(15):
        log.began(f"guest 02:00:5e:10:00:{number:02x}", "")
    for number in range(2 * MAX_ADDRESSES):
        log.began(DEVICE, f"fd50::{number:x}")
    await log.flush()
    events = venue.events()
    assert sum(event.kind != "lost" for event in events) == 10
    assert sum(event.count for event in events) == 5 + MAX_ADDRESSES
    assert len(log._sessions[DEVICE].addresses) == MAX_ADDRESSES, "a device may make up as many as it likes"
    monkeypatch.setattr(connection_log, "MAX_SESSIONS", 15)
    log.began("guest 02:00:5e:10:01:01", "")
    await log.flush()
    assert sum(event.count for event in venue.events()) == 5 + MAX_ADDRESSES + 1


@pytest.mark.parametrize("damage", [b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 9000])
async def test_a_damaged_file_is_kept_aside_and_a_new_one_begins(
    venue: Venue, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    venue.path.write_bytes(damage)
    log = venue.log()
    log.began(DEVICE, ADDRESS)
    assert not await log.flush()
    assert await log.flush()
    assert [path.read_bytes() for path in set_aside_files(venue.path)] == [damage]
    assert len(venue.rows()) == 1
    assert "moved aside" in capsys.readouterr().out
    venue.clock.now = datetime.now(UTC) + timedelta(days=400)
    retention = venue.retention()
    await retention.look()
    venue.clock.pass_(seconds=STEADY + 1)
    await retention.look()
    assert set_aside_files(venue.path) == [], "it too must not be kept longer than the settings say"


async def test_a_log_of_another_program_is_not_written_into(venue: Venue) -> None:
    with sqlite3.connect(venue.path) as conn:
        conn.execute("CREATE TABLE answers (x)")
    log = venue.log()
    log.began(DEVICE, ADDRESS)
    assert not await log.flush()
    assert await log.flush()
    [aside] = set_aside_files(venue.path)
    assert sqlite3.connect(aside).execute("SELECT name FROM sqlite_schema").fetchall() == [("answers",)]


WRITER = """
    import asyncio, itertools, sys, time
    from datetime import UTC, datetime
    from captive.connections.keys import find_public
    from captive.connections.log import ConnectionLog
    from crm.settings import ConnectionLogSection, Settings

    async def main(path, key):
        section = ConnectionLogSection(enabled=True, public_key=key, path=path, macs="clear")
        log = ConnectionLog(Settings(connection_log=section), find_public(key), lambda: datetime.now(UTC))
        written = 0
        while True:
            for _ in range(50):
                written += 1
                log.began(f"guest {written}", "192.168.50.2")
            await log.flush()
            print(written, flush=True)

    asyncio.run(main(*sys.argv[1:]))
"""


def test_killed_while_writing_the_file_is_whole_and_holds_all_that_was_said_to_be_written(
    venue: Venue,
) -> None:
    key = write_public(venue.private.public_key)
    for replies in (1, 7, 20):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(venue.path), key]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline()) for _ in range(replies)][-1]
            writer.kill()
        before = len(venue.events())
        kept = {event.device for event in venue.events()}
        assert {str(number) for number in range(1, said + 1)} <= kept
        with opened(venue.path) as conn:
            assert conn.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert before % 50 == 0, "a batch is there whole or not at all"


async def test_many_begin_and_end_while_it_is_written_and_read(venue: Venue) -> None:
    log = venue.log()
    stop = False

    async def write() -> None:
        while not stop:
            await log.flush()
            await asyncio.sleep(0)

    def read() -> None:
        with opened(venue.path) as conn:
            conn.execute("SELECT count(*) FROM record").fetchone()

    await log.flush()
    writing = asyncio.create_task(write())
    for number in range(2000):
        log.began(f"guest {number}", ADDRESS)
        log.ended(f"guest {number}")
        if number % 100 == 0:
            await asyncio.to_thread(read)
    stop = True
    await writing
    await log.close()
    assert len(venue.events()) == 4000
    assert len({session.device for session in venue.sessions()}) == 2000


async def test_the_last_batch_is_written_when_the_portal_stops(venue: Venue) -> None:
    log = venue.log()
    await log.start()
    await asyncio.sleep(0)
    log.began(DEVICE, ADDRESS)
    await log.close()
    assert [event.device for event in venue.events()] == [MAC]


@given(
    st.lists(
        st.tuples(st.sampled_from(["on", "also", "off", "resume"]), st.integers(0, 3), st.integers(0, 5)),
        max_size=30,
    )
)
@given_settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_was_seen_pairing_tells_each_connection_once(steps: list[tuple[str, int, int]]) -> None:
    pairing, ended, named = Pairing(), [], set()
    for at, (kind, device, session) in enumerate(steps):
        note = "resumed" if kind == "resume" else ""
        event = Event("on" if note else kind, at, f"{device}-{session}", "guest", f"d{device}", "", note)  # type: ignore[arg-type]
        named.add(event.session)
        ended += pairing.feed(event)
    sessions = [*ended, *pairing.rest()]
    assert len({id(session) for session in sessions}) == len(sessions)
    assert sorted(named) == sorted(number for session in sessions for number in session.ids)
    assert all(session.off is None or session.on is None or session.on <= session.off for session in sessions)
    # The end of one connection may have been written twice (a disk that failed and had written).
    assert sum(s.off is not None for s in sessions) <= sum(kind == "off" for kind, _, _ in steps)


@given(st.builds(Event, kind=st.just("on"), at=st.integers(0, 2**33), session=st.text("0123456789abcdef", max_size=16),
                 network=st.text(max_size=20), device=st.text(max_size=80), address=st.text(max_size=80),
                 note=st.text(max_size=80)))  # fmt: skip
def test_every_event_has_one_size(event: Event) -> None:
    assert len(pack(event)) == SIZE
    assert unpack(pack(event)).at == event.at


def test_who_had_the_address_at_that_time() -> None:
    session = Session(100, 200, "guest", MAC, [("a", 100), ("b", 150)])
    assert matches(session, 0, 300, "", None)
    assert not matches(session, 201, 300, "", None)
    assert matches(session, 0, 300, "b", 150)
    assert not matches(session, 0, 300, "b", 149), "it had that address only later"
    assert not matches(session, 0, 300, "c", None)
    assert not matches(session, 0, 300, "a", 201)
    assert matches(Session(100, None, "guest", MAC, [("a", 100)]), 0, 300, "a", 250), "its end was not seen"


def test_a_mistyped_key_is_refused_and_a_private_one_too(tmp_path: Path) -> None:
    public = write_public(PrivateKey.generate().public_key)
    assert write_public(find_public(public)) == public
    for place in range(len("wcl-public-"), len(public)):
        letter = "A" if public[place] != "A" else "B"
        with pytest.raises(SetupError, match="not whole"):
            find_public(public[:place] + letter + public[place + 1 :])
    with pytest.raises(SetupError, match="private key"):
        find_public("wcl-secret-abc")
    with pytest.raises(SetupError, match="cannot be read"):
        find_public(str(tmp_path / "none"))
    file = tmp_path / "key"
    made = make_private(file, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_private(file, str).public_key == made
    with pytest.raises(SetupError, match="never replaced"):
        make_private(file, "")
    with pytest.raises(SetupError, match=r"connection_log\.public_key: "):
        open_log(Settings(connection_log=ConnectionLogSection(enabled=True, public_key="x")), Clock(), dict)


def test_a_locked_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    file = tmp_path / "key"
    made = make_private(file, "đúng mật khẩu này")
    assert read_private(file, lambda: "đúng mật khẩu này").public_key == made
    with pytest.raises(SetupError, match="does not open"):
        read_private(file, lambda: "sai mật khẩu rồi")


@given(st.integers(0, 3), st.integers(-1, 1), st.integers(1, 70_000))
@given_settings(max_examples=30, deadline=None)
def test_a_sealed_file_opens_whole_or_not_at_all(pieces: int, more: int, step: int) -> None:
    text = os.urandom(max(0, pieces * PIECE + more))
    reader = PrivateKey.generate()
    given_in = (text[place : place + step] for place in range(0, len(text), step))
    sealed = b"".join(seal(given_in, reader.public_key))

    def opened_text(sealed: bytes) -> bytes:
        return b"".join(unseal(io.BytesIO(sealed), reader, str))

    assert opened_text(sealed) == text
    front = len(sealed) - len(text) - 17 * max(1, -(-len(text) // PIECE))
    borders = range(front, len(sealed), PIECE + 17)
    for border in borders:
        with pytest.raises(SetupError, match="cut short"):
            opened_text(sealed[:border])
        with pytest.raises(SetupError, match="was changed"):
            opened_text(sealed[:border] + bytes(PIECE + 17) + sealed[border:])
    with pytest.raises(SetupError):
        opened_text(sealed + b"x")


def test_settings_that_cannot_work_are_told_at_start() -> None:
    with pytest.raises(SetupError, match=r"f:1: connection_log\.public_key: is missing"):
        parse_settings("[connection_log]\nenabled = true\n", "f")
    with pytest.raises(SetupError, match=r"connection_log\.path: must be a file of its own"):
        parse_settings('[connection_log]\npath = "/var/lib/wificrm/crm.db"\n', "f")
    assert not parse_settings("[connection_log]\nenabled = true\ndays = 0\n").connection_log.on


def test_the_portal_does_not_load_the_library_while_the_log_is_off() -> None:
    code = "import sys, captive.commands.serve; print([name for name in sys.modules if 'nacl' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[]\n"
