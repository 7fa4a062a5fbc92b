"""``wificrm device`` beside the book that fulfils its wishes, on both databases."""

import asyncio
import contextlib
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from captive.cli import parse
from captive.commands import device
from captive.gateway import OpenGateway, device_key
from captive.grants.grants import Grants
from captive.grants.policy import Policy
from captive.grants.store import CountRow, save_counts
from crm.engines import make_engine
from crm.migrate import migrate
from crm.settings import Network
from crm.store import Store, open_store

ONE, TWO = (f"02:00:00:00:00:0{n}" for n in (1, 2))
HALL, DESK = device_key("guest", ONE), device_key("desks", TWO, "10.0.0.7")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty access store's address: once SQLite, once PostgreSQL."""
    where = str(tmp_path / "access.db")
    if request.param == "postgres":
        where = request.getfixturevalue("postgres_server")
        engine = make_engine(where)
        async with engine.begin() as conn:
            await conn.execute(text("DROP SCHEMA public CASCADE"))
            await conn.execute(text("CREATE SCHEMA public"))
        await engine.dispose()
    await migrate(where, "captive")
    return where


@pytest.fixture
async def access(dsn: str) -> AsyncIterator[Store]:
    store = open_store(dsn)
    yield store
    await store.close()


@pytest.fixture
async def book(access: Store) -> Grants:
    """Two devices online, on two networks; `looking` after it is the portal's part."""
    networks = (Network(name="guest"), Network(name="desks", identity="mac+ip", address6=""))
    policies = {network.name: Policy(network) for network in networks}
    grants = Grants(access, OpenGateway(), lambda: datetime.now(UTC), policies)
    await grants.load(date(2026, 11, 20))
    for each in (HALL, DESK):
        await grants.grant(each)
    async with access.begin() as conn:
        await save_counts(conn, [CountRow(HALL, 1_500_000, 64_000_000, 0, 0)], {})
    return grants


@contextlib.asynccontextmanager
async def looking(grants: Grants) -> AsyncIterator[None]:
    async def look() -> None:
        while True:
            await grants.reconcile()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def config(tmp_path: Path, dsn: str) -> Path:
    file = tmp_path / "wificrm.toml"
    file.write_text(f'[store]\ncrm = "{tmp_path}/crm.db"\naccess = "{dsn}"\n')
    return file


async def wificrm(config: Path, *arguments: str) -> int:
    return await device.run(parse(["device", *arguments, "--config", str(config)]))


async def test_the_list_shows_devices_and_says_what_that_is(
    book: Grants, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await wificrm(config, "list") == 0
    told = capsys.readouterr()
    assert "personal data" in told.err
    desk, hall = told.out.splitlines()[1:]
    assert desk.split()[:3] == ["desks", TWO, "10.0.0.7"]
    assert hall.split() == ["guest", ONE, "-", "3:59", "h", "1.5", "MB", "64.0", "MB"]

    assert await wificrm(config, "list", "--json") == 0
    told = capsys.readouterr()
    _, hall_too = msgspec.json.decode(told.out)["devices"]
    assert 14_300 < hall_too.pop("seconds_left") <= 14_400
    expected = {
        "network": "guest",
        "mac": ONE,
        "address": "",
        "bytes_up": 1_500_000,
        "bytes_down": 64_000_000,
    }
    assert hall_too == expected
    assert told.err == ""


@pytest.mark.parametrize(
    "named", [(ONE,), (ONE.upper().replace(":", "-"),), ("guest", ONE), (f"guest {ONE}",)]
)
async def test_one_is_ended_and_meets_the_portal_again(
    book: Grants, config: Path, capsys: pytest.CaptureFixture[str], named: tuple[str, ...]
) -> None:
    async with looking(book):
        assert await wificrm(config, "end", *named) == 0
    assert capsys.readouterr().out == "1 device meets the portal again\n"
    assert not book.is_online(HALL)
    assert not book.was_asked(HALL)
    assert book.is_online(DESK)


async def test_all_are_ended_when_that_is_meant(
    book: Grants, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with looking(book):
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        assert await wificrm(config, "end", "--all") == 2
        assert "add --yes" in capsys.readouterr().err
        for answer, code in (("n\n", 2), ("y\n", 0)):
            terminal = io.StringIO(answer)
            terminal.isatty = lambda: True  # type: ignore[method-assign]
            monkeypatch.setattr(sys, "stdin", terminal)
            assert book.is_online(HALL)
            assert await wificrm(config, "end", "--all") == code
            assert "all 2 devices" in capsys.readouterr().err
        assert not book.is_online(HALL)
        assert not book.is_online(DESK)
        assert await wificrm(config, "end", "--all", "--yes", "--json") == 0
        assert msgspec.json.decode(capsys.readouterr().out) == {"ended": 0, "waiting": 0}
    assert await wificrm(config, "list") == 0
    assert capsys.readouterr().out == "nobody is online\n"


async def test_a_portal_that_is_away_does_it_when_it_is_back(
    book: Grants, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "PATIENCE", 0.0)
    assert await wificrm(config, "end", ONE) == 1
    assert "1 of 1 wait until the portal runs" in capsys.readouterr().err
    await book.reconcile()
    assert not book.is_online(HALL)


@pytest.mark.parametrize(
    ("named", "code", "words"),
    [
        ((), 2, "name one device, or --all"),
        ((ONE, "--all"), 2, "name one device, or --all"),
        (("phone",), 2, "'phone' names no device: write its MAC"),
        (("02:00:00:00:00:99",), 1, "02:00:00:00:00:99 is not online by a grant"),
        (("desks", ONE), 1, "is not online by a grant"),
    ],
)
async def test_what_cannot_be_ended_is_told(
    book: Grants,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    named: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    assert await wificrm(config, "end", *named) == code
    assert words in capsys.readouterr().err
    assert book.is_online(HALL)


def test_without_a_store_it_says_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "wificrm.toml"
    config.write_text(f'[store]\ncrm = "{tmp_path}/crm.db"\naccess = "{tmp_path}/access.db"\n')
    told = subprocess.run(
        [sys.executable, "-m", "captive.cli", "device", "list", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert "run: wificrm migrate" in told.stderr
    assert "Traceback" not in told.stderr
