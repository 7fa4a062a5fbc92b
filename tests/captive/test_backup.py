"""Backup and restore, as a technician does both: beside a running portal, on a new box, with a file from anywhere."""

import argparse
import asyncio
import gzip
import hashlib
import io
import itertools
import json
import os
import sqlite3
import stat
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from captive.backup.archive import CONTENTS, MAX_CONTENTS
from captive.backup.backup import make_backup, read_settings, restore_backup
from captive.commands import backup as backup_command
from captive.commands import restore as restore_command
from crm.errors import SetupError
from crm.migrate import migrate
from crm.settings import Settings, StoreSection, secret
from crm.store import open_store
from crm.venues import save_venue
from surveys.questionnaire_files import load_questionnaire
from surveys.store import Version, publish, select_versions
from tests.captive.portal_app import Clock, Portal, portal_at

TODAY = date(2026, 11, 20)


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    (tmp_path / "served").mkdir()
    async with portal_at(tmp_path / "served", Clock()) as portal:
        yield portal


@pytest.fixture
async def centre(tmp_path: Path) -> Settings:
    """A store with a questionnaire in it, and nobody who serves."""
    folder = tmp_path / "centre"
    store = StoreSection(crm=str(folder / "crm.db"), access=str(folder / "access.db"))
    settings = with_folder(Settings(store=store, secrets=str(folder / "secrets")), tmp_path / "backups")
    folder.mkdir()
    await migrate(settings.store.crm, "crm")
    await ask(settings.store.crm, "nhanh")
    secret(settings, "forms")
    return settings


async def ask(dsn: str, questionnaire: str) -> Version:
    """Publish *questionnaire* for the centre in the store at *dsn*."""
    store = open_store(dsn)
    async with store.begin() as conn:
        await save_venue(conn, Settings().venue)
        version = await publish(conn, Settings().venue.code, load_questionnaire(questionnaire), TODAY)
    await store.close()
    return version


async def asked(dsn: str) -> list[str]:
    """What the centre has published in the store at *dsn*."""
    store = open_store(dsn)
    async with store.read() as conn:
        found = [
            *await select_versions(conn, Settings().venue.code, "nhanh"),
            *await select_versions(conn, Settings().venue.code, "chuan"),
        ]
    await store.close()
    return [each.questionnaire.key for each in found]


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)


def with_folder(settings: Settings, folder: Path, keep: int = 7) -> Settings:
    backup = msgspec.structs.replace(settings.backup, folder=str(folder), keep=keep)
    return msgspec.structs.replace(settings, backup=backup)


def answers(settings: Settings) -> list[str]:
    with closing(sqlite3.connect(f"file:{settings.store.crm}?mode=ro", uri=True)) as store:
        return sorted(str(row) for row in store.execute("SELECT id, answers FROM response"))


async def test_what_was_answered_is_back_and_the_portal_goes_on(portal: Portal, tmp_path: Path) -> None:
    settings = with_folder(portal.settings, tmp_path / "backups")
    await portal.guest().answer("done", "5")
    then = answers(settings)
    made = await make_backup(settings, None, TODAY)
    await portal.guest().answer("done", "1")
    assert len(answers(settings)) == 2

    contents, kept = await restore_backup(settings, None, made, TODAY)

    assert answers(settings) == then
    assert contents.taken == TODAY
    await portal.guest().answer("waiting")
    assert len(answers(settings)) == 2
    # And the way back: what was there before has both answers.
    assert kept is not None
    await restore_backup(settings, None, kept, TODAY)
    assert len(answers(settings)) == 2


async def test_guests_who_answer_while_it_is_made_and_put_back_see_no_error(
    portal: Portal, tmp_path: Path
) -> None:
    settings = with_folder(portal.settings, tmp_path / "backups")
    stop = asyncio.Event()

    async def come_and_answer() -> int:
        guests = 0
        while not stop.is_set():
            page = await portal.guest(1 + guests // 200).answer("done", "4")
            assert page.status == 303, page.text
            guests += 1
        return guests

    answering = asyncio.create_task(come_and_answer())
    for _ in range(3):
        made = await make_backup(settings, None, TODAY)
        await restore_backup(settings, None, made, TODAY)
    stop.set()
    assert await answering > 3
    with closing(sqlite3.connect(settings.store.crm)) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_a_store_that_never_knew_the_questionnaire_is_given_it(portal: Portal, tmp_path: Path) -> None:
    """Answers name the version that was asked; a restored store from before has not got it."""
    settings = with_folder(portal.settings, tmp_path / "backups")
    empty = msgspec.structs.replace(
        settings, store=msgspec.structs.replace(settings.store, crm=str(tmp_path / "empty.db"))
    )
    await migrate(empty.store.crm, "crm")
    made = await make_backup(empty, None, TODAY)
    await restore_backup(settings, None, made, TODAY)
    store = open_store(settings.store.crm)

    async def is_published() -> bool:
        async with store.read() as conn:
            return bool(await select_versions(conn, settings.venue.code, "nhanh"))

    await until(is_published)
    await store.close()
    page = await portal.guest().answer("done", "5")
    assert page.status == 303
    assert len(answers(settings)) == 1


async def test_another_questionnaire_under_the_same_number_is_not_taken_for_ours(
    portal: Portal, tmp_path: Path
) -> None:
    settings = with_folder(portal.settings, tmp_path / "backups")
    other = msgspec.structs.replace(
        settings, store=msgspec.structs.replace(settings.store, crm=str(tmp_path / "other.db"))
    )
    await migrate(other.store.crm, "crm")
    taken = await ask(other.store.crm, "chuan")
    await restore_backup(settings, None, await make_backup(other, None, TODAY), TODAY)
    live = open_store(settings.store.crm)

    async def is_published() -> bool:
        async with live.read() as conn:
            found = await select_versions(conn, settings.venue.code, "nhanh")
        return [each.id for each in found] not in ([], [taken.id])

    await until(is_published)
    await live.close()
    assert (await portal.guest().answer("done", "5")).status == 303


async def test_a_copy_tells_nothing_of_the_order_of_answers(portal: Portal, tmp_path: Path) -> None:
    """Rows lie in it in the order of their random keys, wherever they lay when it was made."""
    settings = with_folder(portal.settings, tmp_path / "backups")
    for _ in range(60):
        await portal.guest().answer("done", "5")
    made = await make_backup(settings, None, TODAY)
    with tarfile.open(made) as archive:
        archive.extractall(tmp_path / "looked-into", filter="data")
    raw = (tmp_path / "looked-into/store.db").read_bytes()
    with closing(sqlite3.connect(tmp_path / "looked-into/store.db")) as store:
        ids = [row[0] for row in store.execute("SELECT id FROM response ORDER BY id")]
        assert store.execute("PRAGMA freelist_count").fetchone() == (0,)
    places = [raw.index(each if isinstance(each, bytes) else str(each).encode()) for each in ids]
    # SQLite fills a page from its end, so within one the places run against the keys.
    page = [place // 4096 for place in places]
    inside = {a < b for (a, p), (b, q) in itertools.pairwise(zip(places, page, strict=True)) if p == q}
    assert inside == {False}


async def test_the_file_is_its_owners_alone_and_names_no_device(portal: Portal, tmp_path: Path) -> None:
    settings = with_folder(portal.settings, tmp_path / "backups")
    guest = portal.guest()
    await guest.answer("done", "5")
    await guest.post("/vi/skip")
    made = await make_backup(settings, None, TODAY)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) & 0o007 == 0
    assert guest.address.encode() not in gzip.decompress(made.read_bytes())
    found = [
        each
        for each in Path(settings.store.access).parent.glob("access.db*")
        if guest.address.encode() in each.read_bytes()
    ]
    assert found  # where it would have come from


async def test_one_of_a_day_is_kept_and_so_many_of_all(centre: Settings, tmp_path: Path) -> None:
    settings = with_folder(centre, tmp_path / "backups", keep=3)
    for number in range(5):
        day = TODAY + timedelta(number)
        for _ in range(2):
            made = await make_backup(settings, None, day)
        os.utime(made, (number, number))
    for number in range(4):
        made = await make_backup(settings, None, TODAY, occasion="before-upgrade")
        os.utime(made, (number, number))
    mine = tmp_path / "backups/holiday-pictures.tar.gz"
    mine.touch()
    await make_backup(settings, None, TODAY + timedelta(9))
    names = sorted(each.name for each in (tmp_path / "backups").iterdir())
    assert names == sorted(
        [
            "holiday-pictures.tar.gz",
            *(f"wificrm-DEMO-P01-2026-11-{day}.tar.gz" for day in (23, 24, 29)),
            *(f"wificrm-DEMO-P01-2026-11-20-before-upgrade-{number}.tar.gz" for number in (2, 3, 4)),
        ]
    )


async def test_a_new_box_takes_the_old_ones_place(portal: Portal, tmp_path: Path) -> None:
    old = with_folder(portal.settings, tmp_path / "backups")
    await portal.guest().answer("done", "5")
    config = tmp_path / "etc/wificrm.toml"
    config.parent.mkdir()
    new = tmp_path / "new"
    text = (
        f'secrets = "{new}/secrets"\n[store]\ncrm = "{new}/crm.db"\naccess = "{new}/access.db"\n'
        f'[backup]\nfolder = "{new}/backups"\n'
    )
    config.write_text(text)
    config.with_name("wifi.conf").write_text("SSID=Centre\n")
    made = await make_backup(old, config, TODAY, target=tmp_path / "usb/stick.tar.gz")
    config.unlink()
    config.with_name("wifi.conf").unlink()

    args = arguments(restore_command, made, "--config", config, "--with-settings", "--yes")
    assert await restore_command.run(args) == 0

    assert config.read_text() == text == read_settings(made)
    assert config.with_name("wifi.conf").read_text() == "SSID=Centre\n"
    key = new / "secrets/forms"
    assert key.read_bytes() == secret(old, "forms")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with closing(sqlite3.connect(new / "crm.db")) as store:
        assert store.execute("SELECT count(*) FROM response").fetchone() == (1,)
    # Once more: what is there now stays beside it.
    config.write_text("# changed\n" + text)
    assert await restore_command.run(args) == 0
    assert config.with_name("wificrm.toml.before-restore").read_text().startswith("# changed")


@pytest.mark.postgres
async def test_both_databases_are_copied_out_and_in(both_dsns: str, tmp_path: Path) -> None:
    settings = Settings(secrets=str(tmp_path / "secrets"), store=StoreSection(crm=both_dsns))
    settings = with_folder(settings, tmp_path / "backups")
    await ask(both_dsns, "nhanh")
    made = await make_backup(settings, None, TODAY)
    await ask(both_dsns, "chuan")
    assert await asked(both_dsns) == ["nhanh", "chuan"]
    await restore_backup(settings, None, made, TODAY)
    assert await asked(both_dsns) == ["nhanh"]


async def test_an_older_store_is_brought_to_this_schema_a_newer_one_is_refused(
    centre: Settings, tmp_path: Path
) -> None:
    settings = centre
    made = await make_backup(settings, None, TODAY)

    def set_version(number: str) -> Callable[[Path], None]:
        def change(store: Path) -> None:
            with closing(sqlite3.connect(store)) as connection:
                connection.execute("UPDATE alembic_version SET version_num = ?", (number,))
                if number == "0001":
                    connection.execute("ALTER TABLE announcement DROP COLUMN networks")
                connection.commit()

        return change

    older = forge(made, tmp_path / "older.tar.gz", schema="0001", change=set_version("0001"))
    await restore_backup(settings, None, older, TODAY)
    newer = forge(made, tmp_path / "newer.tar.gz", schema="9999", change=set_version("9999"))
    with pytest.raises(SetupError, match="newer wificrm"):
        await restore_backup(settings, None, newer, TODAY)
    lied = forge(made, tmp_path / "lied.tar.gz", change=set_version("9999"))
    with pytest.raises(SetupError, match="nothing was changed"):
        await restore_backup(settings, None, lied, TODAY)
    assert await asked(settings.store.crm) == ["nhanh"]


BAD: dict[str, dict[str, Any]] = {
    "another centre's": {"venue": "OTHER"},
    "another database's": {"backend": "postgresql", "rename": {"store.db": "store.dump"}},
    "a name that leads out": {"rename": {"secrets/forms": "../../forms"}},
    "an absolute name": {"rename": {"secrets/forms": "/tmp/wificrm-forms"}},
    "a stranger's file": {"more": {"settings/../x": b""}},
    "what is not in the list": {"unlisted": {"secrets/forms": b"x"}},
    "changed bytes": {"change": lambda store: store.write_bytes(store.read_bytes()[::-1]), "keep": True},
    "a changed secret": {"swap": {"secrets/forms": b"x" * 32}},
    "no store": {"drop": "store.db"},
    "a store that is none": {"change": lambda store: store.write_bytes(b"no store" * 1000)},
    "of another format": {"format": 2},
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
async def test_a_file_from_anywhere_changes_nothing(centre: Settings, tmp_path: Path, what: str) -> None:
    settings = centre
    made = await make_backup(settings, None, TODAY)
    await ask(settings.store.crm, "chuan")
    bad = forge(made, tmp_path / "bad.tar.gz", **BAD[what])
    files = sorted(tmp_path.rglob("*"))
    with pytest.raises(SetupError) as told:
        await restore_backup(settings, None, bad, TODAY)
    assert len(str(told.value)) < 400
    assert await asked(settings.store.crm) == ["nhanh", "chuan"]
    grown = {each.name for each in set(tmp_path.rglob("*")) - set(files)}
    assert {each for each in grown if "before-restore" not in each and not each.startswith("crm.db")} == set()


@pytest.mark.parametrize("cut", [0, 10, 100, 3000, -1])
async def test_a_file_that_was_cut_short_is_told(centre: Settings, tmp_path: Path, cut: int) -> None:
    settings = centre
    whole = (await make_backup(settings, None, TODAY)).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2 if cut < 0 else cut])
    with pytest.raises(SetupError, match=r"no backup|cut short"):
        await restore_backup(settings, None, tmp_path / "cut", TODAY)


async def test_a_list_without_an_end_is_not_read(centre: Settings, tmp_path: Path) -> None:
    settings = centre
    with tarfile.open(tmp_path / "huge", "w:gz") as archive:
        member = tarfile.TarInfo(CONTENTS)
        member.size = MAX_CONTENTS + 1
        archive.addfile(member, io.BytesIO(b" " * member.size))
    with pytest.raises(SetupError, match="no backup of wificrm"):
        await restore_backup(settings, None, tmp_path / "huge", TODAY)


async def test_the_commands_as_a_technician_types_them(
    portal: Portal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(portal.settings.store.crm).parent
    assert await backup_command.run(arguments(backup_command, "--data", data)) == 0
    made = Path(capsys.readouterr().out.strip())
    day = datetime.now(UTC) + timedelta(hours=7)
    assert made == data / f"backups/wificrm-DEMO-P01-{day:%Y-%m-%d}.tar.gz"
    with pytest.raises(SetupError, match="--yes"):
        await restore_command.run(arguments(restore_command, made, "--data", data))
    assert await restore_command.run(arguments(restore_command, made, "--data", data, "--yes")) == 0
    assert "before-restore-1.tar.gz" in capsys.readouterr().out
    with pytest.raises(SetupError, match=r"no such file; wificrm backup"):
        await restore_command.run(arguments(restore_command, tmp_path / "gone", "--data", data, "--yes"))


def arguments(command: Any, *words: object) -> Any:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def forge(
    made: Path,
    target: Path,
    *,
    change: Callable[[Path], object] | None = None,
    rename: dict[str, str] | None = None,
    more: dict[str, bytes] | None = None,
    unlisted: dict[str, bytes] | None = None,
    swap: dict[str, bytes] | None = None,
    drop: str = "",
    keep: bool = False,
    **listed: object,
) -> Path:
    """An archive like *made*, but for what is said; its list agrees with it unless *keep*."""
    folder = target.with_suffix(".folder")
    with tarfile.open(made) as archive:
        archive.extractall(folder, filter="data")
    listing = json.loads((folder / CONTENTS).read_text())
    if change:
        change(folder / "store.db")
    files = {name: (folder / name).read_bytes() for name in listing["files"]} | (more or {})
    files = {(rename or {}).get(name, name): content for name, content in files.items()}
    if not keep:
        digest = hashlib.sha256
        listing["files"] = {n: {"size": len(c), "sha256": digest(c).hexdigest()} for n, c in files.items()}
    listing |= listed
    members = {CONTENTS: json.dumps(listing).encode(), **files, **(unlisted or {}), **(swap or {})}
    members.pop(drop, None)
    with tarfile.open(target, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    return target
