"""What a backup holds, where it is kept, for how long; and how it is put back.

It holds the crm store, the settings and the secrets, so that a new box can take the old one's place. It does not hold
the access store: who is online is no matter of tomorrow, and what names devices is to go at midnight. Nor the
connection log, which has exports and a retention of its own.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

from captive.backup.archive import Contents, describe, read_archive, write_archive
from captive.backup.store_copy import copy_in, copy_out, give_to_owner_of
from crm.engines import store_url
from crm.errors import SetupError
from crm.schema import age_of, head_of
from crm.settings import Settings
from crm.version import VERSION

Occasion = Literal["", "before-upgrade", "before-restore"]

MAX_SECRET = 64 * 1024
"""Bytes; what is larger in the folder of secrets is none."""


async def make_backup(
    settings: Settings,
    config: Path | None,
    today: date,
    *,
    target: Path | None = None,
    occasion: Occasion = "",
) -> Path:
    """Write a backup to *target*, by default a file of the day in ``backup.folder``; where it is now.

    Only one of a day is kept there (two would tell which answers came between them), and ``backup.keep`` of each
    *occasion*. Raises `SetupError`.
    """
    dsn = settings.store.crm
    age = await age_of(dsn, "crm")
    if age != "current":
        raise SetupError(f"the crm store is {age}, there is nothing to back up; run: wificrm migrate")
    place = target or _free_name(settings, today, occasion)
    with _workshop(place.parent) as folder:
        files = {
            "store.db" if _backend(dsn) == "sqlite" else "store.dump": folder / "store",
            **_settings_files(config),
            **_secret_files(Path(settings.secrets)),
        }
        await copy_out(dsn, folder / "store")
        try:
            contents = Contents(
                settings.venue.code, today, VERSION, _backend(dsn), head_of("crm"), describe(files)
            )
            write_archive(place, contents, files)
        except OSError as error:
            raise SetupError(f"{error.filename or place}: {error.strerror}; is the disk full?") from None
    give_to_owner_of(place.parent, place)
    if target is None:
        _prune(settings, occasion)
    return place


async def restore_backup(
    settings: Settings, config: Path | None, archive: Path, today: date, *, with_settings: bool = False
) -> tuple[Contents, Path | None]:
    """Put the store of *archive* in place of the one there is; what it was, and where that one is kept now.

    *with_settings*: its settings and secrets too; those there are stay beside them as ``*.before-restore``.
    Raises `SetupError`; then nothing was changed.
    """
    with _workshop(Path(settings.backup.folder)) as folder:
        contents = read_archive(archive, folder)
        _check(settings, contents)
        kept = None
        if await age_of(settings.store.crm, "crm") == "current":
            kept = await make_backup(settings, config, today, occasion="before-restore")
        await copy_in(folder / contents.store, settings.store.crm)
        if with_settings:
            for name in contents.files:
                if target := _place_of(name, settings, config):
                    _put(folder / name, target)
    return contents, kept


def read_settings(archive: Path) -> str:
    """The text of the settings in *archive*, for a box that has none yet. Raises `SetupError`."""
    with tempfile.TemporaryDirectory() as folder:
        read_archive(archive, Path(folder))
        try:
            return (Path(folder) / "settings/wificrm.toml").read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise SetupError(f"{archive}: there are no settings in it") from None


def _check(settings: Settings, contents: Contents) -> None:
    backend = _backend(settings.store.crm)
    if contents.backend != backend:
        raise SetupError(f"the backup is of a {contents.backend} store, store.crm is {backend}")
    if contents.schema > head_of("crm"):
        raise SetupError(
            f"the backup was made by a newer wificrm ({contents.program}); install that one first"
        )
    if contents.venue != settings.venue.code:
        raise SetupError(
            f"the backup is of the centre {contents.venue}, venue.code is {settings.venue.code}; "
            "see that both are meant to be the same"
        )


def _settings_files(config: Path | None) -> dict[str, Path]:
    beside = [config, config.with_name("wifi.conf")] if config else []
    return {f"settings/{_settings_name(each, config)}": each for each in beside if each.is_file()}


def _settings_name(path: Path, config: Path | None) -> str:
    return "wificrm.toml" if path == config else path.name


def _secret_files(folder: Path) -> dict[str, Path]:
    try:
        found = [each for each in sorted(folder.iterdir()) if each.is_file() and not each.is_symlink()]
    except OSError:  # none were made yet, or they come from the environment
        return {}
    small = (each for each in found if each.stat().st_size <= MAX_SECRET)
    return {
        f"secrets/{each.name}": each for each in small if re.fullmatch(r"[A-Za-z0-9_.\-]{1,64}", each.name)
    }


def _place_of(name: str, settings: Settings, config: Path | None) -> Path | None:
    folder, _, file = name.partition("/")
    if folder == "secrets":
        return Path(settings.secrets) / file
    if folder == "settings" and config:
        return config if file == "wificrm.toml" else config.with_name(file)
    return None


def _put(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        mode = 0o600
        if target.exists():
            mode = target.stat().st_mode & 0o777
            target.replace(target.with_name(f"{target.name}.before-restore"))
        shutil.copyfile(source, target)
        target.chmod(mode if target.parent.name == "secrets" else 0o644)
    except OSError as error:
        raise SetupError(f"{error.filename or target}: {error.strerror}; run as root") from None
    give_to_owner_of(target.parent, target)


def _free_name(settings: Settings, today: date, occasion: Occasion) -> Path:
    """The file of the day; a copy made before something else was lost is never written over."""
    stem = f"wificrm-{settings.venue.code}-{today}{occasion and '-'}{occasion}"
    folder, number = Path(settings.backup.folder), 1
    while occasion and (folder / f"{stem}-{number}.tar.gz").exists():
        number += 1
    return folder / (f"{stem}-{number}.tar.gz" if occasion else f"{stem}.tar.gz")


def _prune(settings: Settings, occasion: Occasion) -> None:
    mark = rf"-{occasion}-[0-9]+" if occasion else ""
    name = re.compile(
        rf"wificrm-{re.escape(settings.venue.code)}-[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{mark}\.tar\.gz"
    )
    folder = Path(settings.backup.folder)
    found = sorted((each for each in folder.iterdir() if name.fullmatch(each.name)), key=_made)
    for old in found[: -settings.backup.keep]:
        old.unlink(missing_ok=True)


def _made(path: Path) -> int:
    return path.stat().st_mtime_ns


def _backend(dsn: str) -> Literal["sqlite", "postgresql"]:
    return "sqlite" if store_url(dsn).get_backend_name() == "sqlite" else "postgresql"


@contextlib.contextmanager
def _workshop(place: Path) -> Iterator[Path]:
    """A folder on the same disk, for the owner alone, that is gone afterwards."""
    try:
        made = not place.exists()
        place.mkdir(mode=0o750, parents=True, exist_ok=True)
        if made:
            give_to_owner_of(place.parent, place)
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=place) as folder:
            yield Path(folder)
    except OSError as error:
        raise SetupError(f"{error.filename or place}: {error.strerror}; who runs this must own it") from None
