"""wificrm-setup under the shell that OpenWrt has, on configuration files that a stand-in for uci really changes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.router_scripts.openwrt_router import SCRIPTS, Router, needs_ash

pytestmark = needs_ash

MAIN = "config wificrm 'main'\n\toption enabled '1'\n\toption storage '/mnt/wificrm'\n"
HALL = MAIN + "config network 'guest'\n\tlist ssid 'Cổng Wi-Fi'\n\tlist port 'lan4.20'\n"
TWO = f"""{MAIN}
config uplink 'uplink'
	option interface 'pppoe-wan'
config network 'guest'
	list ssid "It's free"
	list ssid 'Wi-Fi "2"'
	list radio 'radio1'
config network 'desks'
	list ssid 'Desks'
	list radio 'radio1'
	option owe '1'
	option interface 'br-d'
	option address4 '192.168.51.1/24'
	option address6 'none'
	list port 'lan3'
	option minutes '30'
"""
ACCESS_POINT = HALL.replace("'main'\n", "'main'\n\toption mode 'access-point'\n")

PRINTED = {
    "access-point": (
        ACCESS_POINT,
        """\
set network.wificrmbr_guest='device'
set network.wificrmbr_guest.name='br-guest'
set network.wificrmbr_guest.type='bridge'
add_list network.wificrmbr_guest.ports='lan4.20'
set network.wificrmbr_guest.bridge_empty='1'
set network.wificrmbr_guest.ipv6='0'
set network.wificrm_guest='interface'
set network.wificrm_guest.device='br-guest'
set network.wificrm_guest.proto='none'
set wireless.wificrm_guest_0='wifi-iface'
set wireless.wificrm_guest_0.device='radio0'
set wireless.wificrm_guest_0.mode='ap'
set wireless.wificrm_guest_0.network='wificrm_guest'
set wireless.wificrm_guest_0.ifname='guest-0'
set wireless.wificrm_guest_0.ssid='Cổng Wi-Fi'
set wireless.wificrm_guest_0.encryption='none'
set wireless.wificrm_guest_0.isolate='1'
set wireless.wificrm_guest_0.disassoc_low_ack='0'
set wireless.radio0.disabled='0'
set wireless.wificrm_guest_1='wifi-iface'
set wireless.wificrm_guest_1.device='radio1'
set wireless.wificrm_guest_1.mode='ap'
set wireless.wificrm_guest_1.network='wificrm_guest'
set wireless.wificrm_guest_1.ifname='guest-1'
set wireless.wificrm_guest_1.ssid='Cổng Wi-Fi'
set wireless.wificrm_guest_1.encryption='none'
set wireless.wificrm_guest_1.isolate='1'
set wireless.wificrm_guest_1.disassoc_low_ack='0'
""",
    ),
    "two networks": (
        TWO,
        """\
set network.wificrmbr_guest='device'
set network.wificrmbr_guest.name='br-guest'
set network.wificrmbr_guest.type='bridge'
set network.wificrmbr_guest.bridge_empty='1'
set network.wificrm_guest='interface'
set network.wificrm_guest.device='br-guest'
set network.wificrm_guest.proto='static'
set network.wificrm_guest.ipaddr='192.168.50.1/24'
set network.wificrm_guest.ip6addr='fd50:7c3a:1::1/64'
set dhcp.wificrm_guest='dhcp'
set dhcp.wificrm_guest.interface='wificrm_guest'
set dhcp.wificrm_guest.ignore='1'
set dhcp.wificrm_guest.dhcpv4='disabled'
set dhcp.wificrm_guest.dhcpv6='disabled'
set dhcp.wificrm_guest.ra='disabled'
set dhcp.wificrm_guest.ndp='disabled'
add_list dhcp.@dnsmasq[0].notinterface='br-guest'
set wireless.wificrm_guest_0='wifi-iface'
set wireless.wificrm_guest_0.device='radio1'
set wireless.wificrm_guest_0.mode='ap'
set wireless.wificrm_guest_0.network='wificrm_guest'
set wireless.wificrm_guest_0.ifname='guest-0'
set wireless.wificrm_guest_0.ssid='It'\\''s free'
set wireless.wificrm_guest_0.encryption='none'
set wireless.wificrm_guest_0.isolate='1'
set wireless.wificrm_guest_0.disassoc_low_ack='0'
add_list wificrm.guest.hostapd='/var/run/hostapd/guest-0'
set wireless.wificrm_guest_1='wifi-iface'
set wireless.wificrm_guest_1.device='radio1'
set wireless.wificrm_guest_1.mode='ap'
set wireless.wificrm_guest_1.network='wificrm_guest'
set wireless.wificrm_guest_1.ifname='guest-1'
set wireless.wificrm_guest_1.ssid='Wi-Fi "2"'
set wireless.wificrm_guest_1.encryption='none'
set wireless.wificrm_guest_1.isolate='1'
set wireless.wificrm_guest_1.disassoc_low_ack='0'
add_list wificrm.guest.hostapd='/var/run/hostapd/guest-1'
set network.wificrmbr_desks='device'
set network.wificrmbr_desks.name='br-d'
set network.wificrmbr_desks.type='bridge'
add_list network.wificrmbr_desks.ports='lan3'
set network.wificrmbr_desks.bridge_empty='1'
set network.wificrm_desks='interface'
set network.wificrm_desks.device='br-d'
set network.wificrm_desks.proto='static'
set network.wificrm_desks.ipaddr='192.168.51.1/24'
set dhcp.wificrm_desks='dhcp'
set dhcp.wificrm_desks.interface='wificrm_desks'
set dhcp.wificrm_desks.ignore='1'
set dhcp.wificrm_desks.dhcpv4='disabled'
set dhcp.wificrm_desks.dhcpv6='disabled'
set dhcp.wificrm_desks.ra='disabled'
set dhcp.wificrm_desks.ndp='disabled'
add_list dhcp.@dnsmasq[0].notinterface='br-d'
set wireless.wificrm_desks_0='wifi-iface'
set wireless.wificrm_desks_0.device='radio1'
set wireless.wificrm_desks_0.mode='ap'
set wireless.wificrm_desks_0.network='wificrm_desks'
set wireless.wificrm_desks_0.ifname='desks-0'
set wireless.wificrm_desks_0.ssid='Desks'
set wireless.wificrm_desks_0.encryption='none'
set wireless.wificrm_desks_0.isolate='1'
set wireless.wificrm_desks_0.disassoc_low_ack='0'
add_list wificrm.desks.hostapd='/var/run/hostapd/desks-0'
set wireless.wificrm_desks_0.owe_transition_ifname='desks-1'
set wireless.wificrm_desks_1='wifi-iface'
set wireless.wificrm_desks_1.device='radio1'
set wireless.wificrm_desks_1.mode='ap'
set wireless.wificrm_desks_1.network='wificrm_desks'
set wireless.wificrm_desks_1.ifname='desks-1'
set wireless.wificrm_desks_1.ssid='desks-owe-1'
set wireless.wificrm_desks_1.encryption='owe'
set wireless.wificrm_desks_1.isolate='1'
set wireless.wificrm_desks_1.disassoc_low_ack='0'
add_list wificrm.desks.hostapd='/var/run/hostapd/desks-1'
set wireless.wificrm_desks_1.ieee80211w='2'
set wireless.wificrm_desks_1.hidden='1'
set wireless.wificrm_desks_1.owe_transition_ifname='desks-0'
set firewall.wificrm_zone='zone'
set firewall.wificrm_zone.name='wificrm'
set firewall.wificrm_zone.input='REJECT'
set firewall.wificrm_zone.output='ACCEPT'
set firewall.wificrm_zone.forward='REJECT'
add_list firewall.wificrm_zone.network='wificrm_guest'
add_list firewall.wificrm_zone.network='wificrm_desks'
set firewall.wificrm_include='include'
set firewall.wificrm_include.type='script'
set firewall.wificrm_include.path='/usr/share/wificrm/firewall'
set firewall.wificrm_include.fw4_compatible='1'
""",
    ),
}


def fails(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize("which", PRINTED)
def test_print_is_what_apply_does(tmp_path: Path, which: str):
    text, golden = PRINTED[which]
    router = Router(tmp_path, text)
    before = router.texts()
    printed = router.setup("print")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == golden
    assert router.texts() == before
    assert not list(router.staged.glob("*"))

    assert router.setup("apply").returncode == 0
    applied = router.shown()
    (tmp_path / "other").mkdir()
    other = Router(tmp_path / "other", text)
    other.batch(golden)
    assert other.shown() == applied


@pytest.mark.parametrize("which", PRINTED)
def test_twice_is_once_and_removing_leaves_what_was_there(tmp_path: Path, which: str):
    router = Router(tmp_path, PRINTED[which][0])
    before = router.shown()
    assert router.setup("apply").returncode == 0
    once = router.texts()
    assert router.shown() != before
    assert router.setup("apply").returncode == 0
    assert router.texts() == once
    assert not router.uci("changes", "network")
    assert router.setup("remove").returncode == 0
    now_on = [line.replace("radio0.disabled='1'", "radio0.disabled='0'") for line in before]
    assert router.shown() == (now_on if which == "access-point" else before)
    assert "hostapd" not in router.texts()["wificrm"]
    assert router.setup("remove").returncode == 0
    assert router.said().count("reload_config") == 4


def test_a_router_without_radios_serves_its_ports(tmp_path: Path):
    router = Router(tmp_path, HALL)
    (router.configs / "wireless").unlink()
    assert router.setup("apply").returncode == 0
    assert "network.wificrmbr_guest.ports='lan4.20'" in router.uci("show", "network")
    assert "wificrm_zone" in router.texts()["firewall"]
    assert router.setup("remove").returncode == 0
    assert "wificrm" not in router.uci("show", "network")


def test_a_port_that_is_not_there_is_told_and_stops_nothing(tmp_path: Path):
    """The cable's access points would have been left without addresses, and nothing would have said why."""
    router = Router(tmp_path, ACCESS_POINT.replace("'lan4.20'", "'lan4 lan5'"))
    assert "guest: there is no port lan4 lan5: ls /sys/class/net" in fails(router.setup("check"))
    assert router.setup("apply").returncode == 0, "it may be a USB adapter that comes later"
    right = Router(tmp_path / "right", ACCESS_POINT)
    assert right.setup("check").stdout == "nothing to complain of\n"


def test_a_service_whose_settings_are_new_to_the_router_is_woken(tmp_path: Path):
    """reload_config tells only of changes in files that it knows; with routers alone nothing else changes."""
    router = Router(tmp_path, MAIN + "config router 'hall2'\n")
    script = router.root / "etc/hotplug.d/iface/90-wificrm"
    script.parent.mkdir(parents=True)
    script.symlink_to(SCRIPTS / "wificrm.hotplug")
    assert router.setup("apply").returncode == 0
    assert [line.partition(" {")[0] for line in router.said()] == ["reload_config", "ubus call service event"]


def test_what_uci_refuses_changes_nothing(tmp_path: Path):
    router = Router(tmp_path, HALL)
    (router.configs / "dhcp").unlink()
    before = router.texts()
    assert "nothing was changed; uci says:" in fails(router.setup("apply"))
    assert router.texts() == before
    assert not router.uci("changes", "network")
    assert "reload_config" not in router.said()


def test_a_radio_that_was_switched_off_since_is_switched_on_again(tmp_path: Path):
    router = Router(tmp_path, HALL)
    router.setup("apply")
    router.batch("set wireless.radio0.disabled='1'\n")
    assert router.setup("apply").returncode == 0, "our own cells are open, and meant to be"
    assert router.uci("get", "wireless.radio0.disabled") == "0\n"


def test_what_no_longer_is_a_network_goes_with_the_next_apply(tmp_path: Path):
    router = Router(tmp_path, TWO)
    router.setup("apply")
    router.uci("delete", "wificrm.desks")
    router.uci("commit", "wificrm")
    assert router.setup("apply").returncode == 0
    assert not [line for line in router.shown() if "desks" in line or "br-d'" in line]
    assert [line for line in router.shown() if "notinterface" in line] == [
        "dhcp.@dnsmasq[0].notinterface='tun0' 'br-guest'"
    ]


@pytest.mark.parametrize(
    ("wan", "device"),
    [({}, "eth1"), ({"proto": "pppoe"}, "pppoe-wan"), ({"proto": "dhcp", "device": "eth0.2"}, "eth0.2")],
)
def test_the_way_to_the_internet_is_written_down_once(tmp_path: Path, wan: dict[str, str], device: str):
    router = Router(tmp_path, HALL.replace("\tlist port 'lan4.20'\n", "\tlist radio 'radio1'\n"))
    for key, value in wan.items():
        router.uci("set", f"network.wan.{key}={value}")
    router.uci("commit", "network")
    assert router.setup("apply").returncode == 0
    assert router.uci("get", "wificrm.uplink.interface") == f"{device}\n"
    router.uci("set", "wificrm.uplink.interface=eth7")
    router.uci("commit", "wificrm")
    assert router.setup("apply").returncode == 0
    assert router.uci("get", "wificrm.uplink.interface") == "eth7\n"


def test_a_way_to_the_internet_that_is_another_since_is_told(tmp_path: Path):
    router = Router(tmp_path, HALL)
    assert router.setup("apply").returncode == 0
    router.batch("set network.wan.proto='pppoe'\n")
    assert "is pppoe-wan, not eth1 below it" in fails(router.setup("check"))
    router.batch("set wificrm.uplink.interface='pppoe-wan'\n")
    assert router.setup("apply").returncode == 0


WRONG = {
    "a mode": (("set", "wificrm.main.mode=repeater"), "expected access-point or gateway"),
    "a name": (("set", "wificrm.Big=network"), "Big: a network has a name of its own"),
    "a long name": (("set", "wificrm.a234567890123=network"), "of at most 12 small letters"),
    "a port of others": (
        ("add_list", "wificrm.guest.port=lan2"),
        "port lan2 belongs to another bridge: uci del_list network.@device[0].ports='lan2'",
    ),
    "a bridge of others": (
        ("set", "network.wan.device=br-guest"),
        "network.wan.device uses br-guest already: give guests a bridge of their own, as in uci set wificrm.guest.",
    ),
    "a bridge without users": (
        ("set", "network.@device[0].name=br-guest"),
        "network.@device[0].name uses br-guest",
    ),
    "a radio": (("add_list", "wificrm.guest.radio=radio9"), "there is no radio radio9"),
    "a long SSID": (("add_list", f"wificrm.guest.ssid={'ộ' * 11}"), "is longer than 32 bytes"),
    "an open office": (
        ("delete", "wireless.default_radio0.encryption"),
        "radio0 is off; switched on, it would also offer wireless.default_radio0 without a password",
    ),
    "no OWE": (("set", "wificrm.guest.owe=1"), "this hostapd knows no OWE: install wpad-mbedtls"),
    "offload": (("set", "firewall.@defaults[0].flow_offloading=1"), "so that no grant would end"),
    "no uplink": (("set", "network.wan.proto=wireguard"), "name the device, as in uci set"),
    "no storage": (("delete", "wificrm.main.storage"), "no storage is named"),
    "a strange storage": (("set", "wificrm.main.storage=/mnt/it's"), "has more than letters, digits and"),
    "no network": (("delete", "wificrm.guest"), "no network is described"),
    "a name of another section": (("set", "wificrm.watch=network"), "watch: this name is another section's"),
    "an uplink without a name": (("add", "wificrm", "uplink"), "write config uplink 'uplink'"),
    "offload, in words": (("set", "firewall.@defaults[0].flow_offloading=yes"), "so that no grant would end"),
    "OWE, in words": (("set", "wificrm.guest.owe=true"), "this hostapd knows no OWE"),
    "OWE, in other words": (("set", "wificrm.guest.owe=ja"), "wificrm.guest.owe: expected 1 or 0, not 'ja'"),
    "a watch": (("set", "wificrm.main.watch=nein"), "wificrm.main.watch: expected 1 or 0, not 'nein'"),
    "an option": (("set", "wificrm.main.wacth=0"), "wificrm.main.wacth: there is no such setting"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_wrong_is_told_and_nothing_is_changed(tmp_path: Path, which: str):
    router = Router(tmp_path, HALL)
    router.program("hostapd", "exit 1")
    change, sentence = WRONG[which]
    router.uci(*change)
    router.uci("commit")
    before = router.texts()
    assert sentence in fails(router.setup("check"))
    said = router.setup("apply")
    assert sentence in fails(said)
    assert all(line.startswith("wificrm-setup: ") for line in said.stderr.splitlines())
    assert router.texts() == before
    assert router.said() == []


def test_memory_is_no_storage(tmp_path: Path):
    router = Router(tmp_path, HALL)
    router.program("df", "echo; echo 'tmpfs 9 1 8 1% /tmp'")
    assert "/mnt/wificrm is in memory" in fails(router.setup("apply"))


def test_what_uci_cannot_read_is_not_taken_for_empty(tmp_path: Path):
    router = Router(tmp_path, HALL)
    router.program(
        "uci", "case $* in *-q*) ;; *) echo 'uci: Parse error at line 3, byte 4' >&2 ;; esac; exit 1"
    )
    for verb in ("check", "apply", "remove"):
        assert "/etc/config/wificrm: uci: Parse error at line 3, byte 4" in fails(router.setup(verb))
    assert router.said() == []


@pytest.mark.parametrize("place", ["/", "/overlay"])
def test_what_a_sysupgrade_wipes_is_no_storage(tmp_path: Path, place: str):
    router = Router(tmp_path, HALL)
    router.program("df", f"echo; echo 'overlayfs:/overlay 9 1 8 1% {place}'")
    for verb in ("check", "install"):
        assert "/mnt/wificrm is in the router's own flash, which a sysupgrade" in fails(router.setup(verb))
    assert first_boot(router) == 0, "when disks are not mounted yet"
    assert "wificrm_guest" in router.texts()["network"]


@pytest.mark.parametrize("word", ["on", "true", "yes", "enabled"])
def test_on_may_be_said_as_anywhere_in_uci(tmp_path: Path, word: str):
    router = Router(tmp_path, HALL.replace("enabled '1'", f"enabled '{word}'"))
    router.batch(f"set wireless.radio0.disabled='{word}'\n")
    assert first_boot(router) == 0
    assert router.uci("get", "wireless.radio0.disabled") == "0\n"


def test_removing_takes_the_backup_of_the_night_away(tmp_path: Path):
    router = Router(tmp_path, HALL)
    crontab = router.root / "etc/crontabs/wificrm"
    crontab.write_text("30 3-23 * * * true\n")
    (crontab.parent / "root").write_text("0 5 * * * reboot\n")
    assert router.setup("apply").returncode == router.setup("remove").returncode == 0
    assert [each.name for each in crontab.parent.iterdir()] == ["root"]
    assert router.setup("remove").returncode == 0
    assert router.said().count("cron restart") == 1


@pytest.mark.parametrize("verb", ["apply", "remove"])
def test_what_somebody_else_has_not_committed_is_not_committed_for_them(tmp_path: Path, verb: str):
    router = Router(tmp_path, HALL)
    before = router.texts()
    router.uci("set", "network.lan.ipaddr=192.168.9.1")
    assert "network has changes that nobody has committed" in fails(router.setup(verb))
    assert router.texts() == before


def test_who_takes_no_part_is_left_alone(tmp_path: Path):
    router = Router(tmp_path, HALL.replace("enabled '1'", "enabled '0'"))
    before = router.texts()
    assert "enabled is 0" in fails(router.setup("apply"))
    assert router.texts() == before


def test_a_box_for_routers_elsewhere_needs_no_network(tmp_path: Path):
    router = Router(tmp_path, MAIN + "config router 'hall2'\n")
    assert router.setup("apply").returncode == 0
    assert not [line for line in router.shown() if "wificrm" in line]


def test_check_says_what_is_missing_until_nothing_is(tmp_path: Path):
    router = Router(tmp_path, HALL)
    library = router.root / "usr/lib/wificrm/requirements.lock"
    library.parent.mkdir(parents=True)
    library.write_text("aiohttp==1\n")
    assert fails(router.setup("check")) == "the libraries are not on /mnt/wificrm: wificrm-setup install\n"
    python = router.root / "mnt/wificrm/python"
    python.mkdir(parents=True)
    router.program("python3", "echo '# cpython-311-x86_64-linux-musl'")
    (python / "requirements.lock").write_text("# cpython-311-x86_64-linux-musl\naiohttp==0\n")
    assert "are another release's" in fails(router.setup("check"))
    (python / "requirements.lock").write_text("# cpython-310-x86_64-linux-musl\naiohttp==1\n")
    assert "another Python's: wificrm-setup install" in fails(router.setup("check"))
    (python / "requirements.lock").write_text("# cpython-311-x86_64-linux-musl\naiohttp==1\n")
    refusal = "/etc/config/wificrm:5: wificrm.guest.lease: Expected `str`"
    router.recorder("wificrm", then=f"echo 'wificrm: {refusal}' >&2; exit 1")
    before = router.texts()
    assert fails(router.setup("check")) == f"{refusal}\n"
    assert fails(router.setup("apply")) == f"wificrm-setup: {refusal}\n"
    assert router.texts() == before, "no network for settings that the program would not take"
    router.recorder("wificrm", then="echo br-guest has no address")
    assert router.setup("check").stdout == "nothing to complain of\n", "before apply nothing is expected"
    router.setup("apply")
    assert fails(router.setup("check")) == "br-guest has no address\n"
    router.recorder("wificrm", then="echo nothing to complain of")
    assert router.setup("check").returncode == 0


def test_the_program_is_asked_about_a_portal_for_routers_alone_too(tmp_path: Path):
    router = Router(tmp_path, MAIN + "config router 'hall2'\n")
    router.program("python3", "echo '# here'")
    for folder, text in (("usr/lib/wificrm", ""), ("mnt/wificrm/python", "# here\n")):
        (router.root / folder).mkdir(parents=True)
        (router.root / folder / "requirements.lock").write_text(text)
    router.program("wificrm", "echo 'wificrm: wificrm.portal.prot: there is no such setting' >&2; exit 1")
    assert fails(router.setup("apply")) == "wificrm-setup: wificrm.portal.prot: there is no such setting\n"
    router.program("wificrm", "echo 'this box has no guests of its own' >&2")
    assert router.setup("apply").returncode == 0


PIP = """
while [ "$1" != --target ]; do shift; done
mkdir -p "$2"; : >"$2/library.py"; [ -d "$TMPDIR" ]
"""


def test_install_puts_the_libraries_on_the_storage(tmp_path: Path):
    router = Router(tmp_path, HALL)
    lock = router.root / "usr/lib/wificrm/requirements.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("aiohttp==1\n")
    storage = router.root / "mnt/wificrm"
    (lock.parent / "program.py").touch()
    python = f'case "$*" in *pip*) {PIP} ;; *) exec {sys.executable} -B "$@" ;; esac'
    router.recorder("python3", then=python)
    done = router.setup("install")
    assert (done.returncode, done.stderr) == (0, "")
    assert {each.name for each in storage.iterdir()} == {"python", "pycache"}
    compiled = {each.name.partition(".")[0] for each in storage.rglob("*.pyc")}
    assert compiled == {"library", "program"}, "no start compiles anything"
    assert not list(router.root.rglob("__pycache__"))
    assert (storage / "python/requirements.lock").read_text().splitlines()[1:] == ["aiohttp==1"]
    pip = next(call for call in router.said() if "pip install" in call)
    assert "--no-deps --only-binary :all: --no-compile" in pip
    assert f"chown wificrm:wificrm {storage}" in router.said()

    (storage / "crm.db").write_text("answers")
    (lock.parent / "program.py").write_text("new = True\n")
    (lock.parent / "more.py").touch()
    router.calls.write_text("")
    assert router.setup("install").returncode == 0
    assert not [call for call in router.said() if "pip" in call], "they fit; nothing is fetched"
    compiled = {each.name.partition(".")[0] for each in storage.rglob("*.pyc")}
    assert compiled == {"library", "program", "more"}, "a newer release starts as fast"

    lock.write_text("aiohttp==2\n")
    router.recorder("python3", then="exit 1")
    assert "what was there is still there" in fails(router.setup("install"))
    assert {each.name for each in storage.iterdir()} == {"python", "pycache", "crm.db"}
    assert (storage / "python/library.py").exists()

    router.program("chown", "exit 1")
    assert "use a disk with ext4 or f2fs" in fails(router.setup("install"))


@pytest.mark.parametrize("words", [[], ["up"]])
def test_wrong_usage_is_2(tmp_path: Path, words: list[str]):
    assert Router(tmp_path, HALL).run(SCRIPTS / "wificrm-setup", *words).returncode == 2


def first_boot(router: Router) -> int:
    return router.run(SCRIPTS / "90-wificrm").returncode


def test_the_first_boot_of_a_finished_image_sets_it_up_once(tmp_path: Path):
    router = Router(tmp_path, HALL)
    router.uci("set", "network.lan.ipaddr=192.168.9.1")  # another such script, not committed yet
    assert first_boot(router) == 0
    applied = router.texts()
    assert "wificrm_guest" in applied["network"]
    assert "192.168.9.1" in applied["network"]
    router.uci("set", "network.wificrm_guest.metric=5")
    assert first_boot(router) == 0
    assert router.texts() == applied


def test_the_first_boot_of_a_router_that_takes_no_part_changes_nothing(tmp_path: Path):
    router = Router(tmp_path, HALL.replace("enabled '1'", "enabled '0'"))
    before = router.texts()
    assert first_boot(router) == 0
    assert router.texts() == before


def test_addresses_left_out_are_the_settings_own(tmp_path: Path):
    script = (SCRIPTS / "wificrm-setup").read_text()
    config = (SCRIPTS / "wificrm.config").read_text()
    for key in ("address4", "address6"):
        default = re.search(rf"option \S+ {key} (\S+?)[)\"]", script)
        assert default
        assert f"#option {key} '{default.group(1)}'" in config, (
            "which is held to the settings' in test_uci.py"
        )
