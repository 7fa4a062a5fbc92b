"""What whoever runs the gateway wants of it, as ``apply`` and ``remove`` leave it in the state folder.

Gate, advertiser and watches read their settings when they start. Once others were applied, each of them ends by
itself and is started anew by its service: one that went on would put back what the former settings said.
"""

import asyncio
import hashlib
import signal
from collections.abc import Coroutine
from pathlib import Path

import msgspec
import structlog

from crm.settings import Settings

log = structlog.get_logger()

MEMORY = "gateway.json"
"""What ``apply`` changed; while this file exists the gateway is meant to be up."""
LOOK_SECONDS = 1.0
NO_GUESTS = (
    "this box has no guests of its own (no [[network]] in the settings): thin routers connect to its portal, and "
    "there is nothing to do for gateway and gate"
)


class Memory(msgspec.Struct):
    """What was found before ``apply`` changed it, and the `mark_of` the settings that it was run with."""

    sysctls: dict[str, str] = {}
    made_state: bool = False
    settings: str = ""


class Wish:
    """Whether the gateway is to be up, and with the settings that this process was started with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._was_up = meant_up(settings)
        # What lies in the file but was not applied yet ends nobody.
        self._mark = read_memory(settings).settings or mark_of(settings)

    def outdated(self) -> bool:
        """Whether other settings were applied since."""
        return read_memory(self._settings).settings not in ("", self._mark)

    def differs(self) -> bool:
        """Whether what was applied last is not what this process has read."""
        return read_memory(self._settings).settings not in ("", mark_of(self._settings))

    def objection(self) -> str:
        """Why this process must not put anything back, in a sentence; empty when it may."""
        is_up = meant_up(self._settings)
        self._was_up = self._was_up or is_up
        if self._was_up and not is_up:
            return "the gateway was taken down; wificrm gateway apply brings it back"
        return "other settings were applied, with which this process starts anew" if self.outdated() else ""


def mark_of(settings: Settings) -> str:
    """A word for all that gateway, gate, advertiser and watch are made of; it tells nothing of it."""
    parts = (settings.networks, settings.uplink, settings.portal, settings.gate, settings.watch)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def meant_up(settings: Settings) -> bool:
    """Whether ``apply`` was run and ``remove`` was not since."""
    try:
        return (Path(settings.state) / MEMORY).exists()
    except PermissionError:  # not for this user to see; the safer guess
        return True


def read_memory(settings: Settings) -> Memory:
    """What ``apply`` left; empty where it did not, or left it for others to read."""
    try:
        return msgspec.json.decode((Path(settings.state) / MEMORY).read_bytes(), type=Memory)
    except (OSError, msgspec.MsgspecError):
        return Memory()


async def while_they_hold(settings: Settings, work: Coroutine[None, None, None]) -> None:
    """Do *work*, which ends at SIGTERM; send that to ourselves once other settings were applied."""

    async def look() -> None:
        wish = Wish(settings)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if wish.outdated():
                log.info("other settings were applied: this process ends, to be started with them")
                signal.raise_signal(signal.SIGTERM)
                return

    looking = asyncio.create_task(look())
    try:
        await work
    finally:
        looking.cancel()
