"""The file of a backup: a gzipped tar whose first member says what the others are, with their sizes and digests.

Nothing is taken out of an archive but what its contents list names, and that list is held to a short set of
names: an archive may come from anywhere.
"""

import contextlib
import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Annotated, Literal, Self

import msgspec

from captive.backup.folder import need_room, settle
from crm.errors import SetupError

CONTENTS = "wificrm-backup.json"
MAX_CONTENTS = 256 * 1024
"""Bytes of the contents list at most."""
MAX_FILES = 600
MAX_BESIDE = 1024 * 1024
"""Bytes of each file but the store: they are read into memory."""
PIECE = 1024 * 1024

_NAME = re.compile(r"store\.(db|dump)|settings/[a-z]{1,20}\.(toml|conf)|secrets/[A-Za-z0-9_.\-]{1,64}")
"""What may be in an archive; no name leads out of its folder."""


class Part(msgspec.Struct, frozen=True):
    """One file of an archive: its *size* in bytes and SHA-256."""

    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Contents(msgspec.Struct, frozen=True):
    """What an archive is: of which venue, day, program and schema, and the files in it by name."""

    venue: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_\-]{1,32}$")]
    taken: date
    program: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.+~]{1,40}$")]
    backend: Literal["sqlite", "postgresql"]
    schema: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")]
    files: Annotated[dict[str, Part], msgspec.Meta(max_length=MAX_FILES)]
    format: Literal[1] = 1

    @property
    def store(self) -> str:
        """The name of the store's file in it."""
        return "store.db" if self.backend == "sqlite" else "store.dump"


class _PlainMember(tarfile.TarInfo):
    """A regular file. Every other kind is refused by its header: some are read into memory, however long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise tarfile.ReadError(f"{member.name[:80]!r} is no plain file")
        return member


def describe(files: Mapping[str, Path]) -> dict[str, Part]:
    """Sizes and digests of *files*, by their names in the archive. Raises OSError."""
    return {name: Part(path.stat().st_size, _digest(path)) for name, path in files.items()}


def write_archive(target: Path, contents: Contents, files: Mapping[str, Path], workshop: Path) -> None:
    """Write *contents* and *files* to *target*, for its owner alone; whole or not at all. Raises OSError.

    It is made in *workshop*, a folder of our own on the same disk.
    """
    fresh = workshop / "archive"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        # A size beyond 8 GB stands in the header itself.
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6, format=tarfile.GNU_FORMAT) as archive:
            listing = msgspec.json.encode(contents)
            _add(archive, CONTENTS, len(listing), io.BytesIO(listing))
            for name in contents.files:
                with files[name].open("rb") as file:
                    _add(archive, name, files[name].stat().st_size, file)
        raw.flush()
        os.fsync(raw.fileno())
    fresh.replace(target)
    settle(target.parent)


def is_archive(path: Path) -> bool:
    """Whether the file at *path* begins as a backup does."""
    with contextlib.suppress(SetupError), _opened(path) as archive:
        _read_contents(path, archive)
        return True
    return False


def read_archive(path: Path, folder: Path, *, only: str = "") -> Contents:
    """Unpack the archive at *path* into *folder*, or *only* the file of that name.

    Raises `SetupError` where it is not whole or not ours.
    """
    with _opened(path) as archive:
        contents = _read_contents(path, archive)
        if not only:
            need_room(folder, sum(part.size for part in contents.files.values()))
        missing = dict(contents.files)
        while member := archive.next():
            part = missing.pop(member.name, None)
            file = archive.extractfile(member) if part else None
            if part is None or file is None or member.size != part.size:
                raise SetupError(f"{path}: {member.name[:80]!r} does not belong into a backup")
            if only not in ("", member.name):
                continue
            if _copy(file, folder / member.name) != part.sha256:
                raise SetupError(f"{path}: {member.name} was changed or damaged; use another backup")
    if missing:
        raise SetupError(f"{path}: it was cut short, {next(iter(missing))} is missing; use another backup")
    return contents


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, mode="r|gz", tarinfo=_PlainMember) as archive:
            yield archive
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise SetupError(f"{path}: this is no backup, or it was cut short ({error})") from None
    except OSError as error:
        raise SetupError(f"{error.filename or path}: {error.strerror}") from None


def _read_contents(path: Path, archive: tarfile.TarFile) -> Contents:
    member = archive.next()
    file = archive.extractfile(member) if member else None
    if member is None or file is None or member.name != CONTENTS or member.size > MAX_CONTENTS:
        raise SetupError(f"{path}: this is no backup of wificrm")
    try:
        contents = msgspec.json.decode(file.read(), type=Contents)
    except msgspec.MsgspecError as error:
        raise SetupError(f"{path}: its list of contents cannot be read: {error}") from None
    if contents.store not in contents.files or not all(
        _NAME.fullmatch(name) and (name == contents.store or part.size <= MAX_BESIDE)
        for name, part in contents.files.items()
    ):
        raise SetupError(f"{path}: it holds what does not belong into a backup")
    return contents


def _copy(file: IO[bytes], target: Path) -> str:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("xb") as copy:
        for piece in _pieces(file):
            digest.update(piece)
            copy.write(piece)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in _pieces(file):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _add(archive: tarfile.TarFile, name: str, size: int, file: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, file)
