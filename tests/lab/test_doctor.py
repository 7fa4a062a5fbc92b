"""The doctor on a venue that is well: all is told, no guest is harmed, and nothing is left of its phone."""

import signal
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from captive.doctor.phone.handset import PREFIX
from tests.lab.doctoring import findings, nft
from tests.lab.gateway import Gateway, bridge_of
from tests.lab.internet import STRAY4, STRAY6
from tests.lab.journey import is_online, skip
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

REPEATER = "desks"


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """Two networks; on one a repeater speaks for many, so that the MAC alone tells nothing. A daily allowance."""
    with Venue(others={REPEATER: 'identity = "mac+ip"'}, grant="daily_minutes = 600") as built:
        yield built


def start(venue: Venue, *arguments: str) -> "subprocess.Popen[str]":
    command = venue.gateway.namespace.command(*venue.gateway._wificrm("doctor", *arguments))
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(venue: Venue, *arguments: str) -> tuple[int, str]:
    """(exit code, what it printed)."""
    doctor = start(venue, *arguments)
    out, _ = doctor.communicate(timeout=120)
    return doctor.returncode, out


def left_behind(gateway: Gateway) -> str:
    """Whatever of a phone of the doctor's is still about."""
    ports = gateway.namespace.run("ip", "-br", "link")
    told = [line for line in ports.splitlines() if line.startswith(("wdr", "wdn"))]
    told += [
        mac for network in ("guest", REPEATER) for mac in gateway.allowed(network) if mac.startswith(PREFIX)
    ]
    told += [
        line for line in (gateway.home / "state/dnsmasq.leases").read_text().splitlines() if PREFIX in line
    ]
    told += [path.name for path in gateway.store_files("access") if PREFIX.encode() in path.read_bytes()]
    return "\n".join(told)


def test_a_whole_examination_harms_nobody_and_leaves_nothing(venue: Venue) -> None:
    gateway = venue.gateway
    online, waiting = venue.phone(), venue.phone()
    for phone in (online, waiting):
        phone.join()
    skip(online)
    before, flows = gateway.funnel(), [online.flow(STRAY4), online.flow(STRAY6)]
    doctor = start(venue, "--json")
    assert waiting.get("http://odd.example/").status == 302
    out, error = doctor.communicate(timeout=120)
    found = msgspec.json.decode(out)
    assert [each for each in found if each["state"] == "fault"] == [], error
    assert doctor.returncode == 0
    assert {each["state"] for each in found} <= {"ok", "warning"}
    assert {each["what"] for each in found if each["state"] == "warning"} == {"certificate"}
    assert all(each.keys() == {"what", "state", "detail", "todo", "network", "part"} for each in found)
    for network in ("guest", REPEATER):
        parts = [each["part"] for each in found if each["network"] == network]
        assert list(dict.fromkeys(parts)) == ["join", "names", "portal", "walls", "online"]
    assert all(flow.alive and flow.grows() for flow in flows)
    assert is_online(online)
    assert waiting.tcp(STRAY4, 443) == "reset"
    for flow in flows:
        flow.close()
    assert gateway.funnel() == before
    assert eventually(lambda: not left_behind(gateway)), left_behind(gateway)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_doctor_that_is_sent_away_leaves_nothing(venue: Venue, how: signal.Signals) -> None:
    gateway = venue.gateway
    # It looks for the Internet in vain, and so is online for seconds: long enough for us to see it.
    with nft(gateway.namespace, "chain c { type filter hook forward priority -10; drop; }"):
        doctor = start(venue, "--only", "online")
        assert eventually(lambda: any(mac.startswith(PREFIX) for mac in gateway.allowed()), every=0.02)
        doctor.send_signal(how)
        out, _ = doctor.communicate(timeout=120)
    assert doctor.returncode == (128 + how if how == signal.SIGTERM else -how), out

    def ports() -> bool:
        return "wd" not in gateway.namespace.run("ip", "-br", "link", "show", "type", "veth").replace(
            "uplink", ""
        )

    assert eventually(ports)
    if how == signal.SIGTERM:  # as Ctrl-C, which asyncio itself turns into the same
        assert eventually(lambda: not left_behind(gateway)), left_behind(gateway)
    else:  # nobody was left to tell the portal: the grant ends by itself, within a minute
        ends = [left for mac, left in gateway.allowed().items() if mac.startswith(PREFIX)]
        assert all(left <= 60 for left in ends)
        gateway.wificrm("device", "end", "--all", "--yes")


def test_lines_for_people_and_an_exit_code_for_monitors(venue: Venue) -> None:
    code, out = told(venue, "--only", "names")
    assert code == 0
    assert out.startswith("This box\nok       crm store: readable")
    assert "\nA phone joins desks\nok       A phone asks for an address: got 192.168.100." in out
    assert "\nIt asks for names\nok       The resolver answers: 192.168.50.1 answers\n" in out
    assert "It looks for the portal" not in out
    assert out.endswith("\n1 warning: certificate.\n")
    with nft(venue.gateway.namespace, "chain c { type filter hook forward priority -10; policy drop; }"):
        code, out = told(venue, "--quick")
    assert code == 1
    assert "A phone" not in out
    assert (
        "FAULT    gateway: chain c of table inet foreign drops by default\n         -> let the guests'" in out
    )
    assert out.endswith("\n1 fault: gateway.\n1 warning: certificate.\n")
    assert told(venue, "--quick", "--only", "names")[0] == 2


def test_an_interface_that_is_no_bridge_is_told_and_left_alone(venue: Venue) -> None:
    bridge = bridge_of(REPEATER)
    namespace = venue.gateway.namespace
    namespace.ip(f"link set {bridge} name was-bridge", f"link add {bridge} type veth peer name {bridge}-peer")
    try:
        told = [each for each in findings(venue, "names") if each.network == REPEATER]
    finally:
        namespace.ip(f"link delete {bridge}", f"link set was-bridge name {bridge}")
    assert [(each.what, each.state) for each in told] == [("A phone", "warning")]
    assert f"{bridge} is no bridge" in told[0].detail


def test_a_bridge_that_is_down_is_told_also_without_a_phone(venue: Venue) -> None:
    bridge, namespace = bridge_of(REPEATER), venue.gateway.namespace
    namespace.ip(f"link set {bridge} down")
    try:
        told = findings(venue, "names")
    finally:
        namespace.ip(f"link set {bridge} up")
    faults = [each for each in told if each.state == "fault"]
    assert [(each.what, each.todo) for each in faults] == [("gateway", f"ip link set {bridge} up")]
    assert [each.detail for each in told if each.network == REPEATER] == [
        f"cannot be played: {bridge} is down (above)"
    ]


def test_a_bridge_on_which_a_new_port_is_silent_is_no_fault(venue: Venue) -> None:
    bridge, namespace = bridge_of(REPEATER), venue.gateway.namespace
    namespace.ip(f"link set {bridge} type bridge stp_state 1")
    try:
        told = [each for each in findings(venue, "names") if each.network == REPEATER]
    finally:
        namespace.ip(f"link set {bridge} type bridge stp_state 0")
    assert [(each.what, each.state) for each in told] == [("A phone", "warning")]
    assert f"ip link set {bridge} type bridge stp_state 0" in told[0].todo
