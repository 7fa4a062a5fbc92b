"""Three thin routers, a portal without guests of its own, phones behind each: on real parts, under busybox ash."""

import concurrent.futures
import contextlib
import subprocess
import time
from collections.abc import Iterator
from typing import cast

import pytest

from tests.lab import thin
from tests.lab.internet import STRAY4, STRAY6, STRAY_NAME
from tests.lab.journey import BROWSER, WANTED, is_online, open_portal, skip
from tests.lab.thin import PORTAL, PORTAL4, PORTAL6, ThinPhone, ThinRouter, ThinVenue
from tests.lab.traffic import Traffic
from tests.lab.venue import Venue, eventually
from tests.router_scripts.test_openwrt_firewall import FIREWALL

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(thin.missing()), reason=thin.missing() or "-")]

RATE = 40_000
PROBE = "http://connectivitycheck.gstatic.com/generate_204"


@pytest.fixture(scope="module")
def halls() -> Iterator[ThinVenue]:
    """Three routers, one portal."""
    garden = 'walled_garden = ["garden.example", "*.www.garden.example"]'
    grant = f"down_kbit = {RATE}\nup_kbit = {RATE}"
    with ThinVenue("hall1", "hall2", "hall3", garden=garden, grant=grant) as built:
        yield built


@pytest.fixture
def phone(halls: ThinVenue) -> Iterator[ThinPhone]:
    """A phone on the first router's Wi-Fi, not online."""
    with halls.phone(halls.routers[0]) as made:
        yield made


def check_outside(phone: ThinPhone) -> None:
    """Nothing but the portal, the garden and names can be reached."""
    for target in (STRAY4, STRAY6):
        assert phone.tcp(target, 443) == phone.tcp(target, 22) == "reset"
        assert phone.udp(target, 443).startswith("icmp")
    for own in ("192.168.60.1", "203.0.113.1", "203.0.113.12"):
        assert phone.tcp(own, 22) == "reset"
    assert phone.tcp(PORTAL4, 443) == phone.tcp(PORTAL6, 443) == "open"
    assert phone.tcp(PORTAL4, 8445) == phone.tcp(PORTAL6, 8081) == "reset"
    assert phone.resolve(STRAY_NAME, server=STRAY4) == phone.resolve(
        STRAY_NAME
    )  # the router's resolver answers


@pytest.mark.parametrize("family", [4, 6])
def test_from_a_probe_to_the_internet(halls: ThinVenue, family: int) -> None:
    for number, router in enumerate(halls.routers):
        with halls.phone(router) as phone:
            check_outside(phone)
            probe = phone.get(PROBE, family=family)
            assert probe.status == 302
            assert probe.location.startswith(f"https://{PORTAL}/enter?r={router.name}&d={phone.mac}&u=&s=")
            assert probe.headers["Cache-Control"] == "no-store"
            assert probe.headers["Connection"] == "close"
            visit = skip(phone, family=family)
            assert "You are online" in visit.page.text
            assert WANTED in visit.page.links
            assert eventually(lambda: is_online(phone) and is_online(phone, family=6))
            assert phone.tcp("10.1.2.3", 80) == "reset"  # behind the uplink, still off limits
            assert [phone.mac in each.allowed() for each in halls.routers] == [
                at == number for at in range(3)
            ]
            assert router.allowed()[phone.mac] > 230 * 60


def test_the_garden_is_open_before_the_grant(halls: ThinVenue, phone: ThinPhone) -> None:
    assert eventually(lambda: phone.tcp(phone.resolve("garden.example")[0], 443) == "open")
    for family in (4, 6):
        assert "You reached" in phone.get("https://garden.example/", family=family).text
    assert phone.get("http://garden.example/").status == 200
    assert phone.tcp(phone.resolve("other-garden.example")[0], 443) == "reset"


def test_a_grant_holds_on_its_own_router_only(halls: ThinVenue, phone: ThinPhone) -> None:
    skip(phone)
    elsewhere = halls.routers[1].namespace
    port = f"port{phone.mac[-1]}x"
    phone.namespace.ip(
        f"link add wlan1 address {phone.mac} type veth peer name {port} netns {elsewhere.name}"
    )
    elsewhere.ip(f"link set {port} master br-guest", f"link set {port} up")
    phone.leave()
    phone.namespace.ip(
        "link set wlan1 up", "address add 192.168.60.200/24 dev wlan1", "route add default via 192.168.60.1"
    )
    assert phone.tcp(STRAY4, 443) == "reset"
    answer = phone.get(PROBE)
    assert "r=hall2&" in answer.location


def test_a_link_is_worth_something_for_its_router_and_device_only(halls: ThinVenue, phone: ThinPhone) -> None:
    link = phone.get(WANTED, headers=BROWSER).location
    good = phone.get(link)
    assert (good.status, good.location) == (303, "/")
    with halls.phone(halls.routers[1]) as other:
        for strange in (
            link.replace("r=hall1", "r=hall2"),
            link.replace(phone.mac, other.mac),
            link.replace("&u=", "&u=61"),
            link[:-1] + ("0" if link[-1] != "0" else "1"),
            link.replace("r=hall1", "r=hall9"),
        ):
            answer = other.get(strange)
            assert (answer.status, answer.headers.get("Set-Cookie")) == (403, None), strange


def test_a_link_is_worth_nothing_once_its_secret_is_forgotten(halls: ThinVenue) -> None:
    router = halls.routers[2]
    with halls.phone(router) as phone:
        link = phone.get(PROBE).location
        for status in (303, 303, 403):  # the portal takes the last two; a new session brings a new one
            assert phone.get(link).status == status
            before = router.log("agent").count("connected")
            router.stop("agent")
            router.start_agent()
            assert eventually(lambda: router.log("agent").count("connected") > before)  # noqa: B023
        assert phone.get(phone.get(PROBE).location).status == 303
    halls.wait()


def test_packets_flow_at_once_after_the_grant(halls: ThinVenue, phone: ThinPhone) -> None:
    """From the tap on *Skip*, which the portal pushes at once, until the first packet is let through."""
    page = open_portal(phone)
    assert page.skip
    fields, action = dict(page.skip.fields), page.address(page.skip.action)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        begun = time.monotonic()
        reply = pool.submit(phone.post, action, fields)
        while phone.mac not in halls.routers[0].allowed() and time.monotonic() < begun + 60:
            pass
        flowing = time.monotonic() - begun
        assert reply.result().status == 303
    assert eventually(lambda: phone.tcp(STRAY4, 443) == "open")
    assert flowing < 30


def test_what_was_taken_arrives_at_the_portal(halls: ThinVenue, phone: ThinPhone) -> None:
    skip(phone)
    traffic = Traffic(cast("Venue", halls))
    runs = [
        [traffic.run(phone.namespace, *way, family=family) for family in (4, 6)]
        for way in (("-n", "2M"), ("-n", "4M", "-R"))
    ]

    def arrived() -> bool:
        counted = halls.portal.taken().get(f"hall1 {phone.mac}", (0, 0))
        # Payload, headers (up to 5 %), acknowledgements of what went the other way. Not all that is sent arrives:
        # whoever has enough hangs up.
        return all(
            sum(run.bytes for run in way) < amount < sum(run.sent for run in way) * 1.2
            for way, amount in zip(runs, counted, strict=True)
        )

    assert eventually(arrived, every=0.5), (runs, halls.portal.taken()[f"hall1 {phone.mac}"])


@pytest.mark.parametrize(
    "way", [(), ("-R",), ("-R", "-u", "-b", "200M")], ids=["up", "down", "datagrams down"]
)
def test_nobody_gets_more_than_the_rate(halls: ThinVenue, phone: ThinPhone, way: tuple[str, ...]) -> None:
    skip(phone)
    carried = Traffic(cast("Venue", halls)).run(phone.namespace, "-t", "2", *way)
    # The bucket holds one second of it; without a limit the lab carries twenty times as much.
    assert RATE / 2 < carried.kbit < RATE * 1.8


def test_who_is_sent_back_is_out_at_once(halls: ThinVenue, phone: ThinPhone) -> None:
    skip(phone)
    assert eventually(lambda: is_online(phone))
    flow = phone.flow(STRAY4)
    with contextlib.closing(flow):
        assert flow.grows()
        halls.portal.wificrm("device", "end", phone.mac)
        assert flow.wait(60) == "reset"
    assert phone.mac not in halls.routers[0].allowed()
    assert phone.get(PROBE).status == 302


def test_openwrts_firewall_is_shut_until_the_table_has_told_it_otherwise(
    halls: ThinVenue, phone: ThinPhone
) -> None:
    skip(phone)
    router = halls.routers[0]
    assert eventually(lambda: is_online(phone))
    router.namespace.run("nft", "-f", "-", text=FIREWALL)  # begun anew: its set is empty
    try:
        assert phone.tcp(STRAY4, 443) != "open"
        assert phone.tcp("192.168.60.1", 2080) != "open"
        router.script("wificrm-table", "apply")  # what its include does
        assert is_online(phone)
        assert is_online(phone, family=6)
        assert phone.get(PROBE).status == 204
        with halls.phone(router) as other:
            assert other.get(PROBE).status == 302
    finally:
        router.namespace.run("nft", "delete", "table", "inet", "fw4")


# -- who plays a router, or changes what one says ----------------------------------------------------


def say(router: ThinRouter, path: str, body: bytes = b"") -> tuple[str, str]:
    """(status, answer) of the portal to *body*, sent from the router's place."""
    done = subprocess.run(
        router.namespace.command(
            *("curl", "-sk", "-w", "\n%{http_code}", "-m", "10", "--resolve", f"{PORTAL}:8445:{PORTAL4}"),
            *(["--data-binary", "@-"] if body else []),
            f"https://{PORTAL}:8445/router/v1/{path}",
        ),
        input=body,
        capture_output=True,
        check=True,
    )
    text, _, status = done.stdout.decode().rpartition("\n")
    return status, text


def test_reports_that_are_old_changed_or_of_somebody_else_are_refused(
    halls: ThinVenue, phone: ThinPhone
) -> None:
    skip(phone)
    one, two, _ = halls.routers
    assert eventually(lambda: f"lease {phone.mac}" in (one.run_folder / "body").read_text())
    body = (one.run_folder / "body").read_bytes()
    head, _, report = body.partition(b"\n")
    session, number, signature = head.split()
    other = (two.run_folder / "body").read_bytes().split()[0]
    forged = [
        body,  # said before
        b"%b %d %b\n%b" % (session, int(number) + 1000, signature, report),
        b"%b %d %b\n%b" % (session, int(number) + 1000, b"0" * 64, report),
        b"%b %b %b\n%b" % (other, number, signature, report),
        b"%b %d %b\n%b" % (other, 10**9, signature, report),
        b"%b %b %b\n%b" % (session, number, signature, report.replace(b"lease", b"present")),
        b"%b %b %b\n" % (b"0" * 32, number, signature),
        b"junk",
    ]
    for each in forged:
        status, _text = say(one, "report", each)
        assert status in ("400", "403"), each
    assert one.is_connected() and two.is_connected()  # noqa: PT018
    assert all(halls.portal.connected().values())
    assert is_online(phone)


def test_nobody_gets_a_stream_without_the_key(halls: ThinVenue) -> None:
    one, two, _ = halls.routers
    greeting = (one.run_folder / "greeting").read_bytes()
    assert say(one, "stream", greeting)[0] == "403"  # its challenge is used
    challenge = say(one, "challenge")[1].strip()
    parts = greeting.decode().split()
    for name in ("hall1", "hall2", "hall9"):
        assert say(two, "stream", f"{name} {challenge} {'0' * 32} {parts[3]}\n".encode())[0] == "403"
    key = two.settings.read_text().split("key=")[1].split()[0]
    text = f"stream hall1 {challenge} {'0' * 32}"
    signed = thin.busybox_shell(
        f'. "$WIFICRM_LIBRARY/thin.sh"; hmac_key raw {key}; hmac "$pad_in" "$pad_out" "{text}"; echo $mac_hex'
    )
    assert say(two, "stream", f"hall1 {challenge} {'0' * 32} {signed}".encode())[0] == "403"
    halls.wait()


def test_nothing_on_the_router_or_in_its_log_names_a_device(halls: ThinVenue, phone: ThinPhone) -> None:
    skip(phone)
    time.sleep(1)
    router = halls.routers[0]
    names = [phone.mac, phone.address4, phone.address6]
    for path in router.home.rglob("*"):
        if path.is_file() and not path.is_relative_to(router.run_folder) and path.name != "leases":
            text = path.read_text(errors="replace")
            assert not [name for name in names if name in text], path
    assert (router.run_folder.stat().st_mode & 0o777) == 0o711
    for path in router.run_folder.iterdir():
        assert not path.stat().st_mode & 0o007, path


def test_the_agent_says_how_it_stands(halls: ThinVenue) -> None:
    router = halls.routers[0]
    assert "hall1: connected to portal.lab.example for" in router.script("wificrm-agent", "check")
    shown = halls.portal.connected()
    assert shown == {"hall1": True, "hall2": True, "hall3": True}


def test_who_is_let_in_again_gets_the_new_time_and_a_fresh_count(halls: ThinVenue, phone: ThinPhone) -> None:
    skip(phone)
    router = halls.routers[0]
    for family in (4, 6):
        for way in ((), ("-R",)):
            Traffic(cast("Venue", halls)).run(phone.namespace, "-n", "2M", *way, family=family)

    def order(*words: str) -> tuple[int, int, int]:
        """(seconds left, bytes up, bytes down) once the agent has done it."""
        script = f'. "$WIFICRM_LIBRARY/wificrm-agent"; {" ".join(words)}; leases'
        told = router.namespace.run(*router.environment(), router.home / "bin/ash", "-c", script)
        lease = next(line.split() for line in told.splitlines() if line.startswith(f"lease {phone.mac} "))
        return int(lease[2]), int(lease[3]), int(lease[4])

    seconds, up, down = order("true")
    assert seconds > 14_000
    assert up > 2_000_000
    assert down > 2_000_000
    seconds, kept_up, kept_down = order("allow", phone.mac, "500", "0")
    assert 490 < seconds <= 500
    assert (kept_up >= up, kept_down >= down) == (True, True)
    seconds, up, down = order("allow", phone.mac, "9000", "1")
    assert 8990 < seconds <= 9000
    assert (up < 100_000, down < 100_000) == (True, True)
