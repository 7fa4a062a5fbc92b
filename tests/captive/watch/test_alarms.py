"""When a technician is told, and in which words."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from captive.alert_kinds import AlertKind
from captive.watch.advice import SHORT, WHAT
from captive.watch.alarms import MAX_ALARMS, Alarms, Cause
from captive.watch.floods import WHOLE_PORT
from captive.watch.frames import Kind
from captive.watch.roaming import Place

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
PLACE = Place("guest", "wlan1")
CAUSE = Cause(AlertKind.ROGUE_DHCP, "dhcp4", PLACE)
ELSEWHERE = Cause(AlertKind.ROGUE_DHCP, "dhcp4", Place("guest", "eth1"))


def test_the_same_is_told_once_then_again_after_a_while_then_that_it_is_over():
    alarms, told = Alarms(600), []
    for second in range(0, 3600, 10):
        now = float(second)
        if second <= 1500:
            message = alarms.see(CAUSE, 2, now, AT)
            told += [(second, message.state, message.times)] if message else []
        told += [(second, message.state, message.times) for message in alarms.due(now)]
    goes_on = [(600, "goes on", 122), (1200, "goes on", 242), (1800, "goes on", 302)]
    assert told == [(0, "new", 2), *goes_on, (2100, "over", 302)]
    again = alarms.see(CAUSE, 1, 4000, AT)
    assert again
    assert again.state == "new"


def test_each_port_is_told_of_by_itself():
    alarms = Alarms(600)
    assert alarms.see(CAUSE, 1, 0, AT)
    assert alarms.see(ELSEWHERE, 1, 1, AT)
    assert not alarms.see(CAUSE, 1, 2, AT)


def test_what_was_seen_once_is_not_told_again():
    alarms = Alarms(600)
    alarms.see(CAUSE, 1, 0, None)
    assert list(alarms.due(599)) == []
    (over,) = alarms.due(600)
    assert (over.state, over.times, over.first, over.last) == ("over", 1, None, None)


def test_alarms_are_bounded():
    alarms = Alarms(600)
    for number in range(MAX_ALARMS + 5):
        alarms.see(Cause(AlertKind.FLOOD, "arp", Place("guest", f"p{number}")), 1, 0, AT)
    assert len(list(alarms.due(600))) == MAX_ALARMS


def whats() -> set[tuple[AlertKind, str]]:
    floods = {kind.value for kind in Kind if kind is not Kind.DHCP} | {
        f"all_{kind.value}" for kind in WHOLE_PORT
    }
    return {
        *((AlertKind.FLOOD, what) for what in (*floods, "dhcp", "new_macs", "starvation")),
        *((AlertKind.SPOOFED_GATEWAY, what) for what in ("arp", "ndp", "own_mac")),
        *((AlertKind.ROGUE_DHCP, what) for what in ("dhcp4", "dhcp6")),
        (AlertKind.ROGUE_RA, "ra"),
        (AlertKind.CLONED_MAC, "ports"),
    }


def test_everything_that_can_be_told_has_words_and_the_guide_has_it():
    assert set(WHAT) == whats()
    assert set(SHORT) == set(AlertKind)
    guide = (Path(__file__).parents[3] / "docs/watch.md").read_text("utf-8")
    for kind, what in whats():
        assert re.search(rf"^\| `{kind.value}` \|.*`{what}`", guide, re.MULTILINE), (kind, what)


@pytest.mark.parametrize(("kind", "what"), sorted(whats()))
def test_words_say_where_and_what_to_do(kind: AlertKind, what: str):
    cause = Cause(kind, what, PLACE, Place("desk", "eth1") if kind is AlertKind.CLONED_MAC else None)
    message = Alarms(600).see(cause, 1, 0, AT)
    assert message
    assert "wlan1" in message.text
    assert "guest" in message.text
    assert "{" not in message.text
    assert message._replace(state="over").text.startswith("Quiet again at port wlan1 (network guest)")
    assert message._replace(state="goes on").text == "It goes on. " + message.text
