"""Settings and secrets: which of them go into a backup, and how they are put back, all of them or none."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from captive.backup.folder import give_to_owner_of, make_folder, settle
from crm.errors import SetupError
from crm.settings import Settings
from crm.uci import is_uci

MAX_SECRET = 64 * 1024
"""Bytes; what is larger in the folder of secrets is none."""
UCI = Path("/etc/config")
BEFORE = ".before-restore"
"""What stands behind the name of a file that another was put in place of."""
DRAFT = ".restored"
"""What stands behind the name of a file that is about to be put in place."""


def settings_files(config: Path | None) -> dict[str, Path]:
    """The settings, by their names in an archive."""
    beside = [config, config.with_name("wifi.conf")] if config else []
    names = {path: "wificrm.toml" if path == config else path.name for path in beside}
    return {f"settings/{names[each]}": each for each in beside if each.is_file()}


def secret_files(folder: Path) -> dict[str, Path]:
    """The secrets, by their names in an archive."""
    try:
        found = [each for each in sorted(folder.iterdir()) if each.is_file() and not each.is_symlink()]
    except OSError:  # none were made yet, or they come from the environment
        return {}
    small = (each for each in found if each.stat().st_size <= MAX_SECRET)
    return {
        f"secrets/{each.name}": each
        for each in small
        if re.fullmatch(r"[A-Za-z0-9_.\-]{1,64}", each.name) and not each.name.endswith((BEFORE, DRAFT))
    }


def copied(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Copies of *files* in *folder*, by the same names. Raises OSError."""
    copies = {name: folder / name for name in files}
    for name, copy in copies.items():
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(files[name], copy)
    return copies


def places_of(
    names: Collection[str], unpacked: Path, settings: Settings, config: Path | None
) -> dict[Path, Path]:
    """{where it belongs: where it was unpacked} of the settings and secrets among *names*."""
    places = {}
    for name in names:
        folder, _, file = name.partition("/")
        if folder == "secrets":
            places[Path(settings.secrets) / file] = unpacked / name
        elif folder == "settings" and config:
            places[config if file == "wificrm.toml" else config.with_name(file)] = unpacked / name
    return places


def check_kind(restored: Path, config: Path) -> None:
    """Raise `SetupError` where settings of OpenWrt would be put in place of Debian's, or the other way round.

    The program reads either anywhere; OpenWrt's own scripts read no TOML, and nothing would start there.
    """
    there = is_uci(config.read_text("utf-8", "replace")) if config.is_file() else config.parent == UCI
    if restored.is_file() and is_uci(restored.read_text("utf-8", "replace")) != there:
        here, kept = ("UCI", "TOML") if there else ("TOML", "UCI")
        raise SetupError(
            f"{config}: this box keeps its settings as {here}, those in the backup are {kept}; "
            "restore without --with-settings, and set by hand what differs"
        )


@contextlib.contextmanager
def ready_beside(places: Mapping[Path, Path]) -> Iterator[Callable[[], None]]:
    """Copies stand beside their places, and what is given puts them in place: whatever can fail has not, by then.

    What was there stays as ``*.before-restore``. Raises `SetupError`; then nothing was changed.
    """
    drafts: dict[Path, Path] = {}
    try:
        for target, source in places.items():
            if not (target.is_file() and target.read_bytes() == source.read_bytes()):
                drafts[target] = target.with_name(f".{target.name}{DRAFT}")
                _draft(source, target, drafts[target])
        yield lambda: _put(drafts)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}; run as root") from None
    finally:
        for draft in drafts.values():
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def _draft(source: Path, target: Path, draft: Path) -> None:
    """A copy with the rights of what it takes the place of; without such a one, as they are when new."""
    is_secret = source.parent.name == "secrets"
    make_folder(target.parent, 0o700 if is_secret else 0o755)
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as copy, source.open("rb") as file:
        shutil.copyfileobj(file, copy)
        copy.flush()
        os.fsync(copy.fileno())
    if target.is_file():
        was = target.stat()
        if os.geteuid() == 0:
            os.chown(draft, was.st_uid, was.st_gid)
        draft.chmod(was.st_mode & 0o777)
    else:
        give_to_owner_of(target.parent, draft)
        draft.chmod(0o600 if is_secret else 0o644)


def _put(drafts: Mapping[Path, Path]) -> None:
    for target, draft in drafts.items():
        if target.exists():
            before = target.with_name(target.name + BEFORE)
            before.unlink(missing_ok=True)
            before.hardlink_to(target)  # at no moment there is no file
        draft.replace(target)
    for folder in {target.parent for target in drafts}:
        settle(folder)
