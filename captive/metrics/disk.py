"""What lies on this box's disk and in its memory file systems and belongs into the figures. Read in a thread."""

import contextlib
import os
import resource
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from captive.alert_kinds import AlertKind
from captive.box.pool import Pool, read_pools
from captive.store_care import sqlite_path
from crm.salvage import kept_aside
from crm.settings import Settings
from crm.times import is_sound

MAX_WATCH = 64 * 1024
"""Bytes of the watch's file that are read."""
ROOM = 64 * 2**20
"""Free space is told in whole pieces of so many bytes: an answer is a thousand."""
DAY = 86_400.0
SIGN_OF_LIFE = 180.0
"""Seconds after which the watch, which writes once a minute at least, is taken to have ended."""


Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Watch(msgspec.Struct, frozen=True):
    """What `wificrm watch` leaves: how often it told of each kind, when it last saw it; whether it runs."""

    alerts: dict[str, Whole] = {}
    seen: dict[str, Whole] = {}
    running: bool = False


class Process(msgspec.Struct, frozen=True):
    """This process, as far as its figures do not move with a single guest."""

    memory: int
    cpu: int
    files: int
    max_files: int


class Disk(msgspec.Struct, frozen=True):
    """All of it. ``backup`` is when the newest was made, 0: never; None: it cannot be seen from here."""

    process: Process
    pools: dict[str, Pool] = {}
    watch: Watch | None = None
    backup: float | None = None
    set_aside: dict[str, int] = {}
    free: dict[str, int] = {}


def read_disk(settings: Settings) -> Disk:
    """Look at everything. Never raises for what is not there."""
    stores = {"crm": settings.store.crm, "access": settings.store.access}
    paths = {name: path for name, dsn in stores.items() if (path := sqlite_path(dsn))}
    return Disk(
        pools=read_pools(settings),
        watch=_read_watch(Path(f"{settings.state}-watch/watch.json")),
        backup=_newest(Path(settings.backup.folder)),
        set_aside={name: len(kept_aside(path)) for name, path in paths.items()},
        free={name: free for name, path in paths.items() if (free := _free(path.parent)) is not None},
        process=read_process(),
    )


def read_process() -> Process:
    """Rounded: memory and open files move with a single connection, processor time with a single page."""
    status = Path("/proc/self/statm").read_text("ascii").split()
    used = os.times()
    return Process(
        memory=int(status[1]) * resource.getpagesize() // 2**20 * 2**20,
        cpu=int(used.user + used.system),
        files=-(-sum(1 for _ in Path("/proc/self/fd").iterdir()) // 100) * 100,
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def _read_watch(path: Path) -> Watch | None:
    """Whoever breaks the watch, which reads strangers' frames, writes there what he likes: no figure else suffers."""
    try:
        with path.open("rb") as file:
            watch = msgspec.json.decode(file.read(MAX_WATCH), type=Watch)
            running = abs(time.time() - os.fstat(file.fileno()).st_mtime) < SIGN_OF_LIFE
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    alerts, seen = (
        {kind.value: told[kind] for kind in AlertKind if kind in told} for told in (watch.alerts, watch.seen)
    )
    return Watch(alerts, seen, running)


def _newest(folder: Path) -> float | None:
    """When the newest backup of those that are made by themselves was made."""
    try:
        made = [each.stat().st_mtime for each in folder.iterdir() if each.name.endswith(".tar.gz")]
    except FileNotFoundError:
        return 0.0
    except OSError:
        return None
    now = datetime.now(UTC)
    # What a clock that ran ahead made would keep the alert silent until then.
    until = now.timestamp() + DAY if is_sound(now) else float("inf")
    return max((at for at in made if at < until), default=0.0)


def _free(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free // ROOM * ROOM
    return None
