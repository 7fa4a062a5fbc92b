"""The folder of backups: what a file in it is called, how long it stays, and where it is made until it is whole."""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from crm.engines import store_url
from crm.errors import SetupError
from crm.salvage import kept_aside
from crm.settings import Settings
from crm.times import UNDATED, local_moment

Occasion = Literal["", "before-upgrade", "before-restore"]

MOUNTS = {
    Path("/etc/fstab"): re.compile(r"^[ \t]*[^#\s]\S*[ \t]+(/\S*)[ \t]+\S+[ \t]+(?!\S*bind)", re.MULTILINE),
    Path("/etc/config/fstab"): re.compile(r"^\s*option\s+target\s+['\"]?(/[^'\"\s]*)", re.MULTILINE),
}
"""Where it stands what is meant to be mounted, on Debian and OpenWrt, and how. What is bound is no disk."""

LEAST = 7
"""Of copies made before something so many stay at least: a second attempt must not cost the first one's way back."""

_UNFINISHED = ".wificrm-backup-"
"""Whatever begins so is deleted: in somebody's own folder, as on a stick, nothing else may."""


def name_of(settings: Settings, today: date, occasion: Occasion) -> str:
    """The file of the day; a copy made before something else was lost is never written over."""
    stem = f"wificrm-{settings.venue.code}-{today}"
    if not occasion:
        return f"{stem}.tar.gz"
    numbers = [number for day, number, _ in _kept(settings, occasion) if day == str(today)]
    return f"{stem}-{occasion}-{max(numbers, default=0) + 1}.tar.gz"


def delete_oldest(settings: Settings, made: Path, occasion: Occasion) -> None:
    """Delete what is older than the newest ``backup.keep`` up to *made* (`LEAST` of an *occasion*). Raises OSError.

    What bears a later day than the one just *made* was named by another clock, and nothing tells how old it is:
    it stays. So does the last one from before a store was set aside as broken, as long as that one lies there:
    all that were made since have none of its answers.
    """
    kept = _kept(settings, occasion)
    known = [path for _, _, path in kept]
    zone, needed = ZoneInfo(settings.venue.timezone), set()
    for aside in broken_stores(settings):
        last_day = local_moment(datetime.fromtimestamp(aside.stat().st_mtime, UTC), zone).day
        if last_day == UNDATED:  # nothing tells which were made before
            return
        needed.add(max((path for day, _, path in kept if day < str(last_day)), default=None))
    keep = max(settings.backup.keep, LEAST if occasion else 1)
    for old in known[: known.index(made) + 1][:-keep]:
        if old not in needed:
            old.unlink(missing_ok=True)


def broken_stores(settings: Settings) -> list[Path]:
    """The stores of answers that were set aside and that nobody has looked after yet; see `crm.salvage`."""
    url = store_url(settings.store.crm)
    return kept_aside(Path(url.database or "")) if url.get_backend_name() == "sqlite" else []


def _kept(settings: Settings, occasion: Occasion) -> list[tuple[str, int, Path]]:
    """(day, number, where) of the backups of *occasion*, by their names: copied files have the time of the copy."""
    mark = rf"-{occasion}-([0-9]+)" if occasion else "()"
    name = re.compile(
        rf"wificrm-{re.escape(settings.venue.code)}-([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}){mark}\.tar\.gz"
    )
    folder = Path(settings.backup.folder)
    there = [(name.fullmatch(each.name), each) for each in folder.iterdir()] if folder.is_dir() else []
    return sorted((found[1], int(found[2] or 0), each) for found, each in there if found)


@contextlib.contextmanager
def workshop(settings: Settings, place: Path) -> Iterator[Path]:
    """A folder in *place*, for the owner alone, that is gone afterwards; what a killed one left behind goes first.

    Raises `SetupError`, also for an OSError of whoever works in it.
    """
    try:
        _check_there(settings, place)
        with contextlib.ExitStack() as work:
            with _locked(place, wait=True):
                _clear(place)
                folder = Path(work.enter_context(tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=place)))
                work.enter_context(_locked(folder, wait=True))
            yield folder
    except OSError as error:
        whose = "; who runs this must own it" if isinstance(error, PermissionError) else ""
        raise SetupError(f"{error.filename or place}: {error.strerror}{whose}") from None


def _check_there(settings: Settings, place: Path) -> None:
    """Raise `SetupError` where *place* is not there, but make it beside our own things.

    Any other may be on a disk of its own. Without that disk it would be made on the system's, and fill it unseen.
    """
    check_disk(place)
    if place.parent in (
        Path(settings.secrets).parent,
        Path(store_url(settings.store.crm).database or "").parent,
    ):
        make_folder(place)
    if not place.is_dir():
        name = shlex.quote(str(place))
        raise SetupError(
            f"{place}: no such folder; is the disk or stick there? If it is: mkdir {name} && chown wificrm {name}; "
            "if it is gone for good, set another backup.folder"
        )


def check_disk(place: Path) -> None:
    """Raise `SetupError` where a disk is meant to be mounted at *place* or above it, and is not."""
    for table, rule in MOUNTS.items():
        lines = table.read_text("utf-8", "replace") if table.is_file() else ""
        meant = {Path(each.replace("\\040", " ")) for each in rule.findall(lines)}
        for folder in {place.absolute(), *place.absolute().parents} & meant:
            if not folder.is_mount():
                raise SetupError(
                    f"{folder}: {table} has a disk for it, which is not there: mount {folder}, or name another folder "
                    "in the settings"
                )


def need_room(folder: Path, size: int) -> None:
    """Raise `SetupError` unless *size* bytes fit into *folder*, a workshop: a full disk takes no answers either."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise SetupError(
            f"{folder.parent}: {-(-size // 10**6)} MB are needed there for a while, {free // 10**6} MB are free; "
            "make room, or set another backup.folder"
        )


def _clear(place: Path) -> None:
    """Delete what was being made when the power went or the process was killed: all answers are in it."""
    for left in place.glob(f"{_UNFINISHED}*"):
        with _locked(left, wait=False) as is_ours:
            if is_ours:
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold *folder*, until the process ends at the latest; False where somebody else does, or nothing can be held."""
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        held = True
    except OSError:  # some file servers know no locks: then nothing is cleared there
        held = False
    try:
        yield held
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o750) -> None:
    """Make *folder* and what is missing above it, each for whom the one above it belongs to. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=mode, exist_ok=True)
        give_to_owner_of(each.parent, each)


def settle(folder: Path) -> None:
    """What was renamed in *folder* is so after a power cut too, or when the stick is pulled. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_to_owner_of(folder: Path, file: Path) -> None:
    """What root put into *folder* belongs to whom the folder belongs, who is to go on with it. Raises OSError."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
