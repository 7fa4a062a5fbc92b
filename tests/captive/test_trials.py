"""The doctor's phone at the portal: it goes the way of a guest, at any hour, and nothing tells that it was there."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from nacl.public import PrivateKey

import captive.app
from captive.connections.keys import write_public
from captive.grants.store import insert_wishes, select_wishes
from captive.grants.trials import GRANT_SECONDS, TRY
from crm.settings import ConnectionLogSection, Grant, Network
from crm.store import open_store
from tests.captive.portal_app import Clock, Guest, Portal, portal_at
from tests.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captive.app, "TICK", 0.02)


async def wish(portal: Portal, guest: Guest, verb: str) -> None:
    """Want it done, and return when it is."""
    access = open_store(portal.settings.store.access)
    async with access.begin() as conn:
        await insert_wishes(conn, [f"guest {guest.address}"], verb)

    async def done() -> bool:
        async with access.read() as conn:
            return not await select_wishes(conn)

    await until(done)
    await access.close()


def rows(path: str, *tables: str) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        return {table: store.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables}


async def test_it_goes_online_out_of_hours_and_leaves_nothing(tmp_path: Path) -> None:
    log = ConnectionLogSection(
        enabled=True,
        public_key=write_public(PrivateKey.generate().public_key),
        path=str(tmp_path / "connections.db"),
    )
    # A Friday, 10:00: closed; and what a guest has in a day is kept.
    network = Network(interface="loopback", grant=Grant(opening=("mon 07:30-11:30",), daily_minutes=60))
    async with portal_at(tmp_path, Clock(), networks=(network,), connection_log=log) as portal:
        doctor, guest = portal.guest(), portal.guest()
        await wish(portal, doctor, TRY)
        assert 'action="/vi/skip"' in (await doctor.get("/vi")).text
        assert 'action="/vi/skip"' not in (await guest.get("/vi")).text
        assert (await doctor.post("/vi/skip")).location == "/vi/online"
        assert (await doctor.get("/vi/online")).status == 200
        with contextlib.closing(sqlite3.connect(portal.settings.store.access)) as store:
            assert store.execute('SELECT device FROM "grant"').fetchall() == [(f"guest {doctor.address}",)]
        await asyncio.sleep(0.1)  # a few looks at what was taken
        await wish(portal, doctor, "end")
        assert (await doctor.get("/vi/online")).location == "/vi"
        access = rows(portal.settings.store.access, "asked", "usage", "grant", "wish")
        assert access == {"asked": 0, "usage": 0, "grant": 0, "wish": 0}
    with contextlib.closing(sqlite3.connect(portal.settings.store.crm)) as store:
        assert store.execute("SELECT step, sum(n) FROM daily_funnel GROUP BY step").fetchall() == [
            ("shown", 1)  # to the guest
        ]
    assert rows(log.path, "record") == {"record": 0}


async def test_a_guest_is_counted_as_ever(tmp_path: Path) -> None:
    async with portal_at(tmp_path, Clock()) as portal:
        doctor, guest = portal.guest(), portal.guest()
        await wish(portal, doctor, TRY)
        for each in (doctor, guest):
            await each.get("/vi")
            await each.post("/vi/skip")
        with contextlib.closing(sqlite3.connect(portal.settings.store.access)) as store:
            left = store.execute(
                'SELECT device, (julianday(expires) - julianday(?)) * 86400 FROM "grant"',
                (portal.clock.now.strftime("%Y-%m-%d %H:%M:%S"),),
            ).fetchall()
        lasting = {device: round(seconds) for device, seconds in left}
        assert lasting[f"guest {doctor.address}"] <= GRANT_SECONDS < lasting[f"guest {guest.address}"]
        assert rows(portal.settings.store.access, "asked") == {"asked": 1}
    with contextlib.closing(sqlite3.connect(portal.settings.store.crm)) as store:
        funnel = dict(store.execute("SELECT step, sum(n) FROM daily_funnel GROUP BY step"))
    assert funnel == {"shown": 1, "skipped": 1}
