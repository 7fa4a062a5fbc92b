"""What a backup holds, and how it is made and put back.

It holds the crm store, the settings and the secrets, so that a new box can take the old one's place. It does not hold
the access store: who is online is no matter of tomorrow, and what names devices is to go at midnight. Nor the
connection log, which has exports and a retention of its own.
"""

import asyncio
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import msgspec

from captive.backup.archive import Contents, describe, is_archive, read_archive, write_archive
from captive.backup.belongings import (
    check_kind,
    copied,
    places_of,
    ready_beside,
    secret_files,
    settings_files,
)
from captive.backup.folder import (
    Occasion,
    broken_stores,
    check_disk,
    delete_oldest,
    give_to_owner_of,
    name_of,
    workshop,
)
from captive.backup.store_copy import DamagedStoreError, copy_in, copy_out
from crm.engines import store_url
from crm.errors import SetupError
from crm.salvage import copy_aside, judge
from crm.schema import head_of, version_of
from crm.settings import Settings, Venue
from crm.settings_file import load_settings
from crm.version import VERSION

SETTINGS = "settings/wificrm.toml"


async def make_backup(
    settings: Settings,
    config: Path | None,
    today: date,
    *,
    target: Path | None = None,
    occasion: Occasion = "",
) -> Path:
    """Write a backup to *target*, a file or a folder, by default ``backup.folder``; where it is now.

    Only one of a day is kept in a folder (two would tell which answers came between them), and in the default one
    ``backup.keep`` of each *occasion*. The store may be of any schema. Raises `SetupError`, also where the folder's
    disk is not there.
    """
    dsn = settings.store.crm
    version = await version_of(dsn, "crm")
    if version is None:
        raise SetupError("the crm store is missing, there is nothing to back up; run: wificrm migrate")
    place = _place(settings, today, occasion, target)
    if target is None and place.exists() and (broken := broken_stores(settings)):
        raise SetupError(
            f"{place}: it may be the last with the answers in {broken[0]}: restore it, and delete that one once "
            "nothing is missing, or name another file"
        )
    with workshop(settings, place.parent) as folder:
        store = "store.db" if _backend(dsn) == "sqlite" else "store.dump"
        await copy_out(dsn, folder / store)
        # Copied first: what changes while a large store is packed would not be what the list of contents says.
        beside = copied({**settings_files(config), **secret_files(Path(settings.secrets))}, folder)
        files = {store: folder / store, **beside}
        contents = Contents(settings.venue.code, today, VERSION, _backend(dsn), version, describe(files))
        write_archive(place, contents, files, folder)
        give_to_owner_of(place.parent, place)
        if target is None:
            delete_oldest(settings, place, occasion)
    return place


async def restore_backup(
    settings: Settings, config: Path | None, archive: Path, today: date, *, with_settings: bool = False
) -> tuple[Contents, Path | None]:
    """Put the store of *archive* in place of the one there is; what it was, and where that one is kept now.

    *with_settings*: its settings and secrets too, and the store goes where those settings have it; those there are
    stay beside them as ``*.before-restore``. Raises `SetupError`; then nothing was changed.
    """
    with workshop(settings, Path(settings.backup.folder)) as folder:
        contents = read_archive(archive, folder)
        names = contents.files if with_settings else ()
        if config and SETTINGS in names:
            settings = _with_those_of(archive, folder / SETTINGS, settings, config)
        _check(settings, contents)
        with ready_beside(places_of(names, folder, settings, config)) as put_in_place:
            kept = await _keep(settings, config, today)
            await copy_in(folder / contents.store, settings.store.crm)
            put_in_place()
    return contents, kept


def read_settings(archive: Path) -> str:
    """The text of the settings in *archive*, for a box that has none yet. Raises `SetupError`."""
    with tempfile.TemporaryDirectory() as folder:
        read_archive(archive, Path(folder), only=SETTINGS)
        try:
            return (Path(folder) / SETTINGS).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise SetupError(f"{archive}: there are no settings in it") from None


def _place(settings: Settings, today: date, occasion: Occasion, target: Path | None) -> Path:
    folder = target or Path(settings.backup.folder)
    if target is None or target.is_dir():
        return folder / name_of(settings, today, occasion)
    if not target.suffix and not target.exists():
        raise SetupError(
            f"{target}: no such folder; is the disk or stick there? (A file's name ends in .tar.gz.)"
        )
    if target.exists() and not is_archive(target):
        raise SetupError(f"{target}: there is a file already, and it is no backup; name another one")
    return target


async def _keep(settings: Settings, config: Path | None, today: date) -> Path | None:
    """A backup of what there is; of a store that is damaged a copy as it is; None where there is no store."""
    dsn = settings.store.crm
    try:
        if await version_of(dsn, "crm") is None:
            return None
        return await make_backup(settings, config, today, occasion="before-restore")
    except SetupError as error:
        path = Path(store_url(dsn).database or "")
        if not isinstance(error, DamagedStoreError) and (
            _backend(dsn) != "sqlite" or await asyncio.to_thread(judge, path, head_of("crm")) != "damaged"
        ):
            raise
        return await asyncio.to_thread(copy_aside, path, datetime.now(UTC))


def _with_those_of(archive: Path, restored: Path, settings: Settings, config: Path) -> Settings:
    """*settings* of this box, but of the venue and with the places of the *restored* ones. Raises `SetupError`."""
    check_kind(restored, config)
    new = load_settings(restored, f"{archive}: settings")
    if settings.venue.code not in (new.venue.code, Venue().code):  # a new box has the code that it came with
        raise _of_another_centre(new.venue.code, settings)
    if _backend(new.store.crm) == "sqlite":
        store = Path(store_url(new.store.crm).database or "")
        check_disk(store.parent)
        if not store.parent.parent.is_dir():
            raise SetupError(
                f"{store}: there the settings in the backup have the store, and there is no {store.parent.parent}; "
                "mount its disk, or restore without --with-settings and set by hand what differs"
            )
    return msgspec.structs.replace(settings, venue=new.venue, store=new.store, secrets=new.secrets)


def _check(settings: Settings, contents: Contents) -> None:
    backend = _backend(settings.store.crm)
    if contents.backend != backend:
        raise SetupError(f"the backup is of a {contents.backend} store, store.crm is {backend}")
    if contents.schema > head_of("crm"):
        raise SetupError(
            f"the backup was made by a newer wificrm ({contents.program}); install that one first"
        )
    if contents.venue != settings.venue.code:
        raise _of_another_centre(contents.venue, settings)


def _of_another_centre(venue: str, settings: Settings) -> SetupError:
    return SetupError(
        f"the backup is of the centre {venue}, venue.code is {settings.venue.code}; "
        "see that both are meant to be the same"
    )


def _backend(dsn: str) -> Literal["sqlite", "postgresql"]:
    return "sqlite" if store_url(dsn).get_backend_name() == "sqlite" else "postgresql"
