"""The keys of thin routers: one file each in the folder of secrets, for the portal's user alone."""

import contextlib
import os
import re
import secrets
from pathlib import Path

from crm.errors import SetupError
from crm.settings import Settings

KEY = re.compile(r"[0-9a-f]{64}\n?")


def key_path(settings: Settings, name: str) -> Path:
    """Where the key of the router *name* is."""
    return Path(settings.secrets) / f"router-{name}"


def read_key(settings: Settings, name: str) -> bytes | None:
    """The key of the router *name*; None when there is none (or none that this user may read)."""
    try:
        text = key_path(settings, name).read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return bytes.fromhex(text.strip()) if KEY.fullmatch(text) else None


def make_key(settings: Settings, name: str) -> bytes:
    """Make the router *name* a new key; a former one is worth nothing from now on. Raises `SetupError`.

    It belongs to whoever owns the folder, for it is most often root who makes it and the portal that reads it.
    """
    path, key = key_path(settings, name), secrets.token_bytes(32)
    fresh = path.with_name(f".{path.name}.new")
    try:
        folder = path.parent
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
            _give(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), folder.parent)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        os.write(descriptor, f"{key.hex()}\n".encode())
        _give(descriptor, folder)
        fresh.replace(path)
    except OSError as error:
        raise SetupError(f"{path}: the key cannot be kept there: {error.strerror}; run as root") from None
    return key


def _give(descriptor: int, like: Path) -> None:
    """What *descriptor* opens becomes its owner's who owns *like*, if that is ours to say; closes it."""
    try:
        if os.geteuid() == 0:
            owner = like.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)
