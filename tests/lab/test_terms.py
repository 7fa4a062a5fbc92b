"""Terms of time: idle, opening hours, the day's minutes, an extension; each on a network of its own, for real.

All are waited for at once: a minute is the least that the settings know.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from captive.gateway import device_key
from tests.lab.client import Flow
from tests.lab.gateway import ZONE, bridge_of
from tests.lab.internet import STRAY4, STRAY6
from tests.lab.journey import is_online, open_portal, skip
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

NETWORKS = {
    "idle": "grant = { idle_minutes = 1 }",
    "daily": "grant = { minutes = 60, daily_minutes = 1 }",
    "short": "grant = { minutes = 1, extend_minutes = 2, extensions = 1 }",
}
NEAR_END = 14
"""Seconds: in the last quarter of a grant its page offers to extend it."""
MAY_DIFFER = 14
"""Seconds by which an end may come late: ten between two counts, two between two looks, and a busy machine."""


OFFICE = "24:00"


def close_soon(venue: Venue) -> datetime:
    """Let the office, which was never to close, close in no less than forty seconds; when."""
    closes = (datetime.now(ZONE) + timedelta(seconds=100)).replace(second=0, microsecond=0)
    settings = venue.gateway.settings
    settings.write_text(settings.read_text().replace(f"-{OFFICE}", f"-{closes:%H:%M}"))
    return closes


@dataclass
class Seen:
    """The venue, its phones, and what was seen of each while the minutes passed."""

    venue: Venue
    closes: datetime
    phones: dict[str, Phone] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)
    granted: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, int] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    def join(self, name: str, network: str) -> Phone:
        """A new phone comes online on *network*."""
        phone = self.phones[name] = self.venue.phone(bridge_of(network))
        phone.join()
        skip(phone)
        self.granted[name] = time.monotonic()
        return phone

    def lease(self, name: str, network: str) -> int:
        """Seconds left as the kernel has it; 0: none."""
        return self.venue.gateway.allowed(network).get(self.phones[name].mac, 0)


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """Everybody came and did as told; two minutes passed."""
    office = f'grant = {{ minutes = 240, opening = ["mon-sun 00:00-{OFFICE}"] }}'
    built = Venue(others={**NETWORKS, "office": office})
    closes = close_soon(built)  # as late as can be: from here on time counts
    with built as venue:
        scene = Seen(venue, closes)
        act(scene)
        homes = {"silent": "idle", "trickle": "idle", "office": "office", "twice": "daily"}
        until = time.monotonic() + 160
        while time.monotonic() < until and len(scene.ended) < len(homes) - 1:
            for name, network in homes.items():
                mac = scene.phones[name].mac
                if name not in scene.ended and mac not in venue.gateway.allowed(network):
                    scene.ended[name] = time.monotonic()
            if "extended" not in scene.seconds and scene.lease("short", "short") < NEAR_END:
                extend(scene)
            time.sleep(0.2)
        yield scene
        for flow in scene.flows.values():
            flow.close()


def act(scene: Seen) -> None:
    """What everybody does in the first half minute."""
    scene.join("twice", "daily")
    scene.seconds["first of the day"] = scene.lease("twice", "daily")
    scene.join("office", "office")
    scene.flows["office"] = scene.phones["office"].flow(STRAY6)
    scene.join("short", "short")
    time.sleep(5)
    # The technician ends a grant; the portal is killed; the day's minutes go on from where they were.
    scene.venue.gateway.wificrm("device", "end", scene.phones["twice"].mac)
    assert eventually(lambda: not scene.lease("twice", "daily"))
    scene.venue.gateway.kill9("portal")
    scene.venue.gateway.start_portal()
    scene.venue.gateway.wait()
    skip(scene.phones["twice"])
    scene.seconds["second of the day"] = scene.lease("twice", "daily")
    scene.join("trickle", "idle")
    scene.join("silent", "idle")
    scene.phones["silent"].namespace.ip("link set wlan0 down")
    scene.flows["trickle"] = scene.phones["trickle"].flow(STRAY4)


def extend(scene: Seen) -> None:
    """Near the end the page offers more time; asked for twice, given once."""
    phone = scene.phones["short"]
    scene.seconds["before"] = scene.lease("short", "short")
    for name in ("extended", "extended again"):
        assert phone.get(f"{portal_of(phone)}/en/online").status == 200
        phone.post(f"{portal_of(phone)}/en/extend", {})
        scene.seconds[name] = scene.lease("short", "short")


def portal_of(phone: Phone) -> str:
    return phone.api.split("/captive-portal")[0] if phone.api else f"http://{phone.router4}"


def test_an_idle_device_is_ended(seen: Seen) -> None:
    assert 55 < seen.ended["silent"] - seen.granted["silent"] < 60 + 2 * MAY_DIFFER


def test_a_device_that_says_little_is_not_idle(seen: Seen) -> None:
    assert "trickle" not in seen.ended
    assert seen.flows["trickle"].alive


def test_who_was_idle_comes_back_unasked(seen: Seen) -> None:
    phone = seen.phones["silent"]
    phone.leave()
    phone.join()
    assert eventually(lambda: is_online(phone))


def test_a_running_grant_ends_at_closing_time(seen: Seen) -> None:
    ended = datetime.now(seen.closes.tzinfo) - timedelta(seconds=time.monotonic() - seen.ended["office"])
    assert -3 < (ended - seen.closes).total_seconds() < 5
    assert seen.flows["office"].wait(30) == "reset"
    assert open_portal(seen.phones["office"]).skip is None
    assert not is_online(seen.phones["office"])


def test_the_days_minutes_count_over_grants_and_a_restart(seen: Seen) -> None:
    assert seen.seconds["first of the day"] > 50
    assert seen.seconds["second of the day"] < seen.seconds["first of the day"] - 3
    assert seen.ended["twice"] - seen.granted["twice"] < 60 + 2 * MAY_DIFFER
    assert open_portal(seen.phones["twice"]).skip is None
    assert not is_online(seen.phones["twice"])


def test_an_extension_lasts_as_long_as_it_says_and_comes_once(seen: Seen) -> None:
    assert 110 < seen.seconds["extended"] - seen.seconds["before"] <= 121
    assert seen.seconds["extended again"] <= seen.seconds["extended"]
    key = device_key("short", seen.phones["short"].mac)
    assert key in seen.venue.gateway.leases()
    assert seen.phones["short"].tcp(STRAY4, 5222) == "open"
