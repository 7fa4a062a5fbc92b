"""The audit of the connection log: lines that follow from each other by their hashes. Rules only, no I/O.

Each hash covers the line and the hash before it, so a line that is changed, taken out or put in breaks the
chain. Whoever writes the whole chain anew, or cuts its end, is found by an older manifest: it names the
number and hash of its line, and travels with the export, out of the box's reach.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator

import msgspec

from crm.errors import SetupError

MAX_TEXT = 300
BEGINNING = bytes(32)
"""What stands in for the hash before the first line."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was done with the log, when (UTC), and in whose name.

    No address, no device and no time that was asked about: these stand in the sealed export alone.
    """

    at: str
    act: str  # key, export, exported, purge
    account: str = ""  # of the operating system
    requester: str = ""
    approver: str = ""
    reason: str = ""
    first: str = ""
    last: str = ""
    filters: list[str] = []
    recipient: str = ""
    key: str = ""
    rows: int = 0
    sessions: int = 0
    sha256: str = ""


class Line(msgspec.Struct, frozen=True):
    """A line as it is kept: its number from 1, its text, its hash."""

    n: int
    text: str
    hash: bytes


def make_line(entry: Entry, before: Line | None) -> Line:
    """The line for *entry* after the line *before*."""
    text = msgspec.json.encode(entry).decode()
    n = before.n + 1 if before else 1
    return Line(n, text, link(before.hash if before else BEGINNING, n, text))


def link(before: bytes, n: int, text: str) -> bytes:
    """The hash of line *n* after one with the hash *before*."""
    return hashlib.sha256(before + f"{n}:{text}".encode()).digest()


def breaks(lines: Iterable[Line]) -> Iterator[int]:
    """The numbers of lines that do not follow from the line before them."""
    before = BEGINNING
    for line in lines:
        if line.hash != link(before, line.n, line.text):
            yield line.n
        before = line.hash


def check_people(requester: str, approver: str) -> None:
    """Raise `SetupError` unless two different people ask for it and agree to it."""
    for option, text in (("--requester", requester), ("--approver", approver)):
        check_text(option, text)
    if fold(requester) == fold(approver):
        raise SetupError("--requester and --approver must be two different people")


def check_text(option: str, text: str) -> None:
    """Raise `SetupError` when *text* says nothing, says too much, or is no plain line."""
    if len(text.strip()) < 3:
        raise SetupError(f"{option} must not be empty: write it as it shall be read years later")
    if len(text) > MAX_TEXT:
        raise SetupError(f"{option} has {len(text)} characters; {MAX_TEXT} are enough")
    if any(unicodedata.category(letter).startswith("C") for letter in text):
        raise SetupError(f"{option} must be one line of plain text")


def fold(name: str) -> str:
    """*name* without case, accents and spaces: how people write the same name at different keyboards."""
    plain = unicodedata.normalize("NFKD", name.casefold().replace("đ", "d"))
    return "".join(letter for letter in plain if letter.isalnum())
