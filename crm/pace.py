"""How long a store keeps its writers waiting: the worst of the last minutes. Rules only: no clock."""

from typing import NamedTuple

SPAN = 300.0
"""Seconds for which the worst is remembered at least; at most twice as long."""


class Worst(NamedTuple):
    """Seconds: how long a write *waited* for its commit to begin, how long a commit *took*."""

    waited: float = 0.0
    took: float = 0.0


class Pace:
    """The worst of this span and of the one before. Times are seconds on the monotonic clock."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._now = self._before = Worst()

    def note(self, now: float, waited: float, took: float) -> None:
        """A commit that began after a write had *waited* ended *now* and *took* so long."""
        self._turn(now)
        self._now = Worst(max(self._now.waited, waited), max(self._now.took, took))

    def worst(self, now: float) -> Worst:
        """The worst of the last minutes."""
        self._turn(now)
        return Worst(max(self._now.waited, self._before.waited), max(self._now.took, self._before.took))

    def _turn(self, now: float) -> None:
        if now - self._since >= SPAN:
            self._before = self._now if now - self._since < 2 * SPAN else Worst()
            self._now, self._since = Worst(), now
