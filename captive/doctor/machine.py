"""The machine below: its disk, the programs and the kernel it has."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from captive.box.resolver import find_program
from captive.doctor.finding import Finding, Notes
from captive.store_care import sqlite_path
from crm.settings import Settings

LOW_DISK = 200 * 2**20
"""Bytes; below it SQLite may fail to commit within weeks of answers."""
FULL_DISK = 8 * 2**20
"""Bytes; below it a store may fail at the next answer."""
FEW_FILES = 100
"""A store needs three while it is open, a backup and dnsmasq some more."""
_VERSIONS = (
    ("nft", ("nft", "--version"), (1, 0)),
    ("dnsmasq", ("dnsmasq", "--version"), (2, 87)),
    ("hostapd", ("hostapd", "-v"), (2, 9)),
)
"""Program, how it is asked, the oldest that serves."""
_OLDEST_KERNEL, _EGRESS_KERNEL, _OLDEST_PYTHON = (5, 10), (5, 16), (3, 11)


def look_at_machine(settings: Settings) -> list[Finding]:
    """Disk, versions."""
    notes = Notes()
    _disk(notes, settings)
    _versions(notes, settings)
    return notes.findings


def _disk(notes: Notes, settings: Settings) -> None:
    """Each folder with a store in it, where there are two."""
    paths = [path for dsn in (settings.store.crm, settings.store.access) if (path := sqlite_path(dsn))]
    for folder in dict.fromkeys(path.parent for path in paths):
        _tell_folder(notes, folder)
    if not paths:
        notes.ok("disk", "the stores are elsewhere")


def _tell_folder(notes: Notes, folder: Path) -> None:
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        notes.fault(
            "disk", f"{folder}: {error.strerror}", "make the folder, or correct store.crm, store.access"
        )
        return
    free = disk.f_bavail * disk.f_frsize
    told = f"{free // 2**20} MiB free in {folder}"
    if disk.f_flag & os.ST_RDONLY:
        todo = "the kernel does so after errors of the disk or card: dmesg; then a new one, or mount -o remount,rw"
        notes.fault("disk", f"read-only: nothing can be kept in {folder}", todo)
    elif free < LOW_DISK:
        full = "full: " if free < FULL_DISK else "nearly full: "
        notes.fault("disk", full + told, f"see what takes the room: du -xhd2 {folder.anchor} | sort -h")
    elif disk.f_files and disk.f_favail < FEW_FILES:
        todo = f"see where the many small files are: du -xd2 --inodes {folder.anchor} | sort -n"
        notes.fault("disk", f"{told}, but room for {disk.f_favail} more files only (df -i)", todo)
    else:
        notes.ok("disk", told)


def _versions(notes: Notes, settings: Settings) -> None:
    wanted = [each for each in _VERSIONS if each[0] != "hostapd" or any(n.hostapd for n in settings.networks)]
    found = [
        ("Linux", _numbers(platform.release()), _OLDEST_KERNEL),
        ("Python", sys.version_info[:3], _OLDEST_PYTHON),
        *((name, _ask(command), oldest) for name, command, oldest in wanted if settings.networks),
    ]
    old = [(name, version, oldest) for name, version, oldest in found if version and version < oldest]
    told = ", ".join(f"{name} {_dotted(version) if version else 'missing'}" for name, version, _ in found)
    if settings.gate.gateway == "open":
        notes.ok("versions", told)
    elif old:
        needs = " and ".join(f"{name} {_dotted(oldest)}" for name, _, oldest in old)
        notes.fault("versions", told, f"install {needs} or newer (Debian 12 has all)")
    elif found[0][1] < _EGRESS_KERNEL:
        notes.warn(
            "versions", told, "a kernel of 5.16 or newer counts and limits what goes down to devices, too"
        )
    else:
        notes.ok("versions", told)


def _ask(command: tuple[str, ...]) -> tuple[int, ...]:
    """The version that a program says it is; () when it is not there."""
    program = find_program(command[0])
    if not program or not os.access(program, os.X_OK):
        return ()
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    return _numbers(done.stdout + done.stderr)


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
