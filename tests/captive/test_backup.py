"""Backup and restore, as a technician does both: beside a running portal, on a new box, with a file from anywhere."""

import argparse
import asyncio
import gzip
import hashlib
import io
import itertools
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from sqlalchemy import text

import captive.backup.backup
import captive.backup.folder
import captive.backup.store_copy
from captive.backup.archive import (
    CONTENTS,
    MAX_BESIDE,
    MAX_CONTENTS,
    Contents,
    Part,
    describe,
    read_archive,
    write_archive,
)
from captive.backup.backup import make_backup, read_settings, restore_backup
from captive.backup.folder import LEAST, MOUNTS, delete_oldest, name_of
from captive.backup.store_copy import _environment, copy_out
from captive.commands import backup as backup_command
from captive.commands import migrate as migrate_command
from captive.commands import restore as restore_command
from crm.engines import make_engine, store_url
from crm.errors import SetupError
from crm.migrate import migrate
from crm.settings import Backup, Settings, StoreSection, secret
from crm.staff import delete_session, insert_session, insert_staff, list_staff, select_session
from crm.store import open_store
from crm.venues import save_venue
from surveys.questionnaire_files import load_questionnaire
from surveys.store import Version, publish, select_versions
from tests.captive.portal_app import Clock, Portal, portal_at
from tests.mounted import mounted

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


def settings_text(settings: Settings) -> str:
    """A settings file that says of which centre *settings* are, and where store and secrets are."""
    store = settings.store
    return (
        f'secrets = "{settings.secrets}"\n[venue]\ncode = "{settings.venue.code}"\n'
        f'[store]\ncrm = "{store.crm}"\naccess = "{store.access}"\n'
        f'[backup]\nfolder = "{settings.backup.folder}"\n'
    )


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)


def with_folder(settings: Settings, folder: Path, keep: int = 7) -> Settings:
    """*settings* with backups in *folder*, which is there; only the one beside the secrets is made by the program."""
    if folder.parent != Path(settings.secrets).parent:
        folder.mkdir(exist_ok=True)
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


async def test_who_is_in_the_middle_when_a_store_is_put_back_is_asked_from_the_beginning(
    portal: Portal, tmp_path: Path
) -> None:
    """Without the first answer the second one is off the route: it was dropped, and the third question asked."""
    settings = with_folder(portal.settings, tmp_path / "backups")
    guest = portal.guest()
    token = (await guest.get("/vi")).token
    made = await make_backup(settings, None, TODAY)
    second = (await guest.post("/vi/survey/A0", r=token, value="done")).location
    await restore_backup(settings, None, made, TODAY)
    again = await guest.post(second.partition("?")[0], r=token, value="4")
    assert (again.status, again.location) == (303, f"/vi/survey/A0?r={token}")
    assert (await guest.get(again.location)).status == 200
    await guest.post("/vi/survey/A0", r=token, value="done")
    await guest.post(second.partition("?")[0], r=token, value="4")
    (kept,) = answers(settings)
    assert '"A0": "done", "A1": "4"' in kept


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
    settings = with_folder(portal.settings, Path(portal.settings.secrets).parent / "backups")
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
    for number in range(8):
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
            *(f"wificrm-DEMO-P01-2026-11-20-before-upgrade-{number}.tar.gz" for number in range(2, 9)),
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
    (tmp_path / "usb").mkdir()
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


async def test_a_new_box_has_settings_of_its_own_already(
    centre: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after the package was installed: another code than the centre's, and the store where it is by default."""
    moved = tmp_path / "data"
    moved.mkdir()
    old = msgspec.structs.replace(
        centre,
        venue=msgspec.structs.replace(centre.venue, code="HCM-Q3"),
        store=StoreSection(crm=str(moved / "answers.db"), access=str(moved / "access.db")),
        secrets=str(moved / "keys"),
    )
    Path(centre.store.crm).rename(old.store.crm)
    Path(centre.secrets).rename(old.secrets)
    config = tmp_path / "wificrm.toml"
    config.write_text(settings_text(old))
    made = await make_backup(old, config, TODAY)
    for each in (moved / "keys", moved):
        shutil.rmtree(each)
    config.write_text(settings_text(centre))

    args = arguments(restore_command, made, "--config", config, "--with-settings", "--yes")
    assert await restore_command.run(args) == 0

    assert 'code = "HCM-Q3"' in config.read_text()
    assert await asked(old.store.crm) == ["nhanh"]
    assert stat.S_IMODE(Path(old.store.crm).stat().st_mode) == 0o600
    assert (moved / "keys/forms").is_file()
    assert not Path(centre.store.crm).exists()
    said = capsys.readouterr().out
    assert "wificrm-setup apply" in said
    # Somebody else's box stays what it is.
    config.write_text(settings_text(centre).replace("DEMO-P01", "HCM-Q7"))
    with pytest.raises(SetupError, match=r"of the centre HCM-Q3, venue.code is HCM-Q7"):
        await restore_command.run(args)
    assert 'code = "HCM-Q7"' in config.read_text()


async def test_settings_that_this_program_does_not_take_are_not_put_in_place(
    centre: Settings, tmp_path: Path
) -> None:
    """As those of a newer release: the portal would not start with them."""
    config = tmp_path / "wificrm.toml"
    config.write_text("[portal]\nspeaks_martian = true\n")
    made = await make_backup(centre, config, TODAY)
    await ask(centre.store.crm, "chuan")
    config.write_text(settings_text(centre))
    with pytest.raises(SetupError, match=r"tar.gz: settings:2: portal.speaks_martian: there is no such"):
        await restore_backup(centre, config, made, TODAY, with_settings=True)
    assert config.read_text() == settings_text(centre)
    assert await asked(centre.store.crm) == ["nhanh", "chuan"]


async def test_a_store_on_a_disk_that_the_new_box_has_not_got_is_not_put_elsewhere(
    centre: Settings, tmp_path: Path
) -> None:
    """A folder of that name would be made on the system's disk, or on a router's flash."""
    config = tmp_path / "wificrm.toml"
    config.write_text(settings_text(centre).replace(centre.store.crm, str(tmp_path / "sda1/wificrm/crm.db")))
    made = await make_backup(centre, config, TODAY)
    config.write_text(settings_text(centre))
    with pytest.raises(SetupError, match=r"there is no .*/sda1; mount its disk, or restore without"):
        await restore_backup(centre, config, made, TODAY, with_settings=True)
    assert not (tmp_path / "sda1").exists()
    assert config.read_text() == settings_text(centre)
    (tmp_path / "sda1").mkdir()
    await restore_backup(centre, config, made, TODAY, with_settings=True)
    assert await asked(str(tmp_path / "sda1/wificrm/crm.db")) == ["nhanh"]


async def test_settings_that_change_while_it_is_made_do_no_harm_to_it(
    centre: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing a large store takes a minute; a backup whose parts are not what its list says cannot be put back."""
    config = tmp_path / "wificrm.toml"
    config.write_text("# as it was\n")

    def describe_and_edit(files: dict[str, Path]) -> dict[str, Part]:
        parts = describe(files)
        config.write_text("# changed by somebody, and longer\n")
        return parts

    monkeypatch.setattr(captive.backup.backup, "describe", describe_and_edit)
    made = await make_backup(centre, config, TODAY)
    assert read_settings(made) == "# as it was\n"
    await restore_backup(centre, config, made, TODAY)


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
    "settings without an end": {"more": {"settings/wificrm.toml": b" " * (MAX_BESIDE + 1)}},
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


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE, tarfile.SYMTYPE]
)
async def test_what_is_no_plain_file_is_not_even_read(tmp_path: Path, kind: bytes) -> None:
    """A header of 1 GB, 5 MB when it is packed, was read into memory before anybody looked at it."""
    member = tarfile.TarInfo("x")
    member.type, member.size, member.linkname = kind, 2**30, "/etc/shadow"
    (tmp_path / "bomb").write_bytes(gzip.compress(member.tobuf(tarfile.USTAR_FORMAT) + bytes(2**20)))
    with pytest.raises(SetupError, match="'x' is no plain file"):
        read_archive(tmp_path / "bomb", tmp_path)


async def test_an_archive_larger_than_the_disk_is_not_begun_with(centre: Settings, tmp_path: Path) -> None:
    made = await make_backup(centre, None, TODAY)
    part = {"size": 2**60, "sha256": "0" * 64}
    bad = forge(made, tmp_path / "bad.tar.gz", files={"store.db": part})
    with pytest.raises(SetupError, match=r"backups: 1152921504607 MB are needed there"):
        await restore_backup(centre, None, bad, TODAY)


@pytest.mark.parametrize("field", ["venue", "program"])
async def test_no_archive_writes_to_the_terminal(centre: Settings, tmp_path: Path, field: str) -> None:
    made = await make_backup(centre, None, TODAY)
    lie: dict[str, Any] = {field: "\x1b]0;mine\x07", "schema": "9999"}
    bad = forge(made, tmp_path / "bad.tar.gz", **lie)
    with pytest.raises(SetupError, match="its list of contents cannot be read") as told:
        await restore_backup(centre, None, bad, TODAY)
    assert str(told.value).isprintable()


async def test_the_commands_as_a_technician_types_them(
    portal: Portal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, before = Path(portal.settings.store.crm).parent, datetime.now(UTC)
    assert await backup_command.run(arguments(backup_command, "--data", data)) == 0
    made = Path(capsys.readouterr().out.strip())
    days = {f"{each + timedelta(hours=7):%Y-%m-%d}" for each in (before, datetime.now(UTC))}
    assert made in {data / f"backups/wificrm-DEMO-P01-{day}.tar.gz" for day in days}
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


def harm_header(store: Path) -> None:
    store.write_bytes(b"no database any more" * 4096)


def harm_middle(store: Path) -> None:
    """One page of it: it opens, and cannot be read through."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        name = "SELECT rootpage FROM sqlite_schema WHERE name = 'questionnaire_version'"
        page = connection.execute(name).fetchone()[0]
    with store.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))


@pytest.mark.parametrize("harm", [harm_header, harm_middle, lambda store: store.write_bytes(b"")])
async def test_a_damaged_store_is_what_a_backup_is_for(
    centre: Settings, harm: Callable[[Path], object], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nothing but a backup helps then, and no backup can be made of it: it is kept as it is."""
    made = await make_backup(centre, None, TODAY)
    store = Path(centre.store.crm)
    harm(store)
    broken = store.read_bytes()
    _, kept = await restore_backup(centre, None, made, TODAY)
    assert await asked(centre.store.crm) == ["nhanh"]
    if broken:
        assert kept is not None
        assert kept.read_bytes() == broken
        assert kept.name.startswith("crm.db.broken-")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_damage_that_is_not_seen_at_a_glance_is_no_obstacle_either(
    centre: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large store is looked at for three seconds; a copy meets what lies behind."""
    made = await make_backup(centre, None, TODAY)
    harm_middle(Path(centre.store.crm))
    broken = Path(centre.store.crm).read_bytes()
    monkeypatch.setattr(captive.backup.backup, "judge", lambda *_: "sound")
    _, kept = await restore_backup(centre, None, made, TODAY)
    assert await asked(centre.store.crm) == ["nhanh"]
    assert kept is not None
    assert kept.read_bytes() == broken


async def test_a_link_in_the_stores_place_costs_nobody_elses_file(centre: Settings, tmp_path: Path) -> None:
    """The portal's folder is the portal's; root restores into it."""
    made = await make_backup(centre, None, TODAY)
    shadow, store = tmp_path / "shadow", Path(centre.store.crm)
    shadow.write_text("root:*:20000:0:99999:7:::\n" * 200)
    before = shadow.read_text()
    store.unlink()
    store.symlink_to(shadow)
    with pytest.raises(SetupError, match="nothing was restored"):
        await restore_backup(centre, None, made, TODAY)
    assert shadow.read_text() == before


@pytest.mark.parametrize("version", ["0001", "9999"])
async def test_what_there_is_is_kept_whatever_its_schema(centre: Settings, version: str) -> None:
    """As on the way back from a newer release, whose answers the older one cannot read."""
    made = await make_backup(centre, None, TODAY)
    with closing(sqlite3.connect(centre.store.crm)) as store:
        store.execute("UPDATE alembic_version SET version_num = ?", (version,))
        store.commit()
    _, kept = await restore_backup(centre, None, made, TODAY)
    assert kept is not None
    with tarfile.open(kept) as archive:
        listing = archive.extractfile(CONTENTS)
        assert listing is not None
        assert json.load(listing)["schema"] == version


async def test_who_was_signed_in_then_is_not_signed_in_by_a_backup(both_dsns: str, tmp_path: Path) -> None:
    settings = Settings(secrets=str(tmp_path / "secrets"), store=StoreSection(crm=both_dsns))
    settings = with_folder(settings, tmp_path / "backups")
    store = open_store(both_dsns)
    async with store.begin() as conn:
        someone = await insert_staff(conn, "hoa", "hash", "manager", None)
        token = await insert_session(conn, someone.id, datetime(2026, 11, 20, tzinfo=UTC))
    made = await make_backup(settings, None, TODAY)
    async with store.begin() as conn:
        await delete_session(conn, token)  # signed out, or shut out by a new password
    await restore_backup(settings, None, made, TODAY)
    async with store.read() as conn:
        assert [each.name for each in await list_staff(conn)] == ["hoa"]
        assert await select_session(conn, token, datetime(2026, 11, 20, 1, tzinfo=UTC)) is None
    await store.close()


async def test_where_the_settings_cannot_be_put_the_answers_stay_too(
    centre: Settings, tmp_path: Path
) -> None:
    config = tmp_path / "wificrm.toml"
    config.write_text(settings_text(centre))
    made = await make_backup(centre, config, TODAY)
    await ask(centre.store.crm, "chuan")
    config.unlink()
    nowhere = Path("/proc/wificrm.toml")  # where nobody may write, not even root
    with pytest.raises(SetupError, match="/proc"):
        await restore_backup(centre, nowhere, made, TODAY, with_settings=True)
    assert await asked(centre.store.crm) == ["nhanh", "chuan"]


@pytest.mark.parametrize(
    ("there", "here"),
    [("[venue]\n", "config wificrm 'wificrm'\n"), ("config wificrm 'wificrm'\n", "[venue]\n")],
)
async def test_settings_of_another_kind_of_box_are_not_put_in_place(
    centre: Settings, tmp_path: Path, there: str, here: str
) -> None:
    config = tmp_path / "wificrm"
    config.write_text(there)
    made = await make_backup(centre, config, TODAY)
    await ask(centre.store.crm, "chuan")
    config.write_text(here)
    with pytest.raises(SetupError, match="restore without --with-settings"):
        await restore_backup(centre, config, made, TODAY, with_settings=True)
    assert config.read_text() == here
    assert await asked(centre.store.crm) == ["nhanh", "chuan"]
    await restore_backup(centre, config, made, TODAY)
    assert await asked(centre.store.crm) == ["nhanh"]


async def test_settings_keep_their_rights_and_what_they_were_is_kept_once(
    centre: Settings, tmp_path: Path
) -> None:
    config = tmp_path / "etc/wificrm.toml"
    config.parent.mkdir()
    config.write_text("# of the backup\n" + settings_text(centre))
    made = await make_backup(centre, config, TODAY)
    config.write_text("# of the day, with a password in it\n" + settings_text(centre))
    config.chmod(0o640)
    for _ in range(2):  # again, as after the first one was cut off
        await restore_backup(centre, config, made, TODAY, with_settings=True)
    assert config.read_text() == "# of the backup\n" + settings_text(centre)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert config.with_name("wificrm.toml.before-restore").read_text().startswith("# of the day")
    assert {each.name for each in config.parent.iterdir()} == {"wificrm.toml", "wificrm.toml.before-restore"}
    assert not list(Path(centre.secrets).glob("*before-restore"))


async def test_what_was_said_to_be_done_is_on_the_disk(
    centre: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody pulls the stick, or the plug, as soon as the command has ended."""
    config = tmp_path / "etc/wificrm.toml"
    config.parent.mkdir()
    config.write_text(settings_text(centre))
    synced: list[frozenset[str]] = []

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            synced.append(frozenset(os.listdir(descriptor)))

    monkeypatch.setattr(os, "fsync", fsync)
    made = await make_backup(centre, config, TODAY)
    assert made.name in synced[-1]
    config.unlink()
    Path(centre.secrets, "forms").unlink()
    await restore_backup(centre, config, made, TODAY, with_settings=True)
    assert set(synced[-2:]) == {frozenset({config.name}), frozenset({"forms"})}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_what_root_makes_belongs_to_the_portal_and_no_link_leads_root_astray(
    centre: Settings, tmp_path: Path
) -> None:
    """The folder is the portal's, which strangers reach: what lies in it may have been put there by one."""
    config = tmp_path / "wificrm.toml"
    folder, victim = Path(centre.backup.folder), tmp_path / "shadow"
    victim.write_text("of root")
    home = tmp_path / "home"
    home.mkdir()
    moved = StoreSection(crm=str(home / "var/crm.db"), access=str(home / "access.db"))
    new = msgspec.structs.replace(centre, store=moved, secrets=str(home / "keys"))
    config.write_text(settings_text(new))
    for each in (folder, home):
        os.chown(each, 65534, 65534)
    name = f"wificrm-DEMO-P01-{TODAY}.tar.gz"
    for planted in (name, f"{name}.x", f".{name}.new", f".{name}.tar.gz.json", f".{name}.json"):
        (folder / planted).symlink_to(victim)
    made = await make_backup(centre, config, TODAY)
    assert (victim.read_text(), victim.stat().st_uid) == ("of root", 0)
    assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode)) == (65534, 0o600)

    await restore_backup(centre, config, made, TODAY, with_settings=True)
    assert {each.stat().st_uid for each in home.rglob("*")} == {65534}


async def test_to_a_folder_to_nowhere_and_over_something_else(centre: Settings, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    made = await make_backup(centre, None, TODAY, target=stick)
    assert made == stick / f"wificrm-DEMO-P01-{TODAY}.tar.gz"
    assert await make_backup(centre, None, TODAY, target=made) == made
    with pytest.raises(SetupError, match="no such folder; is the disk or stick there"):
        await make_backup(centre, None, TODAY, target=tmp_path / "not-there/x.tar.gz")
    config = tmp_path / "wificrm.toml"
    config.write_text("[venue]\n")
    with pytest.raises(SetupError, match="is no backup; name another"):
        await make_backup(centre, config, TODAY, target=config)
    assert config.read_text() == "[venue]\n"
    assert [each.name for each in stick.iterdir()] == [made.name]


async def test_a_disk_that_is_not_there_is_told_and_not_replaced_by_the_system_s(
    centre: Settings, tmp_path: Path
) -> None:
    """Every night all answers were written to the folder that the disk is meant to be mounted at."""
    away = with_folder(centre, tmp_path / "mount")
    away = msgspec.structs.replace(away, backup=Backup(folder=str(tmp_path / "mount/backups")))
    made = await make_backup(centre, None, TODAY)
    for attempt in (make_backup(away, None, TODAY), restore_backup(away, None, made, TODAY)):
        with pytest.raises(SetupError, match=r"mount/backups: no such folder; is the disk or stick there\?"):
            await attempt
    with pytest.raises(SetupError, match=r"stick: no such folder"):
        await make_backup(centre, None, TODAY, target=tmp_path / "stick")
    assert list((tmp_path / "mount").iterdir()) == []
    (tmp_path / "mount/backups").mkdir()
    assert (await make_backup(away, None, TODAY)).parent == tmp_path / "mount/backups"


@pytest.mark.parametrize(
    ("table", "lines", "refused"),
    [
        ("/etc/fstab", "# all\nUUID=1 / ext4 defaults 0 1\nUUID=2\t{0}/ ext4\tnofail 0 2\n", True),
        ("/etc/fstab", "UUID=2 {0}/my\\040disk ext4 nofail 0 2\n", True),
        ("/etc/fstab", "#UUID=2 {0} ext4 nofail 0 2\n/srv {0} none ro,bind 0 0\ntmpfs /tmp/x tmpfs\n", False),
        ("/etc/config/fstab", "config mount\n\toption target '{0}'\n\toption enabled '1'\n", True),
    ],
)
async def test_a_disk_that_is_meant_to_be_mounted_is_waited_for(
    centre: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, lines: str, refused: bool
) -> None:
    """The folder is there without it, be it the mount point itself or what was once written under it."""
    mount = tmp_path / "backups"
    folder = mount / "my disk" / "of the centre"
    folder.mkdir(parents=True)
    settings = with_folder(centre, folder)
    (tmp_path / "fstab").write_text(lines.format(mount))
    monkeypatch.setattr(captive.backup.folder, "MOUNTS", {tmp_path / "fstab": MOUNTS[Path(table)]})
    if refused:
        with pytest.raises(SetupError, match=r"fstab has a disk for it, which is not there: mount /"):
            await make_backup(settings, None, TODAY)
        monkeypatch.setattr(Path, "is_mount", lambda path: True)
    assert (await make_backup(settings, None, TODAY)).parent == folder


DAYS = [
    *(TODAY + timedelta(number) for number in range(6)),
    date(1970, 1, 1),
    date(2026, 1, 5),
    date(2046, 3, 1),
    date(2046, 3, 2),
]


@given(
    st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from(["", "before-upgrade"])), max_size=30),
    st.integers(1, 4),
)
@given_settings(max_examples=100, deadline=None)
def test_whatever_the_clock_shows_the_newest_backups_stay(steps: list[tuple[date, Any]], keep: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        settings = with_folder(Settings(), Path(place), keep)
        for day, occasion in steps:
            before = {each.name for each in Path(place).iterdir()}
            made = Path(place) / name_of(settings, day, occasion)
            assert not (occasion and made.name in before), "written over"
            made.touch()
            delete_oldest(settings, made, occasion)
            gone = before - {each.name for each in Path(place).iterdir()}
            assert made.exists()
            assert all(("upgrade" in name) == bool(occasion) and str(day) >= name[17:27] for name in gone)
            same = [each for each in before if ("upgrade" in each) == bool(occasion)]
            up_to = [name for name in same if name != made.name and name[17:27] <= str(day)]
            assert len(gone) == max(0, len(up_to) + 1 - (LEAST if occasion else keep))


async def test_the_only_backup_is_not_written_over_with_an_empty_store(centre: Settings) -> None:
    """On the day on which a store broke, and by a clock that has only one day: the one in 1970."""
    made = await make_backup(centre, None, TODAY)
    store = Path(centre.store.crm)
    broken = store.rename(store.with_name("crm.db.broken-19700101T000005Z"))
    await migrate(centre.store.crm, "crm")
    with pytest.raises(SetupError, match=r"last with the answers in .*/crm.db.broken-.*: restore it"):
        await make_backup(centre, None, TODAY)
    await restore_backup(centre, None, made, TODAY)
    assert await asked(centre.store.crm) == ["nhanh"]
    await make_backup(centre, None, TODAY + timedelta(1))
    broken.unlink()
    await make_backup(centre, None, TODAY)


@pytest.mark.parametrize(("written", "stay"), [((2026, 11, 22), [21]), ((1970, 1, 1), list(range(20, 26)))])
def test_the_last_backup_from_before_a_store_broke_stays_until_somebody_came(
    tmp_path: Path, written: tuple[int, int, int], stay: list[int]
) -> None:
    """The portal goes on with an empty one, and every night pushed out a backup that had the answers."""
    centre = Settings(
        store=StoreSection(crm=str(tmp_path / "crm.db")), secrets=str(tmp_path / "keys/secrets")
    )
    settings = with_folder(centre, tmp_path / "backups", keep=2)
    broken = tmp_path / "crm.db.broken-19700101T000005Z"
    broken.touch()
    at = datetime(*written, tzinfo=UTC).timestamp()
    os.utime(broken, (at, at))

    def nights(days: range) -> list[int]:
        for day in days:
            made = tmp_path / "backups" / name_of(settings, date(2026, 11, day), "")
            made.touch()
            delete_oldest(settings, made, "")
        return sorted(int(each.name[-9:-7]) for each in (tmp_path / "backups").iterdir())

    assert nights(range(20, 28)) == [*stay, 26, 27]
    broken.unlink()
    assert nights(range(28, 29)) == [27, 28]


async def test_what_a_killed_backup_left_behind_goes_with_the_next(centre: Settings) -> None:
    """It is a copy of all answers; one that is still being made stays."""
    folder = Path(centre.backup.folder)
    code = (
        "import sys, time; from pathlib import Path; from captive.backup.folder import workshop\n"
        "from crm.settings import Settings\n"
        "with workshop(Settings(), Path(sys.argv[1])) as folder:\n"
        "    (folder / 'store').write_text('all answers'); print(folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        await make_backup(centre, None, TODAY)
        assert (left / "store").exists()
        other.kill()
    (folder / ".backup-of-mine").mkdir()
    await make_backup(centre, None, TODAY)
    assert {each.name for each in folder.iterdir()} == {f"wificrm-DEMO-P01-{TODAY}.tar.gz", ".backup-of-mine"}


async def test_a_disk_without_locks_takes_a_backup(centre: Settings, tmp_path: Path) -> None:
    """As some file servers; played by somebody who holds every byte of the copy."""
    code = "import fcntl, sys; f = open(sys.argv[1], 'wb'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    copy, pipe = tmp_path / "copy", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, copy], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        await copy_out(centre.store.crm, copy)
        other.kill()
    assert await asked(str(copy)) == ["nhanh"]


@given(st.data())
@given_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_archive_is_a_sentence(small: bytes, data: st.DataObject) -> None:
    """Whatever bytes of it changed, before or after it was compressed."""
    squeezed = data.draw(st.booleans())
    damaged = bytearray(small if squeezed else gzip.decompress(small))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1 if squeezed else min(len(damaged), 4096) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        path.write_bytes(damaged if squeezed else gzip.compress(damaged, 1))
        with suppress(SetupError):
            read_archive(path, Path(folder) / "unpacked")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole archive of a few bytes."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "store").write_bytes(b"store" * 200)
    (folder / "forms").write_bytes(bytes(32))
    files = {"store.db": folder / "store", "secrets/forms": folder / "forms"}
    contents = Contents("V", TODAY, "1", "sqlite", "0002", describe(files))
    write_archive(folder / "archive.tar.gz", contents, files, folder)
    return (folder / "archive.tar.gz").read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.5 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid():
        pytest.skip("needs root, and the right to mount")
    with mounted(folder, "-t", "tmpfs", "-o", "size=1500k", "none"):
        yield folder


async def test_a_full_disk_is_told_and_leaves_nothing_behind(
    centre: Settings, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(centre.store.crm)) as store:
        text = "INSERT INTO announcement (venue, texts, starts, urgent, withdrawn) VALUES ('DEMO-P01', ?, '', 0, 0)"
        store.executemany(text, [(os.urandom(600).hex(),) for _ in range(800)])
        store.commit()
    made = await make_backup(centre, None, TODAY)
    with pytest.raises(SetupError, match=r"small: [23] MB are needed there for a while, 1 MB are free"):
        await make_backup(centre, None, TODAY, target=small_disk)
    monkeypatch.setattr(
        captive.backup.store_copy, "need_room", lambda *_: None
    )  # somebody else fills it meanwhile
    with pytest.raises(SetupError, match="No space left on device"):
        await make_backup(centre, None, TODAY, target=small_disk)
    assert list(small_disk.iterdir()) == []
    # There is room for what is put back, but not for all that SQLite would like to do with it then.
    tight = msgspec.structs.replace(centre, store=StoreSection(crm=str(small_disk / "crm.db")))
    await migrate(tight.store.crm, "crm")
    assert await asked(tight.store.crm) == []
    await restore_backup(tight, None, made, TODAY)
    assert await asked(tight.store.crm) == ["nhanh"]


@pytest.mark.postgres
async def test_another_owner_of_a_postgresql_database_restores_into_his_own_only(
    postgres_dsn: str, tmp_path: Path
) -> None:
    def settings_at(dsn: str) -> Settings:
        at = Settings(secrets=str(tmp_path / "secrets"), store=StoreSection(crm=dsn))
        return with_folder(at, tmp_path / "backups")

    await ask(postgres_dsn, "nhanh")
    made = await make_backup(settings_at(postgres_dsn), None, TODAY)
    url = store_url(postgres_dsn).set(drivername="postgresql", username="other")
    theirs, own = (url.set(database=name).render_as_string() for name in (url.database, "own"))
    engine = make_engine(postgres_dsn).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as conn:
        for line in (
            "CREATE ROLE other LOGIN",
            "GRANT pg_read_all_data TO other",
            "CREATE DATABASE own OWNER other",
        ):
            await conn.execute(text(line))
    try:
        with pytest.raises(SetupError, match="must be owner"):
            await restore_backup(settings_at(theirs), None, made, TODAY)
        assert await asked(postgres_dsn) == ["nhanh"]
        await restore_backup(settings_at(own), None, made, TODAY)  # as on a new box
        assert await asked(own) == ["nhanh"]
    finally:
        async with engine.connect() as conn:
            for line in ("DROP DATABASE own WITH (FORCE)", "DROP OWNED BY other", "DROP ROLE other"):
                await conn.execute(text(line))
        await engine.dispose()


@pytest.mark.postgres
async def test_what_a_newer_release_added_is_in_nobodys_way_back(postgres_dsn: str, tmp_path: Path) -> None:
    """A table that refers to ours held up the restore; one that does not was in the way of the next upgrade."""
    settings = Settings(secrets=str(tmp_path / "secrets"), store=StoreSection(crm=postgres_dsn))
    settings = with_folder(settings, tmp_path / "backups")
    await ask(postgres_dsn, "nhanh")
    made = await make_backup(settings, None, TODAY)
    engine = make_engine(postgres_dsn)
    async with engine.begin() as conn:
        for line in (
            "CREATE TABLE later (venue VARCHAR(32) REFERENCES venue (code))",
            'CREATE TABLE "even Later" (id INTEGER)',
            "UPDATE alembic_version SET version_num = '9999'",
        ):
            await conn.execute(text(line))
    _, kept = await restore_backup(settings, None, made, TODAY)
    assert await asked(postgres_dsn) == ["nhanh"]
    tables = "SELECT count(*) FROM pg_tables WHERE lower(tablename) LIKE '%later'"
    async with engine.connect() as conn:
        assert (await conn.execute(text(tables))).scalar() == 0
    assert kept is not None
    read_archive(kept, tmp_path, only="store.dump")
    assert b"even Later" in (tmp_path / "store.dump").read_bytes()
    await engine.dispose()


def test_postgresqls_programs_go_to_the_server_that_the_portal_goes_to() -> None:
    """An address may name it behind a question mark, as a socket's folder must be."""
    told = _environment("postgresql://centre@/wificrm?host=/run/pg&port=5433&ssl=verify-full")
    assert told == {
        "LC_ALL": "C.UTF-8",
        "PGHOST": "/run/pg",
        "PGPORT": "5433",
        "PGUSER": "centre",
        "PGSSLMODE": "verify-full",
        "PGDATABASE": "wificrm",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_stores_that_root_makes_are_the_portals(tmp_path: Path) -> None:
    """As a technician does whom the doctor told that there is none."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    config = tmp_path / "wificrm.toml"
    config.write_text(f'[store]\ncrm = "{home}/var/crm.db"\naccess = "{home}/access.db"\n')
    for _ in range(2):
        assert await migrate_command.run(arguments(migrate_command, "--config", config)) == 0
    assert {(each.name, stat.S_IMODE(each.stat().st_mode)) for each in home.rglob("*.db")} == {
        ("crm.db", 0o600),
        ("access.db", 0o600),
    }
    assert {each.stat().st_uid for each in home.rglob("*")} == {65534}
