"""What is counted of grants for the metrics: how many ended and why, and what had to be put right.

By place only. Nothing here depends on whether somebody answered or skipped.
"""

from collections import Counter
from typing import Literal

from captive.gateway import key_parts

End = Literal["time", "amount", "idle", "staff"]
"""Why a grant ended: its time was over, it took all it might, it took nothing for too long, somebody ended it."""


class Tally:
    """Counts since the portal started."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, End]] = Counter()
        """By place and reason."""
        self.repairs = 0
        """Devices that the gateway let through, or did not, against the book."""

    def end(self, device: str, why: End) -> None:
        """The grant of *device* ended."""
        self.ended[key_parts(device)[0], why] += 1
