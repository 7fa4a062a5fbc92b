"""What is a flood and what is a busy morning."""

import itertools
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captive.watch.floods import (
    KNOWN,
    NEW_DEVICES,
    ONE_DEVICE,
    STARVING,
    WINDOW,
    Flood,
    KnownDevices,
    PortTraffic,
)
from captive.watch.frames import Kind
from captive.watch.heavy_hitters import HeavyHitters

BOX = b"\x02BOX\0\1"


def mac(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5)


def port(*, many: bool = False) -> PortTraffic:
    return PortTraffic(KnownDevices(), frozenset([BOX]), many=many, now=0.0)


def windows(
    traffic: PortTraffic, said: dict[float, list[tuple[bytes, Kind]]], end: float
) -> list[list[Flood]]:
    """The judgements, window by window; *said* by the second in which it was heard."""
    found = []
    for second in range(int(end) + 1):
        for who, kind in said.get(float(second), ()):
            traffic.add(who, kind, float(second))
        if traffic.due(float(second)):
            found.append(traffic.judge(float(second)))
    return found


@pytest.mark.parametrize("kind", Kind)
def test_one_device_above_the_rate_floods_and_below_it_does_not(kind: Kind):
    limit = int(ONE_DEVICE[kind] * WINDOW)
    for frames, floods in ((limit, [Flood(kind.value, limit, mac(1))]), (limit - 1, [])):
        traffic = port()
        for _ in range(frames):
            traffic.add(mac(1), kind, 1.0)
        assert traffic.judge(WINDOW) == floods
        assert traffic.judge(2 * WINDOW) == [], "a window forgets the one before"


def test_behind_a_repeater_one_mac_is_many_devices():
    traffic = port(many=True)
    for _ in range(int(9 * ONE_DEVICE[Kind.DNS] * WINDOW)):
        traffic.add(mac(1), Kind.DNS, 1.0)
    assert traffic.judge(WINDOW) == []


def test_what_was_not_read_counts_too():
    traffic = port()
    for _ in range(300):
        traffic.add(mac(1), Kind.BROADCAST, 1.0)
    for number in range(2, 102):
        traffic.add(mac(number), Kind.BROADCAST, 1.0)
    traffic.add_unread(400_000)
    assert traffic.judge(WINDOW) == [Flood("broadcast", 300 * 1001, mac(1))]


def test_a_crowd_beside_a_flood_is_not_said_to_flood():
    """Scaled by a thousand, three frames of a phone would be a flood: too few were read to say so."""
    traffic = port()
    for number in range(10):
        for _ in range(3):
            traffic.add(mac(number), Kind.ARP, 1.0)
    traffic.add_unread(30_000)
    assert [flood.what for flood in traffic.judge(WINDOW)] == ["all_arp"]


def test_a_loop_is_told_as_one():
    traffic = port()
    for round_, number in itertools.product(range(20), range(100)):
        traffic.add(mac(number), Kind.BROADCAST, float(round_ % 10))
    traffic.add_unread(100_000)
    assert [flood.what for flood in traffic.judge(WINDOW)] == ["all_broadcast"]


def test_frames_under_the_boxs_own_mac():
    traffic = port()
    for _ in range(3):
        traffic.add(BOX, Kind.BROADCAST, 1.0)
    assert traffic.judge(WINDOW) == [Flood("own_mac", 3)]


def joining(number: int, at: float) -> dict[float, list[tuple[bytes, Kind]]]:
    """What a phone says that joins: DHCP twice, then it looks around."""
    kinds = [Kind.DHCP, Kind.DHCP, Kind.ARP, Kind.ARP, Kind.BROADCAST, Kind.DNS, Kind.DNS, Kind.FLOW]
    return {
        at: [(mac(number), kind) for kind in kinds[:3]],
        at + 1: [(mac(number), kind) for kind in kinds[3:]],
    }


def merge(parts: list[dict[float, list[tuple[bytes, Kind]]]]) -> dict[float, list[tuple[bytes, Kind]]]:
    said: dict[float, list[tuple[bytes, Kind]]] = {}
    for part in parts:
        for at, what in part.items():
            said.setdefault(at, []).extend(what)
    return said


def test_a_thousand_phones_within_45_seconds_are_welcome():
    said = merge([joining(number, float(number * 45 // 1000)) for number in range(1000)])
    assert windows(port(), said, 120) == [[]] * 12


def test_an_hour_of_a_busy_centre_is_quiet():
    """2,000 visitors, 300 at a time, each with bursts of names, pages and announcements of its services."""
    draw = random.Random(4)
    parts = []
    for number in range(2000):
        at = float(draw.randrange(3500))
        parts.append(joining(number, at))
        for _ in range(8):
            moment = at + draw.randrange(540)
            burst = [(mac(number), Kind.FLOW)] * 60 + [(mac(number), Kind.DNS)] * 40
            burst += [(mac(number), Kind.BROADCAST)] * 12 + [(mac(number), Kind.ARP)] * 4
            parts.append({float(int(moment)): burst})
    assert windows(port(), merge(parts), 3600) == [[]] * 360


def test_ever_new_macs_are_told_in_the_second_window():
    each = int(NEW_DEVICES) + 10
    said = {
        float(second): [(mac(second * each + number), Kind.BROADCAST) for number in range(each)]
        for second in range(25)
    }
    found = windows(port(), said, 30)
    assert [[flood.what for flood in window] for window in found] == [[], ["new_macs"], []]


def test_starvation_is_told_although_it_is_slow():
    """Two new MACs a second that only ask for addresses; beside them phones that join as phones do."""
    starving = [{float(number // 2): [(mac(5000 + number), Kind.DHCP)] * 2} for number in range(160)]
    phones = [joining(number, float(number * 3)) for number in range(20)]
    found = windows(port(), merge([*starving, *phones]), 80)
    told = [flood for window in found for flood in window]
    assert {flood.what for flood in told} == {"starvation"}
    assert told[0].frames >= STARVING
    assert windows(port(), merge(phones), 80) == [[]] * 8


def test_a_full_pool_is_not_starvation():
    """Phones that get no address ask on, and still look around."""
    parts = [joining(number, float(number % 60)) for number in range(200)]
    parts += [
        {float(second): [(mac(number), Kind.DHCP)]} for number in range(200) for second in (10, 30, 50, 70)
    ]
    assert all(window == [] for window in windows(port(), merge(parts), 90))


def test_memory_is_bounded_whoever_comes():
    known = KnownDevices()
    traffic = PortTraffic(known, frozenset(), many=False, now=0.0)
    for number in range(100_000):
        traffic.add(mac(number), Kind.DHCP, 1.0)
    assert len(known._macs) == KNOWN
    assert len(traffic._silent) <= 1_024
    assert sum(sys.getsizeof(each._counts) for each in traffic._kinds.values()) < 100_000
    assert not known.is_new(mac(99_999))
    assert known.is_new(mac(1)), "the oldest are forgotten"


@given(st.lists(st.integers(0, 30), max_size=600), st.integers(1, 8))
def test_heavy_hitters_are_found_and_nobody_is_charged_too_much(sent: list[int], room: int):
    counter = HeavyHitters(room)
    for number in sent:
        counter.add(mac(number))
    truth = {number: sent.count(number) for number in set(sent)}
    who, count = counter.top()
    if who:
        assert truth[int.from_bytes(who[1:])] >= count
    most = max(truth.values(), default=0)
    assert counter.total == len(sent)
    assert count >= most - len(sent) / (room + 1)
