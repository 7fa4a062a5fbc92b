"""The installer on a box: a network namespace with a copy of /etc, real ip, nft, ifup, networkd and our program.

Only systemd is a stand-in: it runs the commands of our own unit, and writes down the rest.
"""

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.captive.small_venue import Place, eventually, needs_root
from tests.router_scripts.recording import Recording
from tests.router_scripts.test_setup import PROGRAM, SCRIPT

pytestmark = [needs_root, pytest.mark.lab]

NETWORKD = Path("/lib/systemd/systemd-networkd")
SYSTEMCTL = """#!/bin/sh
case "$*" in
is-system-running) echo running; exit ;;
*is-active*systemd-networkd) [ -e /etc/networkd-runs ]; exit ;;
*is-active*NetworkManager) [ -e /etc/networkmanager-runs ]; exit ;;
*is-active*wificrm) [ -e /etc/portal-runs ]; exit ;;
*is-active*) exit 3 ;;
*cat*wificrm.service | *cat*wificrm-gateway.service) exit ;;
*cat*) exit 1 ;;
esac
echo "systemctl $*" >>"%s"
unit=/etc/systemd/system/wificrm-bridge.service
run() { sed -n "s/^$1=-*//p" "$unit" | while read -r line; do $line || :; done; }
case "$*" in
'restart wificrm-bridge') run ExecStop 2>/dev/null; run ExecStart ;;
'start wificrm-bridge') ip link show dev br-guest >/dev/null 2>&1 || run ExecStart ;;
'--quiet disable --now wificrm-bridge') run ExecStop ;;
esac
"""
NETWORKCTL = f"""#!/bin/sh
# Without a writable /sys networkd takes interfaces without waiting for udev.
mount -o remount,ro /sys
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network:systemd-network /run/systemd/netif
(sleep 1; exec timeout 20 {NETWORKD}) >/dev/null 2>&1 &
"""
"""networkctl on a box where networkd did not run before."""
NMCLI = """#!/bin/sh
echo "nmcli $*" >>"%s"
[ "$*" != "connection up wificrm-port-p1" ] || ip link set p1 master br-guest
[ "$*" = "connection up wificrm-bridge" ] || exit 0
ip link add br-guest type bridge
sed -n 's/^address1=//p' /etc/NetworkManager/system-connections/wificrm-bridge.nmconnection |
	while read -r address; do ip address add "$address" dev br-guest; done
"""
INSIDE = """
mount --bind "$1" /etc; mount -t tmpfs none /run; mkdir -p /run/network; shift
exec "$@"
"""


class Box:
    """A box with two cables: `up0` leads to the Internet, `p1` to an access point."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.etc = folder, folder / "etc"
        subprocess.run(["cp", "-a", "/etc", folder], check=True)
        for made in ("wificrm", "network/interfaces.d", "NetworkManager", "systemd/network"):
            shutil.rmtree(self.etc / made, ignore_errors=True)
        (self.etc / "network/interfaces").unlink(missing_ok=True)
        (self.etc / "systemd/network").mkdir()
        self.programs = Recording(folder, "networkctl")
        self.programs.program("systemctl", SYSTEMCTL % self.programs._calls)
        self.programs.program("wificrm", PROGRAM)
        self.place = Place(f"t{secrets.token_hex(4)}")
        for name in ("up0", "p1"):
            self.place.ip(f"link add {name} type veth peer name {name}-far", f"link set {name} up")
        self.place.ip("address add 203.0.113.2/24 dev up0", "route add default via 203.0.113.1")
        self.before = self.trace

    def inside(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.programs.run(
            *("ip", "netns", "exec", self.place.name, "unshare", "--mount", "sh", "-c", INSIDE, "sh"),
            *(str(self.etc), *words),
            WIFICRM_SYS="/sys",
        )

    def setup(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.inside("/bin/sh", str(SCRIPT), *words, "--yes")

    def does(self, *words: str) -> str:
        done = self.setup(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def trace(self) -> tuple[str, dict[str, str]]:
        """Interfaces with their addresses, and the files that installers write into."""
        folders = ("wificrm", "systemd", "network", "NetworkManager", "hostapd")
        files = [path for each in folders for path in (self.etc / each).rglob("*") if path.is_file()]
        interfaces = self.place.run("ip", "-o", "-br", "address").stdout
        return interfaces, {str(path.relative_to(self.etc)): path.read_text() for path in files}

    @property
    def bridge(self) -> str:
        """Its addresses and whether it is up; nothing where there is none."""
        return self.place.run("ip", "-br", "address", "show", "dev", "br-guest", check=False).stdout

    @property
    def ports(self) -> str:
        return self.place.run("bridge", "link").stdout


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with ExitStack() as stack:
        made = Box(tmp_path)
        stack.callback(made.place.close)
        yield made


def test_a_box_with_two_cables_where_nobody_keeps_networks(box: Box):
    words = ("--guest-port", "p1", "--centre", "Trung tâm")
    assert box.setup("check", *words).stdout == "nothing to complain of\n"
    out = box.does("apply", *words)
    assert "towards Internet  up0" in out
    assert "kept by the unit wificrm-bridge" in out
    assert {"192.168.50.1/24", "fd50:7c3a:1::1/64"} <= set(box.bridge.split())
    assert "p1@p1-far" in box.ports
    assert "nothing to complain of" in box.inside("wificrm", "gateway", "check").stdout
    assert box.programs.calls[-3:] == [
        "systemctl reload-or-restart wificrm-gateway.service",
        "systemctl --quiet enable wificrm.service",
        "systemctl restart wificrm.service",
    ]
    once = box.trace
    assert " written" not in box.does("apply")
    assert box.trace == once
    box.does("remove")
    assert box.trace == box.before
    assert "systemctl --quiet disable --now wificrm-gateway.service" in box.programs.calls


def test_a_changed_address_takes_hold_at_once(box: Box):
    box.does("apply", "--guest-port", "p1")
    box.does("apply", "--address4", "10.20.0.1/22", "--address6", "none")
    assert "10.20.0.1/22" in box.bridge
    assert "192.168.50.1" not in box.bridge
    assert "fd50" not in box.bridge
    assert "p1@p1-far" in box.ports


def test_a_bridge_with_another_name_leaves_no_second_one_with_its_address(box: Box):
    box.does("apply")
    box.does("apply", "--bridge", "br-hall")
    addresses = box.place.run("ip", "-br", "address").stdout
    assert re.findall(r"^(\S+) .*192\.168\.50\.1/24", addresses, re.MULTILINE) == ["br-hall"]
    box.does("remove")
    assert box.trace == box.before


@pytest.mark.skipif(not shutil.which("ifup", path="/sbin:/usr/sbin"), reason="ifupdown is not installed")
def test_a_box_with_ifupdown(box: Box):
    (box.etc / "network/interfaces.d").mkdir(parents=True)
    (box.etc / "network/interfaces").write_text("source /etc/network/interfaces.d/*\n")
    box.before = box.trace
    # /run is new for each process here, so what ifup remembers goes with it: all verbs in one.
    verbs = ("apply --guest-port p1", "apply --address4 10.20.0.1/22", "apply", "remove")
    script = "set -e\n" + "".join(
        f'sh "{SCRIPT}" {verb} --yes; ip -br address; bridge link; echo ===\n' for verb in verbs
    )
    done = box.inside("sh", "-c", script)
    assert done.returncode == 0, done.stderr
    first, second, third, removed, _ = done.stdout.split("===\n")
    assert "kept by ifupdown" in first
    assert bridge_in(first) == {"192.168.50.1/24", "fd50:7c3a:1::1/64"}
    assert bridge_in(second) == bridge_in(third) == {"10.20.0.1/22", "fd50:7c3a:1::1/64"}
    assert all(re.search("p1@p1-far.* master br-guest", each) for each in (first, second, third))
    assert " written" not in third
    assert bridge_in(removed) == set()
    assert box.trace == box.before


def bridge_in(listing: str) -> set[str]:
    lines = [line.split() for line in listing.splitlines()]
    return {word for words in lines if words[:1] == ["br-guest"] for word in words[2:] if "fe80" not in word}


@pytest.mark.skipif(not NETWORKD.exists(), reason="systemd-networkd is not installed")
def test_a_box_with_networkd(box: Box):
    (box.etc / "networkd-runs").touch()
    (box.etc / "systemd/network/10-netplan-p1.network").write_text(
        "[Match]\nName=p*\n\n[Network]\nDHCP=yes\n"
    )
    box.before = box.trace
    box.place.ip("link set p1-far up")
    box.programs.program("networkctl", NETWORKCTL)
    assert "kept by systemd-networkd" in box.does("apply", "--guest-port", "p1")
    assert {"192.168.50.1/24", "fd50:7c3a:1::1/64"} <= set(box.bridge.split())
    assert eventually(lambda: "p1@p1-far" in box.ports)
    assert "isolated on" in box.place.run("bridge", "-d", "link").stdout
    # Where the bridge goes first, networkd still puts the cable into it, fails, and leaves the cable alone for good.
    box.programs.program("networkctl", f'#!/bin/sh\nip -br link >>"{box.programs._calls}"\n')
    box.does("remove")
    assert "br-guest" in "".join(box.programs.calls)
    assert box.trace[1] == box.before[1]
    assert box.bridge == ""


def test_a_box_with_networkmanager(box: Box):
    (box.etc / "networkmanager-runs").touch()
    (box.etc / "NetworkManager").mkdir()
    box.programs.program("nmcli", NMCLI % box.programs._calls)
    assert "kept by NetworkManager" in box.does("apply", "--guest-port", "p1")
    kept = box.etc / "NetworkManager/system-connections"
    assert {path.name: path.stat().st_mode & 0o777 for path in kept.iterdir()} == {
        "wificrm-bridge.nmconnection": 0o600,  # it reads no others
        "wificrm-port-p1.nmconnection": 0o600,
    }
    assert [call for call in box.programs.calls if call.startswith("nmcli")] == [
        "nmcli -g GENERAL.STATE device show up0",
        "nmcli connection reload",
        "nmcli connection up wificrm-bridge",
        "nmcli connection up wificrm-port-p1",  # its cable may be in another connection by now
    ]
    assert "192.168.50.1/24" in box.bridge
    box.does("remove")
    assert (list(kept.iterdir()), box.bridge) == ([], "")


def test_networkmanager_that_leaves_the_uplink_alone_is_not_asked(box: Box):
    (box.etc / "networkmanager-runs").touch()
    box.programs.program("nmcli", "#!/bin/sh\necho '10 (unmanaged)'\n")
    assert "kept by the unit wificrm-bridge" in box.does("print")


def test_a_bridge_of_somebody_else_is_left_to_them(box: Box):
    box.place.ip("link add br-guest type bridge", "address add 10.3.0.1/20 dev br-guest")
    box.before = box.trace
    (box.etc / "portal-runs").touch()
    box.programs.program("wificrm", '#!/bin/sh\necho "wificrm $1"\n')
    done = box.setup("apply", "--guest-port", "p1")
    out = done.stdout
    assert "br-guest, 10.3.0.1/20, IPv6 none; kept by whoever made it" in out
    assert "p1 is not in the bridge" in done.stderr
    assert "wificrm doctor\n\nNext:\n" in out
    assert "still has a placeholder for a name" in out
    box.does("remove")
    assert box.trace == box.before


def test_what_did_not_start_is_told_after_all_that_the_doctor_says(box: Box):
    (box.etc / "portal-runs").touch()
    box.programs.program("wificrm", '#!/bin/sh\necho "wificrm $1"\n')
    box.programs.program(
        "systemctl", (SYSTEMCTL % box.programs._calls) + '[ "$*" != "restart wificrm.service" ]\n'
    )
    done = box.inside("sh", "-c", f"sh {SCRIPT} apply --yes 2>&1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith(
        "wificrm.service did not start: journalctl -u wificrm.service -n 20"
    )


def test_what_is_in_the_way_of_the_radio_is_told_before_anything_is_done(box: Box):
    (box.etc / "hostapd").mkdir(exist_ok=True)
    (box.etc / "hostapd/hostapd.conf").write_text("interface=p1\n")
    (box.etc / "network").mkdir(exist_ok=True)
    (box.etc / "network/interfaces").write_text("iface p1 inet dhcp\n")
    said = box.setup("apply", "--wifi", "p1").stdout.partition(" written\n")[0]
    for sentence in (
        "hostapd.conf, which is not ours, has p1 too: only one hostapd can",
        "/etc/network/interfaces:1 names p1: take it out, it is for guests",
    ):
        assert sentence in said


def test_the_doctor_is_asked_once_the_radio_is_on_the_air(box: Box):
    """Many a driver takes seconds for the country's rules and a look around."""
    (box.etc / "portal-runs").touch()
    calls = box.programs._calls
    box.programs.program("wificrm", f'#!/bin/sh\necho "wificrm $1" >>"{calls}"\n')
    states = f'if grep -q "^hostapd_cli" "{calls}"; then echo state=ENABLED; else echo state=HT_SCAN; fi'
    box.programs.program("hostapd_cli", f'#!/bin/sh\n{states}\necho "hostapd_cli $*" >>"{calls}"\n')
    box.does("apply", "--wifi", "p1")
    assert box.programs.calls[-3:] == [*["hostapd_cli -i p1 status"] * 2, "wificrm doctor"]


def test_an_address_that_is_reached_elsewhere_is_not_proposed_and_refused(box: Box):
    box.place.ip("route add 192.168.0.0/16 via 203.0.113.9")
    assert "br-guest, 10.50.0.1/24" in box.does("print")
    said = box.setup("check", "--address4", "192.168.50.1/24").stdout
    assert "192.168.50.1/24 lies in a network that this box reaches elsewhere" in said


def test_cables_that_cannot_serve_are_refused(box: Box):
    """Above all the one that the technician came in by; and one mistyped on a box that serves already."""
    box.place.ip("address add 198.51.100.7/24 dev p1")
    wrong = ("--uplink", "none0", "--guest-port", "p1", "--guest-port", "p9")
    for said in (box.setup("check", *wrong).stdout, box.setup("apply", *wrong).stderr):
        for sentence in ("there is no interface none0", "p1 has an address", "there is no interface p9"):
            assert sentence in said
    assert box.setup("apply", "--wifi", "p1").returncode == 1
    assert box.trace[1] == box.before[1]
    assert box.bridge == ""
    box.place.ip("address flush dev p1")
    box.does("apply", "--guest-port", "p1")
    box.place.ip("address add 198.51.100.7/24 dev p1")  # of no use to it in the bridge, and no harm
    box.does("apply")


def test_other_firewalls_are_told_what_to_let_through(box: Box):
    box.place.nft(
        "table inet filter { chain input { type filter hook input priority 0; policy drop; }\n"
        "chain forward { type filter hook forward priority 0; policy drop; }\n}\n"
        "table ip filter { chain DOCKER-USER { }\n"
        "chain FORWARD { type filter hook forward priority 0; policy drop; }\n}\n"
    )
    lines = [
        'nft insert rule inet filter input iifname "br-guest" accept',
        'nft insert rule inet filter forward iifname "br-guest" accept',
        'nft insert rule inet filter forward oifname "br-guest" accept',
        "iptables -I DOCKER-USER -i br-guest -j ACCEPT",
        "iptables -I DOCKER-USER -o br-guest -j ACCEPT",
    ]
    shown = box.does("print").splitlines()
    assert [line for line in shown if line.startswith(("nft", "iptables"))] == [*lines[3:], *lines[:3]]
    for line in lines[:3]:
        box.place.run("sh", "-c", line)  # nft takes them
    assert "chain forward of table inet filter drops by default" in box.setup("check").stdout


def test_firewalls_with_a_program_of_their_own_are_told_by_it(box: Box):
    box.place.nft("table inet firewalld { }\ntable ip filter { chain ufw-before-forward { }\n}\n")
    shown = box.does("print")
    for line in (
        "firewall-cmd --permanent --zone=trusted --add-interface=br-guest && firewall-cmd --reload",
        "ufw allow in on br-guest\nufw route allow in on br-guest\nufw route allow out on br-guest",
    ):
        assert line in shown


def test_the_bridge_that_does_not_come_up_is_told_but_no_package_fails_for_it(box: Box):
    box.programs.program(
        "systemctl", "#!/bin/sh\n[ $1 != is-system-running ] || { echo running; exit 0; }\nexit 1\n"
    )
    done = box.setup("apply", "--default")
    assert (done.returncode, "the bridge br-guest did not come up" in done.stderr) == (0, True)
    (box.etc / "wificrm/setup.conf").unlink()
    done = box.setup("apply")
    assert (done.returncode, "did not come up" in done.stderr) == (1, True)
