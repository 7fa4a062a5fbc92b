"""What portal and routers say to each other, as text."""

import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captive.gateway import Lease, Terms
from captive.routers import wire
from captive.routers.mirror import Mirror
from crm.settings import Grant, Router

KEY = bytes(range(32))
MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def test_signatures_are_those_of_the_contract() -> None:
    """HMAC-SHA-256 as any tool on a router computes it."""
    assert wire.sign(KEY, "1 ping") == hmac.new(KEY, b"1 ping", hashlib.sha256).hexdigest()
    request = wire.StreamRequest("hall1", "c" * 20, "0" * 32, "")
    down = wire.session_key(KEY, "down", request)
    assert down == wire.sign(KEY, f"down {'c' * 20} {'0' * 32}").encode()
    assert wire.signed_line(down, 7, "ping") == f"7 {wire.sign(down, '7 ping')} ping\n".encode()
    head, report = wire.parse_report_head(
        f"{'a' * 32} 3 {wire.sign(down, '3' + chr(10) + 'applied 1')}\napplied 1".encode()
    )
    assert wire.is_report(down, head, report)
    assert not wire.is_report(KEY, head, report)


def test_a_challenge_is_ours_and_young() -> None:
    text = wire.make_challenge(KEY, "0" * 32, 1000.7)
    assert len(text) <= 200
    assert wire.is_challenge(KEY, text, 1001)
    assert wire.is_challenge(KEY, text, 1059)
    for key, told, now in (
        (KEY, text, 1062),
        (KEY, text, 900),
        (bytes(32), text, 1001),
        (KEY, text.replace("-1000-", "-1050-"), 1051),
        (KEY, text + "0", 1001),
        (KEY, "", 1001),
    ):
        assert not wire.is_challenge(key, told, now)


def test_a_stream_is_asked_for_in_one_way_only() -> None:
    good = f"hall1 {'c' * 20} {'0' * 32} {'1' * 64}"
    assert wire.parse_stream(good.encode()).name == "hall1"
    assert wire.parse_stream(good.encode() + b"\n").name == "hall1"
    for bad in (
        good + " x",
        good.replace("hall1", "Hall1"),
        good.replace("hall1", "../x"),
        good + "\n\n",
        "",
        "\xff",
    ):
        with pytest.raises(wire.WireError):
            wire.parse_stream(bad.encode("latin-1"))


def test_the_terms_of_a_place_as_a_router_is_told_them() -> None:
    place = Router(
        name="hall1",
        grant=Grant(up_kbit=512, down_kbit=2048),
        walled_garden=("*.gov.vn", "gov.vn", "a.example"),
    )
    text = wire.config_text(place, "portal.lab", ("ocsp.example",))
    assert text == "config up_kbit=512 down_kbit=2048 portal=portal.lab garden=gov.vn,a.example,ocsp.example"
    assert wire.config_text(Router(name="hall1"), "portal.lab").endswith(" garden=")


def test_orders_are_cut_into_lines_of_two_hundred() -> None:
    macs = [f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(450)]
    lines = list(wire.order_texts({mac: Terms(60, fresh=n % 2 == 0) for n, mac in enumerate(macs)}))
    assert [len(told) for _, told in lines] == [200, 200, 50]
    assert lines[0][0].startswith(f"allow {macs[0]} 60 1 {macs[1]} 60 0 ")
    assert [told for _, part in lines for told in part] == macs
    assert [text for text, _ in wire.order_texts({MAC: None, OTHER: Terms(1)})] == [
        f"deny {MAC}",
        f"allow {OTHER} 1 1",
    ]


def test_the_last_word_on_a_device_counts_and_fresh_counts_stay_fresh() -> None:
    orders: dict[str, Terms | None] = {}
    wire.add_order(orders, MAC, Terms(60))
    wire.add_order(orders, MAC, Terms(90, fresh=False))
    assert orders == {MAC: Terms(90, fresh=True)}
    wire.add_order(orders, MAC, None)
    assert orders == {MAC: None}
    wire.add_order(orders, MAC, Terms(30, fresh=False))
    assert orders == {MAC: Terms(30, fresh=True)}
    wire.add_order(orders, OTHER, Terms(30, fresh=False))
    assert orders[OTHER] == Terms(30, fresh=False)


def test_a_report_is_read() -> None:
    report = wire.parse_report(
        f"applied 12\nversion thin 0.4.0\nuptime 77\nmode thin\naway 30\nnews of later\n"
        f"lease {MAC} 99 5 6\npresent {MAC}\npresent {OTHER}\npresent {OTHER}\n".encode()
    )
    assert report == wire.Report(12, {MAC: Lease(99, 5, 6)}, (MAC, OTHER), "thin 0.4.0", 30)


@pytest.mark.parametrize(
    "line",
    [
        "lease 02:00:00:00:00:01 1 2",
        "lease 02:00:00:00:00:01 -1 2 3",
        "lease 02:00:00:00:00:0G 1 2 3",
        "lease 02:00:00:00:00:01 1 2 99999999999999999999",
        "lease 02-00-00-00-00-01 1 2 3",
        "present hall2 02:00:00:00:00:01",
        "present ",
        "applied x",
        "version \x1b[31m",
        f"version {'x' * 65}",
        "away -1",
    ],
)
def test_what_no_router_says_is_refused_without_naming_a_device(line: str) -> None:
    with pytest.raises(wire.WireError, match="line 2 of the report") as refusal:
        wire.parse_report(f"applied 1\n{line}\n".encode())
    assert "02:" not in str(refusal.value)


def test_numbers_are_bounded() -> None:
    report = wire.parse_report(f"lease {MAC} 9999999999 9999999999999999999 0".encode())
    assert report.leases == {MAC: Lease(wire.MAX_SECONDS, wire.MAX_BYTES, 0)}
    macs = "".join(f"present 02:00:00:00:{n >> 8:02x}:{n & 255:02x}\n" for n in range(wire.MAX_PRESENT + 1))
    with pytest.raises(wire.WireError, match="more than 2000"):
        wire.parse_report(macs.encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (wire.parse_report, wire.parse_report_head, wire.parse_stream):
        with contextlib.suppress(wire.WireError):
            read(data)


def test_the_page_that_was_asked_for() -> None:
    assert wire.unwrap("") == ("", "")
    assert wire.unwrap(b"bao.example/tin?a=/b".hex()) == ("bao.example", "/tin?a=/b")
    for odd in ("0", "zz", "0G", "00" * 1025, "é"):
        assert wire.unwrap(odd) is None


# -- what is known of a router's table ---------------------------------------------------------------


def test_what_was_said_since_the_report_counts_until_it_is_carried_out() -> None:
    mirror = Mirror()
    mirror.take(wire.Report(3, {MAC: Lease(100, 7, 8)}), 0)
    assert mirror.leases(10) == {MAC: Lease(90, 7, 8)}
    assert mirror.leases(100) == {}

    mirror.say(MAC, None, 10)
    mirror.say(OTHER, Terms(50), 10)
    assert mirror.leases(20) == {OTHER: Lease(40)}, "not written yet"
    mirror.written([MAC, OTHER], 4)
    mirror.take(wire.Report(3, {MAC: Lease(80, 9, 9)}), 20)
    assert mirror.leases(20) == {OTHER: Lease(40)}, "written, not carried out"
    mirror.take(wire.Report(4, {OTHER: Lease(39, 1, 1)}), 21)
    assert mirror.leases(21) == {OTHER: Lease(39, 1, 1)}


def test_a_longer_lease_keeps_its_counts_and_a_new_one_begins_anew() -> None:
    mirror = Mirror()
    mirror.take(wire.Report(3, {MAC: Lease(100, 7, 8), OTHER: Lease(100, 7, 8)}), 0)
    mirror.say(MAC, Terms(500, fresh=False), 0)
    mirror.say(OTHER, Terms(500), 0)
    assert mirror.leases(0) == {MAC: Lease(500, 7, 8), OTHER: Lease(500, 0, 0)}
