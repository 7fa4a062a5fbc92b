"""The phones that ``wificrm doctor`` plays: they go online as guests do, but are nobody's.

Who may write to the access store says which device is one. It is let through at any hour, for a minute, and
neither counted, nor remembered, nor written into the connection log.
"""

from collections.abc import Collection

TRY = "try"
"""The wish that makes a device a trial."""
TRIAL_SECONDS = 180.0
"""For which a device is one."""
GRANT_SECONDS = 60
"""Of a trial: what a doctor that was killed leaves behind is gone after it."""


class Trials:
    """Which devices are trials, in memory. Times are seconds on the monotonic clock."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def begin(self, devices: Collection[str], now: float) -> None:
        """From *now* on, *devices* are trials."""
        self._until = {device: until for device, until in self._until.items() if until > now}
        self._until |= dict.fromkeys(devices, now + TRIAL_SECONDS)

    def has(self, device: str, now: float) -> bool:
        """Whether *device* is one."""
        return bool(self._until) and self._until.get(device, now) > now
