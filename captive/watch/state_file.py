"""What the metrics tell of the watch: ``watch.json``, kept in memory (a tmpfs), without a device in it."""

from pathlib import Path

import msgspec

from captive.alert_kinds import AlertKind
from crm.settings import Settings

NAME = "watch.json"


class Counters(msgspec.Struct):
    """How often each kind was told since the start, and when it was last seen (seconds since the epoch)."""

    alerts: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(AlertKind, 0))
    seen: dict[str, int] = {}


def state_path(settings: Settings) -> Path:
    """Where the file is: ``/run/wificrm-watch/watch.json`` unless ``state`` says otherwise."""
    return Path(f"{settings.state}-watch") / NAME


def write_counters(path: Path, counters: Counters) -> None:
    """Put the file in place in one step: whoever reads it reads a whole one. Raises `OSError`."""
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(counters))
    new.chmod(0o644)
    new.replace(path)
