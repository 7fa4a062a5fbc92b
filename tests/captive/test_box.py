import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from captive.box import box
from crm.settings import Settings
from tests.captive.small_venue import BOX4, SmallVenue, eventually, needs_root, public_folder, small_venue

pytestmark = [needs_root, pytest.mark.lab]

OTHER = """
table inet other {
\tset friends {
\t\ttype ipv4_addr
\t\telements = { 192.0.2.1 }
\t}

\tchain forward {
\t\ttype filter hook forward priority 10; policy accept;
\t\tcounter
\t}
}
"""

SLOW_TO_END = """
import os, signal, socket, sys, time
listener = socket.create_server((sys.argv[2], 53))
def end(*_):
    os.unlink(sys.argv[3])
    time.sleep(1)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("listening", flush=True)
signal.pause()
"""


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[SmallVenue]:
    with small_venue(tmp_path / "venue") as made:
        yield made


def command(venue: SmallVenue, verb: str) -> str:
    done = venue.command(f"box.{verb}(settings)")
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(venue: SmallVenue, verb: str) -> str:
    done = venue.command(f"box.{verb}(settings)")
    assert done.returncode != 0
    line = done.stderr.strip().rpartition("\n")[2]
    assert line.startswith("crm.errors.SetupError: "), done.stderr
    return line


def trace(venue: SmallVenue) -> dict[str, str]:
    """Everything that ``apply`` could have changed."""
    sysctls = venue.box.run("sysctl", "-a", "-r", r"^net\.(ipv4|ipv6)\.(conf|neigh|ip_forward)").stdout
    return {
        "ruleset": venue.box.run("nft", "-s", "list", "ruleset").stdout,
        "sysctls": sysctls,
        "processes": venue.box.run("ip", "netns", "pids", venue.box.name).stdout.count("\n") * "x",
        "files": "\n".join(sorted(str(path) for path in venue.folder.rglob("*"))),
        "addresses": venue.box.run("ip", "-o", "address", "show", "scope", "global").stdout,
    }


def table(venue: SmallVenue, name: str) -> str:
    return venue.box.run("nft", "list", "table", "inet", name).stdout


def dnsmasq_pid(venue: SmallVenue) -> int:
    return int((Path(venue.settings.state) / "dnsmasq.pid").read_text())


def test_applied_twice_and_removed_twice_leaves_what_was_there(venue: SmallVenue):
    venue.box.nft(OTHER)
    before = trace(venue)
    command(venue, "apply")
    once = trace(venue)
    assert once != before
    assert "net.ipv4.ip_forward = 1" in once["sysctls"]
    pid = dnsmasq_pid(venue)
    command(venue, "apply")
    assert trace(venue) == once
    assert dnsmasq_pid(venue) == pid
    command(venue, "remove")
    assert trace(venue) == before
    command(venue, "remove")
    assert trace(venue) == before


def test_other_tables_are_not_touched(venue: SmallVenue):
    venue.box.nft(OTHER)
    before = table(venue, "other")
    command(venue, "apply")
    assert table(venue, "other") == before
    command(venue, "remove")
    assert table(venue, "other") == before


def test_removing_keeps_forwarding_that_was_on_before(venue: SmallVenue):
    venue.box.run("sysctl", "-w", "net.ipv4.ip_forward=1")
    before = trace(venue)
    command(venue, "apply")
    command(venue, "remove")
    assert trace(venue) == before


def test_applying_again_keeps_who_is_online_and_for_how_long(venue: SmallVenue):
    command(venue, "apply")
    venue.box.nft("add element inet wificrm allowed_guest { 02:00:00:00:00:09 timeout 1000s }\n")
    command(venue, "apply")
    left = re.search(r"02:00:00:00:00:09 .*expires (\d+)m", table(venue, "wificrm"))
    assert left
    assert 14 <= int(left.group(1)) <= 16


def test_a_table_of_another_shape_is_replaced_and_who_is_online_stays(venue: SmallVenue):
    venue.box.nft(
        "table inet wificrm { set allowed_guest { type ether_addr; flags timeout; size 10; }\n"
        "set garden4_guest { type ether_addr; }\n chain old { type filter hook forward priority 0; policy drop; }\n}\n"
        "add element inet wificrm allowed_guest { 02:00:00:00:00:09 timeout 1000s }\n"
    )
    command(venue, "apply")
    listed = table(venue, "wificrm")
    assert "02:00:00:00:00:09" in listed
    assert "chain old" not in listed
    assert "table=True, devices=1" in command(venue, "status")


def test_dnsmasq_is_started_anew_when_its_configuration_changed_or_it_died(venue: SmallVenue):
    command(venue, "apply")
    first = dnsmasq_pid(venue)
    venue.config.write_text(venue.config.read_text() + 'lease = "17m"\n')
    command(venue, "apply")
    second = dnsmasq_pid(venue)
    assert second != first
    os.kill(second, 9)
    assert eventually(lambda: not Path(f"/proc/{second}").exists())
    assert "dnsmasq=False" in command(venue, "status")
    command(venue, "apply")
    assert dnsmasq_pid(venue) != second
    assert "dnsmasq=True" in command(venue, "status")


def test_one_dnsmasq_follows_another_once_its_sockets_are_closed(venue: SmallVenue):
    """It takes its pid file away before; on a booted box every other change of the settings failed for it."""
    command(venue, "apply")
    os.kill(dnsmasq_pid(venue), 9)
    state = Path(venue.settings.state)
    words = (f"--conf-file={state}/dnsmasq.conf", BOX4, str(state / "dnsmasq.pid"))
    with venue.box.start(sys.executable, "-c", SLOW_TO_END, *words) as slow:
        assert slow.stdout
        assert slow.stdout.readline() == "listening\n"
        (state / "dnsmasq.pid").write_text(f"{slow.pid}\n")
        venue.config.write_text(venue.config.read_text() + 'lease = "17m"\n')
        command(venue, "apply")
    assert "dnsmasq=True" in command(venue, "status")


def test_a_dnsmasq_whose_pid_file_is_lost_is_stopped_all_the_same(venue: SmallVenue):
    command(venue, "apply")
    first = dnsmasq_pid(venue)
    shutil.rmtree(venue.settings.state)
    command(venue, "apply")
    assert dnsmasq_pid(venue) != first
    assert "dnsmasq=True" in command(venue, "status")


def test_a_file_of_pids_that_names_a_stranger_harms_nobody(venue: SmallVenue):
    command(venue, "apply")
    os.kill(dnsmasq_pid(venue), 9)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (Path(venue.settings.state) / "dnsmasq.pid").write_text(f"{stranger.pid}\n")
        command(venue, "remove")
        assert stranger.poll() is None
        stranger.kill()


def test_mend_brings_back_what_died_and_nothing_that_was_taken_down(venue: SmallVenue):
    command(venue, "apply")
    os.kill(dnsmasq_pid(venue), 9)
    venue.box.run("sysctl", "-w", "net.ipv4.ip_forward=0")
    assert eventually(lambda: "False" in command_says(venue, "print(box.is_whole(settings))"))
    command(venue, "mend")
    assert "True" in command_says(venue, "print(box.is_whole(settings))")
    (
        Path(venue.settings.state) / "somebody's"
    ).touch()  # the folder stays, as it does while remove is at work
    command(venue, "remove")
    command(venue, "mend")
    assert "wificrm" not in venue.box.run("nft", "list", "ruleset").stdout
    assert "dnsmasq" not in venue.box.run("ss", "-Hlunp").stdout
    (Path(venue.settings.state) / "somebody's").unlink()
    Path(venue.settings.state).rmdir()
    command(venue, "mend")
    assert not Path(venue.settings.state).exists()


def command_says(venue: SmallVenue, text: str) -> str:
    done = venue.command(text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_who_has_an_address_is_for_roots_eyes(venue: SmallVenue):
    command(venue, "apply")
    assert (Path(venue.settings.state) / "dnsmasq.leases").stat().st_mode & 0o077 == 0


def test_status_tells_what_stands(venue: SmallVenue):
    nothing = (
        "Status(table=False, devices=0, dnsmasq=False, forwarding=False, gate=False, advertised=False)\n"
    )
    assert command(venue, "status") == nothing
    command(venue, "apply")
    venue.gate()
    venue.box.nft("add element inet wificrm allowed_guest { 02:00:00:00:00:09 timeout 9m }\n")
    assert (
        command(venue, "status")
        == "Status(table=True, devices=1, dnsmasq=True, forwarding=True, gate=True, advertised=False)\n"
    )


def test_check_has_nothing_to_say_of_a_good_box(venue: SmallVenue):
    assert command(venue, "check") == "[]\n"
    command(venue, "apply")
    assert command(venue, "check") == "[]\n"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (["link delete br-guest"], "there is no interface br-guest: make the bridge"),
        (["link delete eth0"], "there is no interface eth0"),
        ([f"address delete {BOX4}/24 dev br-guest"], f"ip address add {BOX4}/24 dev br-guest"),
        (["address flush dev br-guest scope global"], "ip address add fd50:7c3a:1::1/64 dev br-guest"),
        (["address add 192.168.50.77/24 dev eth0"], "choose another for guests"),
    ],
)
def test_check_says_what_to_do(venue: SmallVenue, spoil: list[str], sentence: str):
    venue.box.ip(*spoil)
    assert sentence in command(venue, "check")


@pytest.mark.parametrize(
    ("port", "sentence"), [(53, "another resolver holds port 53"), (67, "another DHCP server")]
)
def test_who_holds_a_port_that_dnsmasq_needs_is_told(venue: SmallVenue, port: int, sentence: str):
    with venue.box.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("0.0.0.0", port))
        assert sentence in command(venue, "check")


def test_another_dnsmasq_as_debian_installs_it_is_told(venue: SmallVenue):
    other = venue.box.start("dnsmasq", "-k", "-C", "/dev/null", "--pid-file", "--no-resolv")
    try:
        assert eventually(lambda: ":53" in venue.box.run("ss", "-Hltn").stdout)
        assert "another resolver holds port 53" in command(venue, "check")
    finally:
        other.kill()
        other.communicate()


def test_apply_says_why_dnsmasq_does_not_start(venue: SmallVenue):
    with venue.box.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("0.0.0.0", 67))
        said = fails(venue, "apply")
    assert "dnsmasq does not start" in said
    assert "Address already in use" in said
    command(venue, "apply")
    assert "dnsmasq=True" in command(venue, "status")


def test_check_finds_a_table_that_drops_what_ours_accepts(venue: SmallVenue):
    venue.box.nft(
        "table inet filter { chain forward { type filter hook forward priority 0; policy drop; }\n}\n"
    )
    assert (
        "chain forward of table inet filter drops by default: let the guests' interfaces through"
        in command(venue, "check")
    )


def test_check_finds_a_certificate_that_is_not_there(venue: SmallVenue):
    venue.config.write_text(
        venue.config.read_text() + '[portal]\nname = "p.example"\ncertificate = "/no/such"\nkey = "/no/key"\n'
    )
    assert "the portal's certificate: /no/such: No such file" in command(venue, "check")


def test_without_privileges_each_verb_says_so():
    script = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --no-new-privs"
    with public_folder() as folder, small_venue(folder) as venue:
        python = venue._python("box.apply(settings)")
        done = venue.box.run(*script.split(), *python, check=False)
    assert "SetupError" in done.stderr
    assert "run as root" in done.stderr


def test_plan_shows_all_that_apply_would_do():
    text = box.plan(Settings())
    for part in ("table inet wificrm", "dhcp-range=192.168.50.2", "net/ipv4/ip_forward = 1", "dnsmasq.conf"):
        assert part in text


def test_the_guests_bridge_keeps_its_address_when_a_port_comes_and_goes(venue: SmallVenue):
    """Phones would go on sending to the former one, and be offline for many seconds."""

    def address() -> str:
        return venue.box.run("cat", "/sys/class/net/br-guest/address").stdout.strip()

    venue.box.ip("link add port1 address 02:00:00:00:00:02 type veth peer name end1")
    venue.box.ip("link set port1 master br-guest up")
    assert address() == "02:00:00:00:00:02"  # it goes by the lowest of its ports
    command(venue, "apply")
    venue.box.ip("link add port2 address 02:00:00:00:00:01 type veth peer name end2")
    venue.box.ip("link set port2 master br-guest up", "link delete port1")
    assert address() == "02:00:00:00:00:02"
