"""The connection log in a running portal: what a guest's day leaves there, and that it never disturbs a guest."""

import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from nacl.public import PrivateKey

import captive.app
import captive.connections.retention
from captive.connections.keys import open_sealed, write_public
from captive.connections.records import Pairing, Session, in_order, unpack
from captive.connections.store import insert_records, opened, transaction
from captive.grants.store import insert_wishes
from crm.errors import SetupError
from crm.settings import ConnectionLogSection
from crm.store import open_store
from tests.captive.portal_app import Clock, Guest, Portal, portal_at
from tests.waiting import until

PRIVATE = PrivateKey.generate()


def section(folder: Path, **changes: object) -> ConnectionLogSection:
    given = {"enabled": True, "public_key": write_public(PRIVATE.public_key), "macs": "clear"}
    return ConnectionLogSection(**{"path": str(folder / "connections.db"), **given, **changes})  # type: ignore[arg-type]


def sessions(folder: Path) -> list[Session]:
    rows = sqlite3.connect(folder / "connections.db").execute("SELECT sealed FROM record").fetchall()
    pairing, ended = Pairing(), list[Session]()
    for event in in_order([unpack(open_sealed(sealed, [PRIVATE]) or b"") for (sealed,) in rows]):
        ended += pairing.feed(event)
    return sorted([*ended, *pairing.rest()], key=lambda session: session.device)


async def skip(guest: Guest) -> None:
    await guest.get("/vi")
    assert (await guest.post("/vi/skip")).location == "/vi/online"


async def send_away(portal: Portal, guest: Guest) -> None:
    """As the technician does; returns when the portal has done so."""
    access = open_store(portal.settings.store.access)
    async with access.begin() as conn:
        await insert_wishes(conn, [f"guest {guest.address}"], "end")
    await access.close()

    async def gone() -> bool:
        return (await guest.get("/vi/online")).status != 200

    await until(gone)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captive.app, "TICK", 0.02)


async def test_coming_and_going_are_recorded_and_nothing_else(tmp_path: Path) -> None:
    clock = Clock()
    async with portal_at(tmp_path, clock, connection_log=section(tmp_path)) as portal:
        first, second, looked_only = portal.guest(), portal.guest(), portal.guest()
        await first.answer("done", "5", "nothing")
        await skip(first)
        await skip(second)
        await looked_only.get("/vi")
        await send_away(portal, second)
        token = (await looked_only.get("/vi")).token
    kept = sessions(tmp_path)
    at = int(clock.now.timestamp())
    assert [session.device for session in kept] == [first.address, second.address]
    assert [session.addresses[0][0] for session in kept] == [first.address, second.address]
    assert [session.off is None for session in kept] == [True, False]
    assert all(session.on is not None and abs(session.on - at) < 60 for session in kept)
    with sqlite3.connect(tmp_path / "crm.db") as crm:
        [(response,)] = crm.execute("SELECT id FROM response").fetchall()
    opened_rows = sqlite3.connect(tmp_path / "connections.db").execute("SELECT sealed FROM record").fetchall()
    clear = b"".join(open_sealed(sealed, [PRIVATE]) or b"" for (sealed,) in opened_rows)
    plain = (tmp_path / "connections.db").read_bytes()
    for mark in (bytes(response) if isinstance(response, bytes) else str(response).encode(), token.encode()):
        assert mark not in clear, "whoever opens the log learns nothing of the answers"
        assert mark not in plain


async def test_a_restart_of_the_portal_goes_on_with_the_same_connection(tmp_path: Path) -> None:
    clock = Clock()
    async with portal_at(tmp_path, clock, connection_log=section(tmp_path)) as portal:
        await skip(portal.guest())
    clock.pass_by(minutes=30)
    async with portal_at(tmp_path, clock, connection_log=section(tmp_path)) as portal:
        await send_away(portal, portal.guest())
    [session] = sessions(tmp_path)
    assert session.on is not None
    assert session.off is not None
    assert 30 * 60 <= session.off - session.on < 31 * 60
    assert len(session.ids) == 2, "the second portal knew of it from its start"


async def test_off_by_default_nothing_is_made(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock()) as portal:
        guest = portal.guest()
        await skip(guest)
        assert "connection log" not in (await guest.get("/en/rules")).text
    assert not (tmp_path / "connections.db").exists()


@pytest.mark.parametrize(
    ("changes", "english", "vietnamese"),
    [
        (
            {"macs": "hashed"},
            "device address (MAC) in coded form.",
            "địa chỉ thiết bị (MAC) dưới dạng mã hóa.",
        ),
        ({"macs": "clear", "days": 30}, "device address (MAC).", "và địa chỉ thiết bị (MAC)."),
    ],
)
async def test_guests_are_told_of_it(
    tmp_path: Path, changes: dict[str, object], english: str, vietnamese: str
) -> None:
    async with portal_at(tmp_path, Clock(), connection_log=section(tmp_path, **changes)) as portal:
        guest = portal.guest()
        said = (await guest.get("/en/rules")).text
        assert "A connection log is kept" in said
        assert english in said
        assert f"Records of the log are deleted after {changes.get('days', 365)} days." in said
        said = (await guest.get("/vi/rules")).text
        assert vietnamese in said
        assert f"bị xóa sau {changes.get('days', 365)} ngày." in said


async def test_a_log_that_cannot_be_written_disturbs_no_guest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with portal_at(tmp_path, Clock(), connection_log=section(tmp_path, path=str(tmp_path))) as portal:
        guest = portal.guest()
        await skip(guest)
        assert (await guest.get("/vi/online")).status == 200
        address = guest.address
    said = "".join(capsys.readouterr())
    assert "connection log: not written; guests are not affected" in said
    assert address not in said


async def test_a_key_that_is_none_is_told_before_anybody_is_served(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"connection_log\.public_key: the public key is not whole"):
        async with portal_at(tmp_path, Clock(), connection_log=section(tmp_path, public_key="wcl-public-x")):
            pass


async def test_the_portal_removes_what_is_old_also_when_the_log_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.connections.retention, "STEADY", 0.0)
    file = tmp_path / "connections.db"
    with opened(file, create=True) as conn, transaction(conn):
        insert_records(conn, [(date(2025, 1, 1), b"old"), (date(2026, 11, 20), b"new")])
    clock = Clock(datetime(2026, 11, 20, 3, 0, tzinfo=UTC))
    async with portal_at(tmp_path, clock, connection_log=section(tmp_path, enabled=False)):
        await until(lambda: len(sqlite3.connect(file).execute("SELECT 1 FROM record").fetchall()) == 1)
    assert sqlite3.connect(file).execute("SELECT sealed FROM record").fetchall() == [(b"new",)]
