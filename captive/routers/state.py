"""Which routers are connected: a small file, kept by the portal for ``wificrm router list``; it names no device."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from captive.routers.link import RouterLink
from crm.settings import Settings

FILE = "routers.json"
WRITE_EVERY = 10.0
"""Seconds between two writings at least."""


class RouterState(msgspec.Struct, frozen=True):
    """One router that is connected: since when (seconds since 1970), its version, devices let through."""

    since: float
    version: str
    devices: int


class States(msgspec.Struct, frozen=True):
    """The file: the routers that are connected, by name, and the process that wrote it: its number, and its start."""

    pid: int
    routers: dict[str, RouterState]
    started: str = ""


def read_states(settings: Settings) -> dict[str, RouterState] | None:
    """The routers that are connected; None: no portal runs that could tell."""
    try:
        states = msgspec.json.decode((Path(settings.secrets) / FILE).read_bytes(), type=States)
    except (OSError, msgspec.MsgspecError):
        return None
    # After a reboot another process has its number sooner or later.
    return states.routers if states.started and _started(states.pid) == states.started else None


def _started(pid: int) -> str:
    """When the process *pid* began, in ticks since the boot (field 22 of proc_pid_stat(5)); "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class StateFile:
    """Keeps the file up to date: `look` every few seconds."""

    def __init__(self, settings: Settings, links: Mapping[str, RouterLink]) -> None:
        self._path = Path(settings.secrets) / FILE
        self._links = links
        self._started = _started(os.getpid())
        self._written: States | None = None
        self._due = 0.0

    async def look(self) -> None:
        """Write what has changed."""
        now = time.monotonic()
        if not self._links or now < self._due:
            return
        states = States(
            os.getpid(),
            {
                name: RouterState(link.since, link.version, link.devices)
                for name, link in self._links.items()
                if link.is_live
            },
            self._started,
        )
        if states != self._written:
            self._due = now + WRITE_EVERY
            fresh = self._path.with_name(f".{FILE}.new")
            fresh.write_bytes(msgspec.json.encode(states))
            fresh.chmod(0o600)
            fresh.replace(self._path)
            self._written = states
