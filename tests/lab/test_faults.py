"""What goes wrong: processes killed, tables flushed, power cut. Whoever is online stays online."""

import contextlib
import time

import pytest

from tests.lab.conftest import NewPhone
from tests.lab.gateway import Gateway
from tests.lab.internet import STRAY4, STRAY6, STRAY_NAME
from tests.lab.journey import answer_all, is_online, open_portal, skip
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab


@pytest.fixture
def gateway(venue: Venue) -> Gateway:
    """The gateway, which the test must leave as it found it."""
    return venue.gateway


def test_killed_with_9_and_restarted_while_phones_stay_online(new_phone: NewPhone, gateway: Gateway) -> None:
    online, waiting = new_phone(), new_phone()
    skip(online)
    flows = [online.flow(STRAY4), online.flow(STRAY6)]
    for names in (("portal",), ("gate",), ("portal", "gate")):
        gateway.kill9(*names)
        assert all(flow.grows() for flow in flows), names
        assert online.tcp(STRAY4, 443) == online.tcp(STRAY6, 443) == "open"
        assert waiting.tcp(STRAY4, 443) == waiting.tcp(STRAY6, 443) == "reset"
        for name in names:
            (gateway.start_gate if name == "gate" else gateway.start_portal)()
        gateway.wait()
        assert all(flow.grows() for flow in flows), names
        assert eventually(lambda: b'"captive":false' in online.get(online.api).body)
    skip(waiting)
    assert is_online(waiting)
    for flow in flows:
        flow.close()


def test_a_survey_goes_on_after_the_portal_was_killed(phone: Phone, gateway: Gateway) -> None:
    page = open_portal(phone)
    assert page.survey
    before = gateway.funnel()
    gateway.kill9("portal")
    gateway.start_portal()
    gateway.wait()
    assert answer_all(phone, page, {"A0": "waiting", "A3": "3", "A4": ""}).given
    assert is_online(phone)
    after = gateway.funnel()
    assert after["completed"] == before.get("completed", 0) + 1
    assert after["started"] == before.get("started", 0) + 1


def test_a_guest_may_try_again_while_the_gate_is_away(phone: Phone, gateway: Gateway) -> None:
    gateway.kill9("gate")
    try:
        page = open_portal(phone)
        assert page.skip
        reply = phone.post(page.address(page.skip.action), page.skip.fields, timeout=15)
        assert reply.status == 503
        assert "try again" in reply.text
    finally:
        gateway.start_gate()
        gateway.wait()
    assert eventually(lambda: is_online(phone))


def test_the_resolver_killed_is_brought_back_by_up(phone: Phone, gateway: Gateway) -> None:
    gateway.kill9("dnsmasq")
    with contextlib.suppress(ConnectionRefusedError, TimeoutError):
        assert phone.resolve(STRAY_NAME, timeout=0.5) == []
    gateway.wificrm("gateway", "apply")
    assert phone.resolve(STRAY_NAME)
    phone.leave()
    phone.join()


def test_a_range_that_was_made_narrower_while_its_leases_last(phone: Phone, gateway: Gateway) -> None:
    gateway.kill9("dnsmasq")
    ends = int(time.time()) + 60
    with (gateway.home / "state/dnsmasq.leases").open("a") as kept:
        kept.writelines(
            f"{ends} 02:ee:00:00:{n >> 8:02x}:{n & 255:02x} 10.9.{n >> 8}.{n & 255} * *\n"
            for n in range(1, 1025)
        )
    gateway.wificrm("gateway", "apply")
    phone.leave()
    phone.join()
    assert phone.resolve(STRAY_NAME)


@pytest.mark.parametrize("what", ["flush ruleset", "delete table inet wificrm", "flush table inet wificrm"])
def test_a_table_taken_away_comes_back_with_its_leases(
    new_phone: NewPhone, gateway: Gateway, what: str
) -> None:
    online, waiting = new_phone(), new_phone()
    skip(online)
    gateway.namespace.run("nft", *what.split())
    assert eventually(lambda: online.mac in gateway.allowed() if has_table(gateway) else False)
    assert eventually(lambda: is_online(online))
    assert waiting.get("http://odd.example/").status == 302
    assert waiting.tcp(STRAY4, 443) == waiting.tcp(STRAY6, 443) == "reset"


def has_table(gateway: Gateway) -> bool:
    """Whether our table is there with its set."""
    return "set allowed_guest" in gateway.namespace.run("nft", "list", "ruleset")


def test_a_lease_taken_out_of_the_set_comes_back(phone: Phone, gateway: Gateway) -> None:
    skip(phone)
    gateway.namespace.run("nft", "flush", "set", "inet", "wificrm", "allowed_guest")
    assert eventually(lambda: is_online(phone))


def test_a_device_that_somebody_put_into_the_set_goes(phone: Phone, gateway: Gateway) -> None:
    gateway.namespace.run(
        "nft", "add", "element", "inet", "wificrm", "allowed_guest", "{", phone.mac, "timeout", "1h", "}"
    )
    assert phone.tcp(STRAY4, 443) == "open"
    assert eventually(lambda: phone.tcp(STRAY4, 443) == "reset")
    assert phone.get("http://odd.example/").status == 302


def test_a_reboot_restores_live_leases(new_phone: NewPhone, gateway: Gateway) -> None:
    online, waiting = new_phone(), new_phone()
    skip(online)
    left = gateway.allowed()[online.mac]
    gateway.reboot()
    assert eventually(lambda: online.mac in gateway.allowed())
    assert left - 60 < gateway.allowed()[online.mac] <= left
    for phone in (online, waiting):
        phone.leave()
        phone.join()
    assert is_online(online)
    assert is_online(online, family=6)
    assert waiting.get("http://odd.example/").status == 302
    skip(waiting)
    assert is_online(waiting)


def test_the_processes_hold_no_more_privileges_than_they_need(gateway: Gateway) -> None:
    net_admin = f"{1 << 12:016x}"
    portal, gate = gateway.privileges("portal"), gateway.privileges("gate")
    assert {gate[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {net_admin}
    assert {portal[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert "0" not in portal["Uid"].split()
    assert "0" not in gate["Uid"].split()


def test_down_leaves_no_trace_and_other_tables_alone(venue: Venue) -> None:
    gateway = venue.gateway
    gateway.namespace.run("nft", "add", "table", "inet", "neighbours_own")
    before = gateway.namespace.run("nft", "list", "ruleset")
    for _ in range(2):
        gateway.wificrm("gateway", "apply")
    assert gateway.namespace.run("nft", "list", "ruleset").count("table inet") == before.count("table inet")
    gateway.kill9("portal", "gate")
    try:
        for _ in range(2):
            gateway.wificrm("gateway", "remove")
        assert gateway.namespace.run("nft", "list", "ruleset").split() == [
            "table",
            "inet",
            "neighbours_own",
            "{",
            "}",
        ]
        assert gateway.namespace.run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "0"
        assert gateway.namespace.run("sysctl", "-n", "net.ipv6.conf.all.forwarding").strip() == "0"
        assert "dnsmasq" not in gateway.namespace.run("ss", "-Hlunp")
        assert not (gateway.home / "state").exists()
    finally:
        gateway.wificrm("gateway", "apply")
        gateway.start_gate()
        gateway.start_portal()
        gateway.wait()
        gateway.namespace.run("nft", "delete", "table", "inet", "neighbours_own")
