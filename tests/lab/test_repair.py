"""Whatever is lost or changed, book and kernel agree again within five seconds, and no guest did anything for it.

How long each took is printed (``pytest -s``).
"""

import contextlib
import operator
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from captive.box.pool import POOLS
from tests.lab.conftest import NewPhone
from tests.lab.gateway import Gateway
from tests.lab.internet import STRAY4, STRAY6, STRAY_NAME
from tests.lab.journey import is_online, open_portal, send, skip
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

LIMIT = 5.0
"""Seconds, of issue 3."""
OTHER = "02:de:ad:00:00:01"


@pytest.fixture
def gateway(venue: Venue) -> Gateway:
    """The gateway, which the test must leave as it found it."""
    return venue.gateway


def nft(gateway: Gateway, text: str) -> None:
    gateway.namespace.run("nft", "-f", "-", text=text)


def told(sentence: str) -> None:
    """Say it to whoever wants the figures."""
    sys.stdout.write(f"{sentence}\n")


def repaired(what: str, harm: Callable[[], object], holds: Callable[[], bool]) -> None:
    """After *harm*, *holds* comes true again within the limit."""
    harm()
    began = time.monotonic()
    assert eventually(holds, within=LIMIT, every=0.02), what
    told(f"{what}: repaired in {time.monotonic() - began:.1f} s")


def chains(gateway: Gateway) -> str:
    """Our tables without what is in their sets."""
    families = ("inet", "netdev")
    return "".join(gateway.namespace.run("nft", "-t", "list", "table", each, "wificrm") for each in families)


LOSSES = {
    "flushed ruleset": "flush ruleset",
    "flushed tables": "flush table inet wificrm\nflush table netdev wificrm",
    "deleted table inet": "delete table inet wificrm",
    "deleted table netdev": "delete table netdev wificrm",
    "flushed chain": "flush chain inet wificrm upstream_guest",
    "flushed egress chain": "flush chain netdev wificrm egress_guest",
    "an added rule": "insert rule inet wificrm forward accept",
    "an added rule in netdev": "insert rule netdev wificrm egress_guest drop",
    "a changed policy": "chain inet wificrm forward { type filter hook forward priority filter; policy drop; }",
    "an added chain": "add chain inet wificrm more { type filter hook forward priority 5; policy drop; }",
    "a firewall reload": "flush ruleset\ntable inet own {\nchain input { type filter hook input priority filter; }\n}",
}


@pytest.mark.parametrize("what", LOSSES)
def test_tables_are_as_they_were(new_phone: NewPhone, gateway: Gateway, what: str) -> None:
    online, waiting = new_phone(), new_phone()
    skip(online)
    before = chains(gateway)

    def holds() -> bool:
        with contextlib.suppress(RuntimeError):
            return chains(gateway) == before and online.mac in gateway.allowed()
        return False

    repaired(what, lambda: nft(gateway, LOSSES[what]), holds)
    assert online.tcp(STRAY4, 443) == online.tcp(STRAY6, 443) == "open"
    assert waiting.tcp(STRAY4, 443) == waiting.tcp(STRAY6, 443) == "reset"
    if what == "a firewall reload":
        nft(gateway, "delete table inet own")


SET = "inet wificrm allowed_guest"
CHANGES = {
    "an element taken out": f"delete element {SET} {{ MAC }}",
    "all elements taken out": f"flush set {SET}",
    "an element put in": f"add element {SET} {{ {OTHER} timeout 1h }}",
    "a timeout made shorter": f"delete element {SET} {{ MAC }}\nadd element {SET} {{ MAC timeout 60s }}",
    "a timeout made longer": f"delete element {SET} {{ MAC }}\nadd element {SET} {{ MAC timeout 6d }}",
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_set_of_who_is_online_is_as_it_was(phone: Phone, gateway: Gateway, what: str) -> None:
    skip(phone)
    before, began = gateway.allowed(), time.monotonic()

    def holds() -> bool:
        now, gone = gateway.allowed(), time.monotonic() - began
        return now.keys() == before.keys() and abs(now[phone.mac] + gone - before[phone.mac]) < 20

    repaired(what, lambda: nft(gateway, CHANGES[what].replace("MAC", phone.mac)), holds)
    assert is_online(phone)


def test_counts_go_on_when_the_sets_of_counts_are_emptied(phone: Phone, gateway: Gateway) -> None:
    skip(phone)

    def counted() -> tuple[int, int]:
        assert phone.tcp(STRAY4, 443) == "open"  # something to count
        return gateway.taken()[f"guest {phone.mac}"]

    assert eventually(lambda: min(counted()) > 0, every=0.5)
    up, down = counted()
    nft(gateway, "flush set netdev wificrm down_guest\nflush set inet wificrm up_guest")
    assert eventually(lambda: all(map(operator.gt, counted(), (up, down))), every=0.5)


@pytest.fixture
def watched(gateway: Gateway) -> Iterator[Gateway]:
    """The gateway with ``wificrm gateway watch`` running."""
    counted = gateway.home / "state" / POOLS
    counted.unlink(missing_ok=True)
    gateway.start_watch()
    assert eventually(counted.exists), gateway.log("watch")  # it has looked once
    yield gateway
    gateway.stop("watch")


def test_a_killed_dnsmasq_is_back_with_its_leases(watched: Gateway, phone: Phone) -> None:
    assert phone.resolve(STRAY_NAME)
    address = phone.address4

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return bool(phone.resolve(STRAY_NAME, timeout=0.3))
        return False

    for _ in range(3):
        repaired("dnsmasq killed", lambda: watched.kill9("dnsmasq"), answers)
    phone.leave()
    phone.join()
    assert phone.address4 == address
    assert "dnsmasq or forwarding was off" in watched.log("watch")


def test_forwarding_turned_off_is_on_again(watched: Gateway, phone: Phone) -> None:
    skip(phone)
    assert is_online(phone)

    def passes() -> bool:
        return all(phone.tcp(stray, 443, timeout=1) == "open" for stray in (STRAY4, STRAY6))

    off: dict[str, int | str] = {"net.ipv4.ip_forward": 0, "net.ipv6.conf.all.forwarding": 0}
    repaired("forwarding turned off", lambda: watched.namespace.sysctl(off), passes)


def test_a_gateway_that_is_taken_down_stays_down(watched: Gateway) -> None:
    watched.kill9("portal", "gate", "advertiser")
    try:
        watched.wificrm("gateway", "remove")
        time.sleep(3)
        assert "wificrm" not in watched.namespace.run("nft", "list", "ruleset")
        assert "dnsmasq" not in watched.namespace.run("ss", "-Hlunp")
        assert watched.running("watch")
    finally:
        watched.wificrm("gateway", "apply")
        watched.start_gate()
        watched.start_advertiser()
        watched.start_portal()
        watched.wait()


@pytest.mark.parametrize("name", ["gate", "portal"])
def test_killed_while_the_table_is_lost(phone: Phone, gateway: Gateway, name: str) -> None:
    """From when the service manager starts it again, which takes it a second."""
    skip(phone)
    gateway.kill9(name)
    nft(gateway, "flush ruleset")
    began = time.monotonic()
    (gateway.start_gate if name == "gate" else gateway.start_portal)()
    assert eventually(lambda: _allowed(gateway, phone), every=0.02)
    told(f"{name} killed and the table lost: repaired {time.monotonic() - began:.1f} s after the start")
    gateway.wait()
    assert eventually(lambda: is_online(phone))


def knows_it_is_open(phone: Phone) -> bool:
    return b'"captive":false' in phone.get(phone.api).body


def _allowed(gateway: Gateway, phone: Phone) -> bool:
    with contextlib.suppress(RuntimeError):
        return phone.mac in gateway.allowed()
    return False


@pytest.mark.parametrize("harm", ["half", "random", "gone"])
def test_a_broken_access_store_ends_nobodys_lease(new_phone: NewPhone, gateway: Gateway, harm: str) -> None:
    phones = [new_phone() for _ in range(3)]
    for phone in phones:
        skip(phone)
    flow = phones[0].flow(STRAY4)
    before = gateway.allowed()
    gateway.kill9("portal")
    store = gateway.home / "data/access.db"
    data = store.read_bytes()
    for rest in gateway.home.glob("data/access.db-*"):
        rest.unlink()
    if harm == "gone":
        store.unlink()
    else:
        store.write_bytes(data[: len(data) // 2] if harm == "half" else os.urandom(len(data)))
    gateway.start_portal()
    gateway.wait()
    after = gateway.allowed()
    assert after.keys() == before.keys()
    assert all(after[mac] <= before[mac] for mac in before), "nobody gets more time"
    assert flow.grows()
    assert all(eventually(partial(knows_it_is_open, each)) for each in phones)
    asides = sorted(gateway.home.glob("data/access.db.broken-*Z"))
    assert len(asides) == (harm != "gone")
    with contextlib.suppress(RuntimeError):  # what else it finds is not the point here
        assert all(str(each) in gateway.wificrm("doctor", "--quick") for each in asides)
    for each in gateway.home.glob("data/access.db.broken-*"):
        each.unlink()
    flow.close()


def test_a_clock_of_1970_that_is_set_hurts_no_lease_and_no_date(
    new_phone: NewPhone, gateway: Gateway, tmp_path: Path
) -> None:
    """The portal's clock alone is turned: a power cut without a battery, then the time server is reached."""
    online, early = new_phone(), new_phone()
    skip(online)
    left = gateway.allowed()[online.mac]
    flow = online.flow(STRAY4)
    gateway.kill9("portal")
    offset = gateway.home / "offset"
    offset.write_text(f"-{int(datetime.now(UTC).timestamp()) - 40}\n")
    before = gateway.funnel()
    gateway.start_portal(clock=offset)
    try:
        gateway.wait()
        assert is_online(online)
        page = open_portal(early)
        assert page.survey
        assert send(early, page, page.survey, page.survey.values[0]).status == 303
        assert _days(gateway) >= {"1970-01-01"}
        offset.write_text("+0\n")
        assert eventually(lambda: "1970-01-01" not in _days(gateway))
        assert eventually(lambda: b'"captive":false' in online.get(online.api).body)
        assert page.skip
        assert send(early, page, page.skip).status == 303
        assert is_online(early)
        assert flow.grows()
        assert left - 60 <= gateway.allowed()[online.mac] <= left
        assert gateway.funnel()["started"] == before.get("started", 0) + 1
        assert eventually(lambda: min(_ends(gateway)) > "2026"), _ends(gateway)
    finally:
        flow.close()
        gateway.kill9("portal")
        gateway.start_portal()
        gateway.wait()


def _ends(gateway: Gateway) -> list[str]:
    with contextlib.closing(sqlite3.connect(gateway.home / "data/access.db")) as store:
        return [end for (end,) in store.execute('SELECT expires FROM "grant"')]


def _days(gateway: Gateway) -> set[str]:
    with contextlib.closing(sqlite3.connect(gateway.home / "data/crm.db")) as store:
        tables = ("response", "daily_count", "daily_funnel")
        return {day for name in tables for (day,) in store.execute(f"SELECT DISTINCT day FROM {name}")}
