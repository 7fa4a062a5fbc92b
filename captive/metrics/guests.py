"""Counts of what devices met on their way online, told so that they tell nothing of answering.

Who skips is online seconds after the page was shown, who answers takes longer. So when a device came and when it
went online are never told apart: what happened before is told in the moment in which the way opens, or a quarter
of an hour after the device came, and each step only once a day. Nothing is counted while somebody answers.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

from captive.gateway import key_parts
from captive.grants.policy import Reason

HOLD = 900.0
"""Seconds for which it is waited that a device goes online."""
MAX_HELD = 20_000
"""Devices held back at most; past that the first is told early."""
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Of the buckets of waits, in seconds."""

Step = Literal["joined", "redirected", "shown"]
Outcome = Literal["granted", "failed"] | Reason
OUTCOMES: tuple[Outcome, ...] = ("granted", "closed", "used_up", "blocked", "failed")


class GuestFigures:
    """What is counted of guests, by place. *clock* is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, tuple[Step, ...]]] = {}  # since when, what; in the order of coming
        self.steps: Counter[tuple[str, Step]] = Counter()
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()
        self.waits = [0] * (len(BOUNDS) + 1)
        self.waited = 0.0
        """The sum of all waits, each as the bound of its bucket, so that it tells no more than the buckets do."""

    def note(self, device: str, step: Step) -> None:
        """*device* came to *step*; whoever calls does so once a day for each."""
        self.settle()  # also where nobody asks for the figures
        since, steps = self._held.get(device, (self._clock(), ()))
        self._held[device] = since, (*steps, step)
        if len(self._held) > MAX_HELD:
            self._tell(next(iter(self._held)))

    def let_in(self, device: str, outcome: Outcome, seconds: float) -> None:
        """The way of *device* was opened, or not; *seconds* after what it was asked had ended."""
        self._tell(device)
        self.outcomes[key_parts(device)[0], outcome] += 1
        if outcome == "granted":
            bucket = sum(bound < seconds for bound in BOUNDS)
            self.waits[bucket] += 1
            self.waited += BOUNDS[min(bucket, len(BOUNDS) - 1)]

    def settle(self) -> None:
        """Tell of those who came long enough ago."""
        now = self._clock()
        while self._held:
            device, (since, _) = next(iter(self._held.items()))
            if now - since < HOLD:
                return
            self._tell(device)

    def _tell(self, device: str) -> None:
        place = key_parts(device)[0]
        for step in self._held.pop(device, (0.0, ()))[1]:
            self.steps[place, step] += 1
