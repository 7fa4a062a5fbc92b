"""Case 20: a damaged state file neither stops the portal nor opens it; what was in it is kept for whoever mends it.

OPNsense repairs SQLite, pfSense deletes the file, coova reads raw structs out of it (``statusfile.c``).
"""

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator

import pytest

from tests.lab.loopback import Portal
from tests.lab.venue import eventually
from tests.security.stranger import Stranger

HOSTILE = [
    "",
    "guest",
    "guest 127.0.0.1; flush ruleset",
    "guest 02:00:00:00:00:01 }; flush ruleset; add element inet wificrm allowed_guest { 02:00:00:00:00:02",
    "guest 02:00:00:00:00:01\n",
    "../../etc/passwd",
    "x" * 100_000,
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal with a guest online, stopped as by a power cut; each test damages a copy of what it left."""
    portal = Portal(tmp_path_factory.mktemp("whole"))
    portal.start()
    assert Stranger(portal, "127.13.0.1").post("/en/skip").status == 303
    portal.kill9()
    with contextlib.closing(sqlite3.connect(portal.home / "access.db")) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for rest in portal.home.glob("access.db-*"):
        rest.unlink()
    yield portal
    portal.close()


@pytest.fixture
def damaged(whole: Portal) -> Iterator[Portal]:
    """That portal, not running; afterwards its access store is as it was."""
    good = (whole.home / "access.db").read_bytes()
    (whole.home / "log").write_text("")
    yield whole
    with contextlib.suppress(ProcessLookupError):
        whole.kill9()
    for each in whole.home.glob("access.db*"):
        each.unlink()
    (whole.home / "access.db").write_bytes(good)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def cut_within_a_page(data: bytes) -> bytes:
    return data[:-700]


def cut_short(data: bytes) -> bytes:
    return data[:50]


def emptied(_data: bytes) -> bytes:
    return b""


def header_flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def page_size_flipped(data: bytes) -> bytes:
    return data[:16] + bytes([data[16] ^ 0x40]) + data[17:]


def zeroed(data: bytes) -> bytes:
    return data[:4096] + bytes(len(data) - 4096)


def noise(data: bytes) -> bytes:
    return random.Random(20).randbytes(len(data))


def other_kind(_data: bytes) -> bytes:
    return b"\x7fELF" + bytes(1000)


@pytest.mark.parametrize(
    "damage", [cut, cut_short, header_flipped, page_size_flipped, zeroed, noise, other_kind]
)
def test_guests_go_online_whatever_became_of_the_file(
    damaged: Portal, damage: Callable[[bytes], bytes]
) -> None:
    """The portal starts and serves; the file is there still, beside the new one, for nobody else's eyes."""
    path = damaged.home / "access.db"
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    start_and_serve(damaged)
    kept = [
        each for each in damaged.home.glob("access.db.broken-*") if not each.name.endswith(("-wal", "-shm"))
    ]
    assert [each.read_bytes() for each in kept] == [broken]
    assert all(each.stat().st_mode & 0o077 == 0 for each in kept)


@pytest.mark.parametrize("damage", [cut_within_a_page, emptied])
def test_a_file_that_may_or_may_not_be_fit(damaged: Portal, damage: Callable[[bytes], bytes]) -> None:
    """An empty file is a new one to SQLite, a missing end may have held nothing."""
    path = damaged.home / "access.db"
    path.write_bytes(damage(path.read_bytes()))
    start_and_serve(damaged)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits(damaged: Portal, seed: int) -> None:
    """A few bits anywhere: it starts, serves, and nobody is online who was not."""
    path, chance = damaged.home / "access.db", random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(1 + seed):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    start_and_serve(damaged)


@pytest.mark.parametrize("device", HOSTILE, ids=lambda text: text[:30])
def test_what_a_row_says_is_not_believed(damaged: Portal, device: str) -> None:
    """A name in the store that is no device's is damage like any other; it is told to no gateway."""
    with contextlib.closing(sqlite3.connect(damaged.home / "access.db")) as store, store:
        column = store.execute("SELECT name FROM pragma_table_info('grant') WHERE pk").fetchone()[0]
        store.execute(f'UPDATE "grant" SET "{column}" = ?', (device,))
    start_and_serve(damaged)
    assert list(damaged.home.glob("access.db.broken-*"))


@pytest.mark.parametrize("version", ["9999", "0000", "", "'; DROP TABLE grant; --"])
def test_a_file_of_another_version(damaged: Portal, version: str) -> None:
    """Of the future, of the past, of nobody: served all the same."""
    with contextlib.closing(sqlite3.connect(damaged.home / "access.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = ?", (version,))
    start_and_serve(damaged)


def start_and_serve(portal: Portal) -> None:
    """It starts; somebody new meets the first page and is not online; with *Skip* they are."""
    portal.start()
    guest = Stranger(portal, "127.13.0.99")
    assert guest.token()
    assert guest.get("/en/online").location == "/en"
    assert guest.post("/en/skip").location == "/en/online"
    assert guest.get("/en").location == "/en/online"
    assert "Traceback" not in portal.log


def test_a_whole_file_is_believed(damaged: Portal) -> None:
    """The other side of the coin: who was online before the power cut is online after it."""
    damaged.start()
    guest = Stranger(damaged, "127.13.0.1")
    assert eventually(lambda: guest.get("/en").location == "/en/online")
    assert not list(damaged.home.glob("access.db.broken-*"))
