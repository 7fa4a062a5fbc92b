"""The book of grants as it is in memory: who is online on what terms, told without asking anybody."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from captive.gateway import Lease, Terms, key_parts
from captive.grants.deadlines import time_left, written_end
from captive.grants.marks import Marks
from captive.grants.policy import Policy, Reason, Refusal, Taken, Usage
from captive.grants.store import GrantRow, KeptGrant
from captive.grants.tally import Tally
from captive.grants.trials import GRANT_SECONDS, Trials
from captive.kernel.ruleset import MAX_DEVICES
from crm.times import is_sound
from crm.web import Clock


def now_on_loop() -> float:
    """Seconds on the monotonic clock, on which deadlines are kept."""
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Held:
    """One grant as the book has it; times on the loop's clock."""

    ends: float
    taken: Taken
    extensions: int = 0
    online: bool = False  # the gateway has confirmed it
    booked: float = 0  # until when its time counts towards the day's allowance
    unsure: bool = False  # read while no clock told how long it has left: the kernel knows better
    due: datetime | None = None  # its end as the store has it, until the clock can be believed


def read_back(row: KeptGrant, policy: Policy, now: datetime, loop_now: float) -> Held:
    """The grant that the store has as *row*, read at *now* by the clock, *loop_now* by the monotonic one."""
    left = time_left(row.expires, now)
    return Held(
        loop_now + (policy.longest if left is None else min(left, policy.longest)),
        Taken(row.up, row.down, row.seen_up, row.seen_down, quiet_since=loop_now),
        row.extensions,
        booked=loop_now,
        unsure=left is None or not is_sound(row.expires),
        due=row.expires if left is None else None,
    )


class Book:
    """What pages ask; `captive.grants.grants.Grants` is what changes it."""

    def __init__(
        self,
        policies: Mapping[str, Policy],
        clock: Clock,
        marks: Marks,
        local: Callable[[], datetime | None],
        silent: Callable[[], Collection[str]],
    ) -> None:
        """*policies* by network; *local* tells the local time, None while the clock is known to be wrong.

        *silent*: see `captive.grants.grants.Grants`.
        """
        self._policies, self._clock, self._marks, self._local = policies, clock, marks, local
        self._silent = silent
        self._held: dict[str, Held] = {}
        self._trials = Trials()
        self.tally = Tally()

    @property
    def is_behind(self) -> bool:
        """Whether the store lacks something of the book."""
        return self._marks.is_behind

    def online(self) -> Counter[str]:
        """How many devices are online by a grant, by place."""
        return Counter(device.partition(" ")[0] for device, held in self._held.items() if held.online)

    @property
    def last_day(self) -> date:
        """The last day that was known, which may be a while ago."""
        return self._marks.day.day

    def is_online(self, device: str) -> bool:
        """Whether the gateway lets *device* through."""
        held = self._held.get(device)
        if held is not None and held.online and held.ends > now_on_loop():
            return True
        network, mac, _ = key_parts(device)
        policy = self._policies.get(network)
        return policy is not None and policy.is_always(mac)

    def seconds_left(self, device: str) -> int:
        """Seconds for which the grant of *device* lasts; 0 when the gateway does not let it through by one."""
        held = self._held.get(device)
        return max(0, math.ceil(held.ends - now_on_loop())) if held and held.online else 0

    def _has_room(self, network: str) -> bool:
        """Whether one more device may be online on *network*, and at all."""
        held, most = len(self._held), self._policies[network].most
        if held >= most and held < MAX_DEVICES:  # as a rule others are among them
            held = sum(device.startswith(f"{network} ") for device in self._held)
        return held < most

    def bytes_left(self, device: str) -> int | None:
        """Bytes that *device* may still take; None: no limit, or no grant."""
        held = self._held.get(device)
        policy = self._policy(device)
        return policy.bytes_left(held.taken, self._usage(device)) if held else None

    def refusal(self, device: str) -> Refusal | None:
        """Why *device* would not be let through now; None: it would."""
        network, mac, _ = key_parts(device)
        policy = self._policies[network]
        if not policy.may_refuse or self.is_trial(device):  # as in most venues: asked for each page shown
            return None
        try:
            policy.seconds(mac, self._local(), self._usage(device))
        except Refusal as refusal:
            return refusal
        return None

    def extended(self, device: str) -> int:
        """Seconds for which the grant of *device* would last after `extend`: no more than now if it may not."""
        held, policy = self._held.get(device), self._policy(device)
        if held is None:
            return 0
        left = max(0, math.ceil(held.ends - now_on_loop()))
        if held.extensions >= policy.grant.extensions:
            return left
        try:
            most = policy.extended(key_parts(device)[1], self._local(), self._usage(device), left)
        except Refusal:
            return left
        return max(left, most)

    def can_extend(self, device: str) -> bool:
        """Whether `extend` would lengthen the grant of *device* by a minute at least."""
        return self.extended(device) >= self.seconds_left(device) + 60

    def is_near_end(self, device: str) -> bool:
        """Whether the grant of *device* is about to end, so that its page offers what there is to do."""
        return self._policy(device).is_near_end(self.seconds_left(device))

    def obstacle(self, device: str) -> Reason | None:
        """What keeps the grant of *device* from being made longer by as much as an extension gives."""
        left = self.seconds_left(device)
        return self._policy(device).obstacle(key_parts(device)[1], self._local(), self._usage(device), left)

    def until(self, device: str) -> datetime:
        """The end of the grant of *device*, in UTC."""
        return self._clock() + timedelta(seconds=self.seconds_left(device))

    def was_asked(self, device: str) -> bool:
        """Whether *device* answered or skipped today."""
        return self._marks.was_asked(device)

    def is_trial(self, device: str) -> bool:
        """Whether *device* is a phone that the doctor plays, which is nobody: nothing of it is counted."""
        return self._trials.has(device, now_on_loop())

    def has_spent(self, device: str) -> bool:
        """Whether the last grant of *device* ended because the amount of it was taken."""
        return self._marks.has_spent(device)

    def _book(self, device: str, held: Held, until: float, more: int) -> Usage:
        today = self._marks.usage(device, make=True)
        today.seconds += max(0.0, until - max(held.booked, today.booked))
        today.bytes += more
        held.booked, today.booked = max(held.booked, until), max(today.booked, until)
        return today

    def _usage(self, device: str) -> Usage:
        """What *device* had today, its running grant included up to this moment."""
        today, held = self._marks.usage(device), self._held.get(device)
        if held is None or not self._is_daily(device):
            return today
        running = min(now_on_loop(), held.ends) - max(held.booked, today.booked)
        return Usage(today.seconds + max(0.0, running), today.bytes)

    def _seconds(self, device: str) -> int:
        """How long a grant of *device* lasts that begins now. Raises `Refusal`."""
        if self.is_trial(device):
            self._trials.begin([device], now_on_loop())  # it is one for longer than its grant lasts
            return GRANT_SECONDS
        return self._policy(device).seconds(key_parts(device)[1], self._local(), self._usage(device))

    def _is_daily(self, device: str) -> bool:
        """Whether it is kept what *device* had today."""
        return self._policy(device).is_daily and not self.is_trial(device)

    def _told_of(self) -> Mapping[str, Held]:
        """The grants on networks of which the gateway told who is let through when it was last asked."""
        silent = self._silent()
        if not silent:
            return self._held
        return {device: held for device, held in self._held.items() if key_parts(device)[0] not in silent}

    def _missing(self, kernel: Mapping[str, Lease], drift: float) -> dict[str, Terms]:
        """Whom the gateway is to be told of again: it lacks them, or is off by more than *drift* seconds."""
        now = now_on_loop()
        return {
            device: Terms(math.ceil(held.ends - now), fresh=device not in kernel)
            for device, held in self._told_of().items()
            if held.ends > now
            and (device not in kernel or abs(kernel[device].seconds - (held.ends - now)) > drift)
        }

    def _row(self, device: str, held: Held, mark: bytes) -> GrantRow:
        expires = held.due or written_end(self._clock(), held.ends - now_on_loop())
        taken = held.taken
        counts = (taken.up, taken.down, taken.seen_up, taken.seen_down)
        return GrantRow(device, expires, mark, held.extensions, *counts)

    def _policy(self, device: str) -> Policy:
        return self._policies[key_parts(device)[0]]
