"""The octets of router advertisements beside scapy's reading of them, and when they go out."""

import ipaddress
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
)

from captive.advertise.advertisement import (
    ALL_NODES,
    INITIAL,
    MAX_ASKERS,
    MAX_DELAY,
    MAX_INTERVAL,
    MIN_APART,
    MIN_INTERVAL,
    UNSPECIFIED,
    Timetable,
    captive_portal_option,
    render_advertisement,
    solicitor,
)

NETWORK = ipaddress.IPv6Interface("fd50:7c3a:1::1/64")
MAC = bytes.fromhex("021ab1000001")
API = "https://portal.example.vn/captive-portal/api"
PHONE = "fe80::1"


def rendered(*, api: str = API, last: bool = False, lease: int = 7200) -> ICMPv6ND_RA:
    octets = render_advertisement(NETWORK, lease=lease, mac=MAC, mtu=1492, api=api, last=last)
    assert len(octets) % 8 == 0
    return ICMPv6ND_RA(octets)


def test_the_option_is_that_of_the_test_vector():
    """From a client's own tests: shill's net-base/rtnl_message_test.cc."""
    assert (
        captive_portal_option("https://example.org/api/asdfgh") == b"\x25\x04https://example.org/api/asdfgh"
    )


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=290))
def test_the_option_is_filled_up_with_nul_to_eights(uri: str):
    option = captive_portal_option(uri)
    assert (option[0], option[1] * 8) == (37, len(option))
    assert option[2:].rstrip(b"\0").decode() == uri
    assert len(option) - 2 - len(uri) < 8


def test_guests_learn_router_prefix_resolver_and_mtu():
    message = rendered()
    assert (message.type, message.code, message.cksum) == (134, 0, 0)
    assert (message.M, message.O, message.routerlifetime) == (0, 1, 1800)
    prefix = message[ICMPv6NDOptPrefixInfo]
    assert (prefix.prefix, prefix.prefixlen, prefix.L, prefix.A) == ("fd50:7c3a:1::", 64, 1, 1)
    assert (prefix.validlifetime, prefix.preferredlifetime) == (7200, 7200)
    assert message[ICMPv6NDOptRDNSS].dns == ["fd50:7c3a:1::1"]
    assert message[ICMPv6NDOptRDNSS].lifetime == 1800
    assert message[ICMPv6NDOptMTU].mtu == 1492
    assert message[ICMPv6NDOptSrcLLAddr].lladdr == "02:1a:b1:00:00:01"


def test_the_portal_is_named_when_there_is_an_api_and_only_then():
    assert captive_portal_option(API) in bytes(rendered())
    for message in (rendered(api=""), rendered(last=True)):
        assert b"https" not in bytes(message)


def test_a_short_lease_does_not_run_out_between_two_advertisements():
    assert rendered(lease=60)[ICMPv6NDOptPrefixInfo].preferredlifetime > MAX_INTERVAL


def test_goodbye_ends_router_and_resolver_and_keeps_the_addresses():
    message = rendered(last=True)
    assert message.routerlifetime == message[ICMPv6NDOptRDNSS].lifetime == 0
    assert message[ICMPv6NDOptPrefixInfo].validlifetime == 7200


# -- what strangers send ------------------------------------------------------------------------------


def solicitation(*, lladdr: str | None = "02:00:00:00:00:01") -> bytes:
    return bytes(ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=lladdr) if lladdr else ICMPv6ND_RS())


def test_a_solicitation_is_answered_where_it_came_from():
    assert solicitor(solicitation(), 255, PHONE) == PHONE
    assert solicitor(solicitation(lladdr=None), 255, PHONE) == PHONE


def test_who_has_no_address_yet_or_one_from_elsewhere_is_answered_with_all():
    assert solicitor(solicitation(lladdr=None), 255, UNSPECIFIED) == UNSPECIFIED
    assert solicitor(solicitation(), 255, "2001:db8::7") == UNSPECIFIED


@pytest.mark.parametrize(
    ("message", "hop_limit", "source"),
    [
        (solicitation(), 254, PHONE),
        (solicitation()[:7], 255, PHONE),
        (b"", 255, PHONE),
        (b"\x86" + solicitation()[1:], 255, PHONE),
        (b"\x85\x01" + solicitation()[2:], 255, PHONE),
        (solicitation(), 255, UNSPECIFIED),
        (solicitation(lladdr=None) + b"\x01\x00" + bytes(6), 255, PHONE),
        (solicitation(lladdr=None) + b"\x01\x02" + bytes(6), 255, PHONE),
        (solicitation(lladdr=None) + b"\x01", 255, PHONE),
    ],
    ids=["far", "short", "empty", "type", "code", "from-nobody", "empty-option", "long-option", "cut-option"],
)
def test_what_is_not_a_solicitation_is_not_answered(message: bytes, hop_limit: int, source: str):
    assert solicitor(message, hop_limit, source) is None


@given(st.binary(max_size=1500), st.sampled_from([PHONE, UNSPECIFIED, "2001:db8::7"]))
def test_no_octets_do_harm(body: bytes, source: str):
    found = solicitor(b"\x85\x00" + body, 255, source)
    assert found in (None, UNSPECIFIED, PHONE)
    assert solicitor(b"\x85\x00" + body, 64, source) is None


# -- when ---------------------------------------------------------------------------------------------

Sent = list[tuple[float, str]]


def play(timetable: Timetable, until: float, asks: list[tuple[float, str]] | None = None) -> Sent:
    """All that goes out *until* then, when it is sent in the moment it is due."""
    sent: Sent = []
    waiting = sorted(asks or [])
    now = 0.0
    while now <= until:
        while waiting and waiting[0][0] <= now:
            timetable.solicit(waiting.pop(0)[1], now)
        sent += [(now, address) for address in timetable.take(now)]
        now = min(timetable.wake, waiting[0][0] if waiting else float("inf"))
    return sent


def new_timetable(seed: int = 7) -> Timetable:
    return Timetable(0.0, random.Random(seed).uniform)


def gaps(sent: Sent) -> list[float]:
    times = [at for at, address in sent if address == ALL_NODES]
    return [later - before for before, later in itertools.pairwise(times)]


def test_unasked_it_speaks_at_once_then_a_little_later_then_now_and_then():
    sent = play(new_timetable(), 20_000)
    assert sent[0] == (0.0, ALL_NODES)
    assert gaps(sent)[: INITIAL - 1] == [16.0, 16.0]
    later = gaps(sent)[INITIAL:]
    assert len(set(later)) == len(later) > 30
    assert all(MIN_INTERVAL <= gap <= MAX_INTERVAL for gap in later)


def test_a_change_is_told_at_once_but_never_sooner_than_three_seconds_after_the_last():
    timetable = new_timetable()
    play(timetable, 100)
    timetable.change(100.0)
    assert timetable.wake == 100.0
    assert timetable.take(100.0) == [ALL_NODES]
    timetable.change(100.5)
    assert timetable.take(102.9) == []
    assert timetable.take(103.0) == [ALL_NODES]


def test_a_phone_is_answered_alone_within_half_a_second():
    timetable = new_timetable()
    play(timetable, 100)
    for number in range(20):
        now = 101.0 + number
        timetable.solicit(PHONE, now)
        assert now <= timetable.wake <= now + MAX_DELAY
        assert timetable.take(timetable.wake) == [PHONE]


def test_a_phone_without_an_address_is_answered_with_all():
    timetable = new_timetable()
    play(timetable, 100)
    timetable.solicit(UNSPECIFIED, 110.0)
    assert timetable.take(110.0 + MAX_DELAY) == [ALL_NODES]


def test_when_many_ask_one_advertisement_answers_all():
    timetable = new_timetable()
    play(timetable, 100)
    for number in range(1000):
        timetable.solicit(f"fe80::{number:x}", 110.0)
    assert timetable.take(110.0 + MAX_DELAY) == [ALL_NODES]
    assert timetable.take(111.0) == []


ASKERS = st.sampled_from([UNSPECIFIED, *(f"fe80::{n:x}" for n in range(3 * MAX_ASKERS))])


@given(st.lists(st.tuples(st.floats(0, 30), ASKERS), max_size=300), st.integers())
def test_whatever_is_asked_the_answers_are_bounded(asks: list[tuple[float, str]], seed: int):
    sent = play(new_timetable(seed), 30, asks)
    assert all(gap >= MIN_APART - 1e-6 for gap in gaps(sent))
    alone = [at for at, address in sent if address != ALL_NODES]
    assert len(alone) <= len(asks)
    for start in alone:
        assert sum(start <= at < start + MAX_DELAY - 1e-6 for at in alone) <= MAX_ASKERS


@given(st.lists(st.tuples(st.floats(0, 30), ASKERS), min_size=1, max_size=100), st.integers())
def test_who_asks_is_answered_soon_whoever_else_does(asks: list[tuple[float, str]], seed: int):
    sent = play(new_timetable(seed), 40, asks)
    for at, source in asks:
        assert any(
            at <= then <= at + 2 * MAX_DELAY + MIN_APART for then, to in sent if to in (source, ALL_NODES)
        )
