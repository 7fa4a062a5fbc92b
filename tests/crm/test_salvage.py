"""Files that are no store any more: told from those that are, kept, and in the end deleted."""

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captive.store_care import check_access
from crm.migrate import migrate
from crm.salvage import KEEP, delete_expired, judge, kept_aside, set_aside
from crm.schema import head_of

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HEAD = head_of("captive")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An access store with three guests online, closed."""
    path = tmp_path_factory.mktemp("sound") / "access.db"
    asyncio.run(migrate(str(path), "captive"))
    with closing(sqlite3.connect(path)) as store:
        store.execute("INSERT INTO day_secret VALUES ('2026-11-22', ?)", (b"s" * 32,))
        for number in range(3):
            store.execute("INSERT INTO asked VALUES (?)", (bytes([number]) * 32,))
            store.execute(
                'INSERT INTO "grant" (device, expires) VALUES (?, ?)',
                (f"guest 02:00:00:00:00:0{number}", "2026-11-22 07:00:00.000000"),
            )
        store.commit()
        store.execute("PRAGMA journal_mode=DELETE")
    return path


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "access.db"))


def test_a_sound_store_is_sound_and_none_is_missing(store: Path) -> None:
    assert judge(store, HEAD, check_access) == "sound"
    assert judge(store.with_name("other.db"), HEAD) == "missing"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4096],
        lambda data: b"not a database, but long enough to be one" * 1000,
        lambda data: random.Random(1).randbytes(len(data)),
        lambda data: data[:16] + random.Random(2).randbytes(len(data) - 16),
        lambda data: b"\0" * len(data),
        lambda data: data[:4096] + b"\0" * (len(data) - 4096),
        lambda data: data.replace(b"02:00:00:00:00:01", b"02:00:00:00:00;01"),
        lambda data: data.replace(b"2026-11-22 07", b"2026-11-\xb22 07"),
    ],
)
def test_damage_is_told(store: Path, damage: object) -> None:
    store.write_bytes(damage(store.read_bytes()))  # type: ignore[operator]
    assert judge(store, HEAD, check_access) == "damaged"


@pytest.mark.parametrize(("version", "told"), [("0001", "older"), ("9999", "newer"), ("00\x002", "damaged")])
def test_another_version_is_told(store: Path, version: str, told: str) -> None:
    with closing(sqlite3.connect(store)) as other:
        other.execute("UPDATE alembic_version SET version_num = ?", (version,))
        other.commit()
    assert judge(store, HEAD, check_access) == told


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM alembic_version",
        "INSERT INTO alembic_version VALUES ('0001')",
        "PRAGMA writable_schema=ON; DELETE FROM sqlite_schema",
    ],
)
def test_a_store_without_its_version_or_its_list_of_tables_is_not_taken_for_a_new_one(
    store: Path, harm: str
) -> None:
    with closing(sqlite3.connect(store)) as other:
        other.executescript(harm)
        other.commit()
    assert judge(store, HEAD, check_access) == "damaged"


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(bit=st.floats(0, 1, exclude_max=True))
def test_any_flipped_bit_is_told_or_harms_nothing(sound: Path, tmp_path: Path, bit: float) -> None:
    """What passes for sound is read without an error and has devices and times that could be ours."""
    data = bytearray(sound.read_bytes())
    at = int(bit * len(data) * 8)
    data[at // 8] ^= 1 << at % 8
    flipped = tmp_path / "flipped.db"
    for rest in tmp_path.glob("flipped.db*"):
        rest.unlink()
    flipped.write_bytes(data)
    told = judge(flipped, HEAD, check_access)
    assert told in ("sound", "damaged", "older", "newer", "missing"), at
    if told == "sound":
        with closing(sqlite3.connect(flipped)) as store:
            check_access(store)
            store.execute("DELETE FROM asked")
            store.commit()


def test_a_file_that_may_be_well_is_left_where_it_is(store: Path) -> None:
    with closing(sqlite3.connect(store)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert judge(store, HEAD) == "out_of_reach"
    assert judge(store, HEAD) == "sound"


def test_what_is_set_aside_is_whole_for_its_owner_only_and_named_by_its_time(store: Path) -> None:
    store.with_name("access.db-wal").write_bytes(b"log")
    store.with_name("access.db-shm").write_bytes(b"index")
    aside = set_aside(store, NOW)
    assert aside.name == "access.db.broken-20261122T030000Z"
    assert sorted(each.name for each in store.parent.iterdir()) == [
        aside.name,
        f"{aside.name}-shm",
        f"{aside.name}-wal",
    ]
    assert {each.stat().st_mode & 0o777 for each in store.parent.iterdir()} == {0o600}
    store.write_bytes(b"broken again in the same second")
    again = set_aside(store, NOW)
    assert kept_aside(store) == [aside, again]


def test_it_goes_after_a_week_by_a_clock_that_can_be_right(store: Path) -> None:
    store.with_name("access.db-wal").write_bytes(b"log")
    set_aside(store, NOW)
    assert delete_expired(store, NOW + KEEP - timedelta(seconds=1)) == 0
    assert delete_expired(store, datetime(1970, 1, 9, tzinfo=UTC)) == 0
    assert len(list(store.parent.iterdir())) == 2
    assert delete_expired(store, NOW + KEEP + timedelta(seconds=1)) == 1
    assert list(store.parent.iterdir()) == []


def test_what_was_set_aside_in_1970_is_kept_a_week_from_when_the_clock_was_set(store: Path) -> None:
    aside = set_aside(store, datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    assert delete_expired(store, datetime(1970, 1, 20, tzinfo=UTC)) == 0
    assert kept_aside(store) == [aside], "a clock that is wrong stamps nothing anew"
    assert delete_expired(store, NOW) == 0
    assert [each.name for each in kept_aside(store)] == ["access.db.broken-20261122T030000Z"]
    assert delete_expired(store, NOW + KEEP + timedelta(seconds=1)) == 1
