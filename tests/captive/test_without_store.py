"""Disks that are full, files that are broken, servers that are away: guests go online, and nothing is forgotten."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from captive.app import running
from captive.demo import demo_settings
from captive.doctor.examination import examine
from captive.gateway import OpenGateway, Terms, device_key
from captive.grants.grants import Grants
from captive.grants.policy import Policy
from crm.migrate import migrate
from crm.settings import Network, StoreSection
from crm.store import open_store
from tests.captive.portal_app import Clock, Guest, portal_at
from tests.free_ports import free_port
from tests.mounted import mounted
from tests.waiting import until

DAY = date(2026, 11, 20)  # of `Clock`

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk of its own: needs root")


def device(number: int) -> str:
    return device_key("guest", f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}")


async def book(dsn: str, kernel: OpenGateway, clock: Clock) -> tuple[Grants, Callable[[], Awaitable[None]]]:
    store = open_store(dsn)
    note = Path(dsn).with_name("behind")
    grants = Grants(store, kernel, clock, {"guest": Policy(Network())}, note=note)
    await grants.load(DAY)
    await grants.reconcile()
    return grants, store.close


def stored(path: Path, query: str = 'SELECT device FROM "grant"') -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as store:
        return [row[0] for row in store.execute(query)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, "-t", "tmpfs", "-o", "size=600k", "small"):
        yield place


def fill(disk: Path) -> Path:
    """Leave no room on *disk*."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    return ballast


@contextlib.asynccontextmanager
async def full(disk: Path) -> AsyncIterator[None]:
    """No room on *disk*, also when somebody gives some back."""

    async def keep_full() -> None:
        while True:
            fill(disk)
            await asyncio.sleep(0.001)

    filling = asyncio.create_task(keep_full())
    await asyncio.sleep(0.5)
    try:
        yield
    finally:
        filling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await filling
        (disk / "ballast").unlink()


@needs_root
async def test_a_full_disk_holds_up_no_grant_and_gets_them_all_when_there_is_room(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dsn, kernel, clock = str(small_disk / "access.db"), OpenGateway(), Clock()
    await migrate(dsn, "captive")
    grants, close = await book(dsn, kernel, clock)
    await grants.grant(device(0))
    ballast = fill(small_disk)
    for number in range(1, 200):
        await grants.grant(device(number))
    await grants.reconcile()
    assert len(await kernel.list()) == 200
    assert all(grants.was_asked(device(number)) for number in range(200))
    assert capsys.readouterr().out.count("the access store fails") == 1

    # Who starts again meanwhile learns from the kernel what the disk does not say.
    await close()
    grants, close = await book(dsn, kernel, clock)
    assert len(await kernel.list()) == 200
    assert grants.is_online(device(150))
    await grants.forget(device(0))

    ballast.unlink()
    await grants.reconcile()
    await grants.reconcile()
    await close()
    assert not (small_disk / "behind").exists()
    assert sorted(stored(small_disk / "access.db")) == sorted(device(number) for number in range(1, 200))
    assert len(stored(small_disk / "access.db", "SELECT device FROM asked")) == 199


@needs_root
async def test_an_answer_that_finds_no_room_is_told_and_the_way_online_is_open(small_disk: Path) -> None:
    async with portal_at(small_disk, Clock()) as portal:
        guest, other = portal.guest(), portal.guest()
        async with full(small_disk):
            token = (await guest.get("/en")).token
            page = await guest.post("/en/survey/A0", r=token, value="done")
            assert page.status == 503
            assert "could not be saved" in page.text
            assert 'action="/en/skip"' in page.text
            for one in (guest, other):
                assert (await one.post("/en/skip")).location == "/en/online"
                assert "You are online" in (await one.get("/en/online")).text
        token = (await portal.guest().get("/en")).token
        assert (await portal.guests[-1].post("/en/survey/A0", r=token, value="done")).status == 303
        await until(lambda: len(stored(small_disk / "access.db")) == 2)


@contextlib.asynccontextmanager
async def portal_in(folder: Path, **store: str) -> AsyncIterator[list[Guest]]:
    """``wificrm serve`` as it starts on whatever is in *folder*; guests one after the other."""
    settings = demo_settings(free_port(), folder)
    settings = msgspec.structs.replace(
        settings, store=StoreSection(**{**msgspec.structs.asdict(settings.store), **store})
    )
    async with running(settings, host="127.0.0.1", clock=Clock()):
        guests = [Guest(f"http://127.0.0.1:{settings.portal.port}", number) for number in range(1, 6)]
        try:
            yield guests
        finally:
            for guest in guests:
                await guest.session.close()


def break_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000] + b"?" * 5000)


@pytest.mark.parametrize("harm", [break_file, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["crm.db", "access.db"])
async def test_the_portal_starts_on_what_became_of_its_stores(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    async with portal_in(tmp_path) as guests:
        assert (await guests[0].answer("waiting", language="en")).status == 303
    harm(tmp_path / name)
    async with portal_in(tmp_path) as guests:
        assert (await guests[1].answer("waiting", language="en")).status == 303
        assert (await guests[1].post("/en/skip")).location == "/en/online"
    aside = sorted(tmp_path.glob("*.broken-*"))
    assert [each.name for each in aside] == (
        [] if harm == Path.unlink else [f"{name}.broken-20261120T030000Z"]
    )
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in aside)
    findings = await examine(demo_settings(1, tmp_path))
    told = [each.detail for each in findings if "set aside as" in each.detail]
    assert [str(each) in detail for each, detail in zip(aside, told, strict=True)] == [True] * len(aside)
    assert [
        each.state for each in findings if each.what.endswith("store") and "set aside" not in each.detail
    ] == ["ok"] * 2


async def test_a_new_access_store_takes_over_who_is_online_and_gives_nobody_more(tmp_path: Path) -> None:
    path, kernel, clock = tmp_path / "access.db", OpenGateway(), Clock()
    await migrate(str(path), "captive")
    grants, close = await book(str(path), kernel, clock)
    for number in range(50):
        await grants.grant(device(number))
    await close()
    before = await kernel.list()
    path.unlink()
    await migrate(str(path), "captive")
    grants, close = await book(str(path), kernel, clock)
    after = await kernel.list()
    assert before.keys() == after.keys()
    assert all(before[each].seconds - 5 <= after[each].seconds <= before[each].seconds for each in before)
    assert all(grants.was_asked(each) for each in before)
    await grants.reconcile()
    await close()
    assert sorted(stored(path)) == sorted(before)


async def test_a_store_of_before_is_brought_up_to_date_by_the_start(tmp_path: Path) -> None:
    path = tmp_path / "access.db"
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.executescript(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);"
            "INSERT INTO alembic_version VALUES ('0001');"
            "CREATE TABLE asked (device BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE day_secret (day DATE NOT NULL PRIMARY KEY, secret BLOB NOT NULL);"
            'CREATE TABLE "grant" (mac VARCHAR(64) NOT NULL PRIMARY KEY, expires DATETIME NOT NULL) WITHOUT ROWID;'
            "INSERT INTO \"grant\" VALUES ('02:00:00:00:00:01', '2026-11-20 04:00:00.000000');"
        )
    async with portal_in(tmp_path):
        pass
    assert stored(path) == ["guest 02:00:00:00:00:01"]


@needs_root
async def test_a_read_only_disk_keeps_nobody_offline(tmp_path: Path) -> None:
    async with portal_in(tmp_path):
        pass
    with mounted(tmp_path, "--bind", str(tmp_path)):
        subprocess.run(["mount", "-o", "remount,ro,bind", tmp_path], check=True)
        async with portal_in(tmp_path) as guests:
            page = await guests[0].answer("waiting", language="en")
            assert page.status == 503
            assert (await guests[0].post("/en/skip")).location == "/en/online"
            assert "You are online" in (await guests[0].get("/en/online")).text
    assert list(tmp_path.glob("*.broken-*")) == []


class Wire:
    """A line to a database server that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self.port, self._to = free_port(), port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server:
            self._server.close()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._ends |= {writer, far_writer}

        async def pass_on(one: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while piece := await one.read(65536):
                    other.write(piece)
                    await other.drain()
            other.close()

        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))


@pytest.mark.postgres
async def test_a_database_server_that_is_away_at_the_start_and_later(
    postgres_server: str, tmp_path: Path
) -> None:
    admin = open_store(postgres_server)
    async with admin.begin() as conn:
        await conn.execute(text("DROP SCHEMA public CASCADE"))
        await conn.execute(text("CREATE SCHEMA public"))
    wire = Wire(int(postgres_server.rpartition(":")[2].partition("/")[0]))
    dsn = f"postgresql://postgres@127.0.0.1:{wire.port}/postgres"

    async def answered() -> int:
        async with admin.read() as conn:
            there = await conn.scalar(text("SELECT to_regclass('response')"))
            return int(await conn.scalar(text("SELECT count(*) FROM response")) or 0) if there else 0

    try:
        async with portal_in(tmp_path, crm=dsn) as guests:
            assert (await guests[0].answer("waiting", language="en")).status == 503
            assert (await guests[0].post("/en/skip")).location == "/en/online"
            await wire.mend()

            async def takes(guest: Guest, seconds: float = 40) -> None:
                for _ in range(int(seconds * 5)):
                    if (await guest.answer("waiting", language="en")).status == 303:
                        return
                    await asyncio.sleep(0.2)
                raise AssertionError("the store did not come back")

            await takes(guests[1])
            assert await answered() == 1
            await wire.cut()
            assert (await guests[2].answer("waiting", language="en")).status == 503
            assert (await guests[2].post("/en/skip")).location == "/en/online"
            await wire.mend()
            await takes(guests[3])
            assert await answered() == 2
    finally:
        await wire.cut()
        await admin.close()


async def test_killed_right_after_it_took_over_from_the_kernel_nobody_goes_offline(tmp_path: Path) -> None:
    dsn, kernel, clock = str(tmp_path / "access.db"), OpenGateway(), Clock()
    await migrate(dsn, "captive")  # a new store, in the place of a lost one
    before, after = device(1), device(2)
    await kernel.allow({before: Terms(1000)})
    grants, close = await book(dsn, kernel, clock)
    await grants.grant(after)
    await close()  # before it looked at the gateway once more
    again, close = await book(dsn, kernel, clock)
    assert set(await kernel.list()) == {before, after}
    assert again.is_online(before)
    assert again.is_online(after)
    await close()
