"""The installer: what it would write, what it leaves alone, what it takes back. Into a folder, nothing started."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crm.settings_file import parse_settings
from tests.router_scripts.recording import Recording

SCRIPTS = Path(__file__).parents[2] / "router_scripts"
SCRIPT = SCRIPTS / "debian" / "wificrm-setup"
GOLDEN = Path(__file__).parent / "golden"
PROGRAM = f'#!/bin/sh\ncd "{SCRIPTS.parent}" && exec "{sys.executable}" -m captive.cli "$@"\n'
CENTRE = ("--centre", 'Trung tâm "Một cửa" \\ Bến Đò', "--centre-en", "Ben Do One-Stop Centre")
WIFI = ("--uplink", "eth0", "--wifi", "wlan0", "--ssid", 'Sảnh "A"', *CENTRE)
CASES = {
    "setup-unit": ("--manager", "unit", *WIFI),
    "setup-networkd": (
        *("--manager", "networkd", "--uplink", "eth0", "--wifi", "none"),
        *("--guest-port", "eth1", "--guest-port", "eth2.20", *CENTRE),
    ),
    "setup-ifupdown": (
        *("--manager", "ifupdown", "--guest-port", "eth1", "--encryption", "transition", "--channel", "36"),
        *("--address4", "10.20.0.1/22", "--address6", "none", *WIFI),
    ),
    "setup-networkmanager": ("--manager", "networkmanager", "--guest-port", "eth1", *WIFI),
}
OTHERS = {
    "etc/network/interfaces": "source /etc/network/interfaces.d/*\niface eth0 inet dhcp\n",
    "etc/network/interfaces.d/office": "iface eth9 inet manual\n",
    "etc/systemd/network/20-wired.network": "[Match]\nName=*\n",
    "etc/systemd/system/other.service": "[Service]\nExecStart=/bin/true\n",
    "etc/NetworkManager/conf.d/other.conf": "[main]\n",
    "etc/hostapd/wlan9.conf": "interface=wlan9\n",
}
SETTINGS = """\
# our settings
state = "/run/wificrm"
[venue]
code = "P07"   # the district's number
  names = { vi = "Cũ", en = "Old" }
[uplink]
#interface = "eth7"
dns = ["9.9.9.9"]

[[network]]
name = "hall"
interface = "br-hall" # the "bridge" # in the 'hall'
walled_garden = [
  "dichvucong.gov.vn",
]
grant = { minutes = 30 }
[log]
level = "debug"
"""


class Box:
    """A root folder with the files of others in it, and radios as `sys` has them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.sys = folder / "root", folder / "sys"
        for name, text in OTHERS.items():
            self.write(name, text)
        self.programs = Recording(folder)
        self.before = self.files

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def radio(self, name: str) -> None:
        (self.sys / "class/net" / name / "phy80211").mkdir(parents=True)

    def run(self, *words: str) -> tuple[int, str, str]:
        done = self.programs.run(
            *("/bin/sh", str(SCRIPT), *words, "--root", str(self.root)), WIFICRM_SYS=str(self.sys)
        )
        return done.returncode, done.stdout, done.stderr

    def does(self, *words: str) -> str:
        code, out, err = self.run(*words)
        assert (code, err) == (0, ""), err
        return out

    def refuses(self, *words: str) -> str:
        code, _, err = self.run(*words)
        assert code == 1, err
        return err

    @property
    def files(self) -> dict[str, str]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_text() for path in found}

    @property
    def settings(self) -> str:
        return (self.root / "etc/wificrm/wificrm.toml").read_text()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_print_shows_what_was_read_and_agreed_and_writes_nothing(box: Box, case: str):
    shown = box.does("print", *CASES[case])
    assert shown == (GOLDEN / f"{case}.txt").read_text()
    assert box.files == box.before


@pytest.mark.parametrize("case", CASES)
def test_apply_writes_what_print_shows(box: Box, case: str):
    shown = box.does("print", *CASES[case])
    box.does("apply", *CASES[case])
    for name, text in box.files.items():
        if name not in box.before:
            body = text if "hostapd/" in name else text.partition("\n")[2]  # but for the mark
            assert f"# /{name}" in shown
            assert body in shown


@pytest.mark.parametrize("case", CASES)
def test_applied_twice_is_once_and_removing_leaves_what_was_there(box: Box, case: str):
    assert box.does("apply", *CASES[case]).count(" written") >= 3
    once = box.files
    assert " written" not in box.does("apply", *CASES[case])
    assert " written" not in box.does("apply")  # what was said before still holds
    assert box.files == once
    assert box.before.items() <= once.items()
    box.does("remove")
    assert box.files == box.before
    assert "deleted" not in box.does("remove")


@pytest.mark.parametrize("case", CASES)
def test_the_program_takes_the_settings(box: Box, case: str):
    box.does("apply", *CASES[case])
    settings = parse_settings(box.settings)
    assert settings.venue.names == {"vi": CENTRE[1], "en": CENTRE[3]}
    assert settings.uplink.interface == "eth0"
    (network,) = settings.networks
    four, six = (
        ("10.20.0.1/22", "")
        if "none" in CASES[case][8:] and "ifupdown" in case
        else (
            "192.168.50.1/24",
            "fd50:7c3a:1::1/64",
        )
    )
    assert (network.address4, network.address6) == (four, six)
    radios = {"setup-networkd": (), "setup-ifupdown": ("/run/hostapd/wlan0", "/run/hostapd/wlan0-1")}
    assert network.hostapd == radios.get(case, ("/run/hostapd/wlan0",))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_unit_verifies(box: Box):
    box.does("apply", *CASES["setup-unit"], "--guest-port", "eth1")
    unit = box.root / "etc/systemd/system/wificrm-bridge.service"
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_of_somebody_else_keep_all_but_our_keys(box: Box):
    box.write("etc/wificrm/wificrm.toml", SETTINGS)
    out = box.does("apply", *WIFI, "--bridge", "br-guest")
    lines = box.settings.splitlines()
    expected = SETTINGS.replace('"br-hall"', '"br-guest"').splitlines()
    expected[4] = '  names = { vi = "Trung tâm \\"Một cửa\\" \\\\ Bến Đò", en = "Ben Do One-Stop Centre" }'
    assert [line for line in lines if line in expected] == expected
    added = {line for line in lines if line not in expected}
    assert added == {
        'interface = "eth0"',
        'address4 = "192.168.50.1/24"',
        'address6 = "fd50:7c3a:1::1/64"',
        'hostapd = ["/run/hostapd/wlan0"]',
    }
    settings = parse_settings(box.settings)
    assert settings.networks[0].walled_garden == ("dichvucong.gov.vn",)
    assert settings.networks[0].hostapd == ("/run/hostapd/wlan0",)
    assert "networks=hall\n" in box.files["etc/wificrm/wifi.conf"]
    (copy,) = re.findall(r"as it was: (.*)\)", out)
    assert Path(copy).read_text() == SETTINGS
    assert " written" not in box.does("apply")
    said = box.does("remove")
    assert "wificrm.toml stays: it is not ours" in said
    assert box.settings.splitlines() == lines


def test_settings_that_were_added_to_by_hand_are_kept(box: Box):
    box.does("apply", *WIFI)
    box.write("etc/wificrm/wificrm.toml", box.settings + "[log]\nlevel = 'debug'\n")
    out = box.does("apply", "--uplink", "ppp0")
    assert "as it was: " in out
    assert box.settings.endswith("[log]\nlevel = 'debug'\n")
    assert parse_settings(box.settings).uplink.interface == "ppp0"
    assert "wificrm.toml was changed by hand and stays" in box.does("remove")
    assert "ppp0" in box.settings


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[uplink]\ninterface = """eth5\n"""\n', "uplink.interface goes over several lines; set it to"),
        ('[[network]]\nhostapd = [\n"/run/x"]\n', "network.hostapd goes over several lines"),
        ('[venue]\nlanguages=["vi", "km"]\nnames = { vi = "a=b, c", km = "c" }\n', "in other languages too"),
        ('uplink = { interface = "eth5" }\n', "these settings do not hold"),
        ("[venue\n", "these settings do not hold"),
    ],
)
def test_settings_that_cannot_be_edited_safely_are_left_alone(box: Box, text: str, sentence: str):
    box.programs.program("wificrm", PROGRAM)
    box.write("etc/wificrm/wificrm.toml", text)
    before = box.files
    assert sentence in box.refuses("apply", *WIFI)
    assert box.files == before


def test_several_networks_are_the_administrators(box: Box):
    text = '[uplink]\ninterface = "eth5"\n[[network]]\nname = "a"\n[[network]]\nname = "b"\n'
    box.write("etc/wificrm/wificrm.toml", text)
    code, _, err = box.run("apply", "--uplink", "eth0", "--wifi", "none")
    assert (code, "has several networks" in err) == (0, True)
    assert box.settings == text.replace("eth5", "eth0")
    wifi = "radios=wlan3\nnetworks=a b\nssid.a=A\nssid.b=B\nbridge.a=br-a\nbridge.b=br-b\n"
    box.write("etc/wificrm/wifi.conf", wifi)
    assert '# network b: hostapd = ["/run/hostapd/wlan0-1"]' in box.run("apply", "--wifi", "wlan0")[1]
    assert box.files["etc/wificrm/wifi.conf"] == wifi.replace("wlan3", "wlan0") + "country=VN\n"
    assert "bss=wlan0-1\nbridge=br-b\n" in box.files["etc/hostapd/wlan0.conf"]


def test_files_that_were_changed_by_hand_stay(box: Box):
    box.does("apply", *CASES["setup-networkd"])
    name = "etc/systemd/network/00-wificrm-bridge.network"
    changed = box.files[name].replace("RequiredForOnline=no", "RequiredForOnline=yes")
    box.write(name, changed)
    assert "bridge.network was changed by hand and stays" in box.does("apply", "--address4", "10.9.0.1/24")
    assert "bridge.network was changed by hand and stays" in box.does("remove")
    assert box.files[name] == changed


def test_who_keeps_the_bridge_may_change_and_cables_may_go(box: Box):
    box.does("apply", *CASES["setup-networkd"])
    box.does("apply", "--guest-port", "eth2")
    assert not [name for name in box.files if "eth1" in name]
    box.does("apply", "--manager", "ifupdown")
    assert not [name for name in box.files if "systemd/network/00-wificrm" in name]
    assert "eth2 master br-guest" in box.files["etc/network/interfaces.d/wificrm"]


def test_a_file_is_whole_on_the_disk_before_it_is_in_its_place_and_nobody_reads_it_before(box: Box):
    """A power cut soon after a rename leaves an empty file on many file systems; interfaces.d is read as a whole."""
    synced = box.root.parent / "synced"
    box.programs.program("sync", f'#!/bin/sh\necho "$1" >>"{synced}"\n')
    out = box.does("apply", *CASES["setup-ifupdown"])
    written = re.findall(r"^(/.*) written$", out, re.MULTILINE)
    assert len(written) >= 5
    hidden = [str(Path(name).with_name(f".{Path(name).name}.new")) for name in written]
    assert synced.read_text().splitlines() == [
        name if "/etc/hostapd/" not in name else name.replace("/.", "/") for name in hidden
    ]
    assert not [name for name in box.files if name.endswith(".new")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("line", ["", "[log]\n"], ids=["ours", "changed by hand"])
def test_who_may_read_the_settings_stays_as_it_was(box: Box, line: str):
    """They may hold a password; the portal, which is not root, reads them by their group."""
    box.does("apply", *WIFI)
    path = box.write("etc/wificrm/wificrm.toml", box.settings + line)
    path.chmod(0o640)
    os.chown(path, 0, 12345)
    box.does("apply", "--uplink", "ppp0")
    assert (path.stat().st_gid, path.stat().st_mode & 0o777) == (12345, 0o640)


def test_a_radio_is_given_up_by_naming_none(box: Box):
    box.radio("wlan0")
    box.does("apply", *WIFI)
    box.does("apply", "--wifi", "none")
    assert "etc/hostapd/wlan0.conf" not in box.files
    assert "hostapd = []" in box.settings
    for words in ((), ("--default",), ()):
        box.does("apply", *words)
        assert "etc/hostapd/wlan0.conf" not in box.files
    box.does("apply", "--wifi", "wlan1")
    assert parse_settings(box.settings).networks[0].hostapd == ("/run/hostapd/wlan1",)


def test_strings_in_single_quotes_are_read(box: Box):
    box.write("etc/wificrm/wificrm.toml", "[uplink]\ninterface = 'ppp0'\n")
    assert "towards Internet  ppp0" in box.does("print")


def test_the_first_start_of_the_package_asks_nothing_and_touches_no_settings(box: Box):
    box.radio("wlan0")
    out = box.does("apply", "--default")
    assert "radios            none" in out
    assert "radios            wlan0; WiFi Mien Phi" in box.does("print")  # what is proposed afterwards
    settings = parse_settings(box.settings)
    assert settings.networks[0].interface == "br-guest"
    assert "etc/wificrm/wifi.conf" not in box.files
    box.write("etc/wificrm/wificrm.toml", SETTINGS)
    box.does("apply", "--default")
    assert box.settings == SETTINGS
    assert "iface br-hall inet static" in box.files["etc/network/interfaces.d/wificrm"]


def test_the_radio_that_leads_to_the_internet_is_not_proposed_for_guests(box: Box):
    box.radio("wlan0")
    assert "radios            none" in box.does("print", "--uplink", "wlan0")
    box.radio("wlan1")
    assert "radios            wlan1; " in box.does("print", "--uplink", "wlan0")


def test_the_first_radio_is_proposed_and_ifupdown_found(box: Box):
    box.radio("wlp2s0")
    box.radio("wlp3s0")  # on the same channel the two would only be in each other's way
    out = box.does("print")
    assert "radios            wlp2s0; WiFi Mien Phi, open" in out
    assert "kept by ifupdown" in out
    (box.root / "etc/network/interfaces").unlink()
    assert "kept by the unit wificrm-bridge" in box.does("print")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--uplink", "eth0; reboot"), "--uplink: expected one interface"),
        (("--uplink", "eth0\nExecStart=/bin/true"), "one line without control characters, not: eth0?Exec"),
        (("--guest-port", "$(id)"), "--guest-port: expected an interface"),
        (("--uplink", "eth0", "--guest-port", "eth0"), "eth0 cannot be uplink or bridge and serve guests"),
        (("--address4", "192.168.50.1"), "--address4: expected such as 192.168.50.1/24"),
        (("--address6", "fe80::1%eth0/64"), "--address6: expected such as"),
        (("--manager", "netplan"), "--manager: expected networkd"),
        (("--ssid", "a\nnetworks=b"), "one line without control characters"),
        (("--centre", "a\n[gate]"), "one line without control characters"),
        (
            ("--wifi", "wlan0", "--ssid", "ă" * 17),
            "/etc/wificrm/wifi.conf:6: ssid: expected 1 to 32 bytes, not 34",
        ),
        (("--wifi", "wlan0", "--encryption", "wep"), "encryption: expected open or transition"),
        (("--wifi", "wlan0", "--channel", "15"), "channel of wlan0: 5 GHz has auto 36"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(box: Box, words: tuple[str, ...], sentence: str):
    assert sentence in box.refuses("apply", "--wifi", "none", *words)
    assert box.files == box.before


def test_wrong_usage(box: Box):
    for words in ((), ("fly",), ("apply", "--ssid"), ("print", "check")):
        assert box.programs.run("/bin/sh", SCRIPT, *words).returncode == 2


def test_on_a_terminal_it_asks_and_shows_before_it_does(box: Box):
    box.radio("wlan7")
    for each in ("eth3", "ppp0", "wlan7"):
        (box.sys / "class/net" / each / "device").mkdir(parents=True)
    answers = ["ppp0", "", "WiFi Bến Đò", "", "eth3", "Trung tâm", "", "", "no"]
    first = talk(box, answers)
    assert "Radios (none: access points only; found: wlan7) [wlan7]: " in first
    assert "Cables to access points (none, or names of interfaces; found: eth3) [none]: " in first
    assert "Name of the centre in English [Trung tâm]: " in first
    assert "nothing was changed" in first
    assert box.files == box.before
    talk(box, [*answers[:-1], "yes"])
    assert 'ssid="WiFi Bến Đò"\n' in box.files["etc/wificrm/wifi.conf"]
    settings = parse_settings(box.settings)
    assert (settings.uplink.interface, settings.venue.names["en"]) == ("ppp0", "Trung tâm")


def test_a_wrong_answer_is_told_and_asked_again_and_the_others_are_kept(box: Box):
    box.radio("wlan7")
    box.programs.program("wificrm", PROGRAM)
    wrong = ["ppp0", "", "ă" * 17, "", "eth3, eth4", "Trung tâm", "", "192.168.50.0"]
    better = ["", "", "Sảnh", "", "eth3 eth4", "", "", ""]
    nearly = ["", "", "", "", "", "", "", "192.168.50.0/24"]
    right = ["", "", "", "", "", "", "", "10.9.0.1/24", "Yes"]
    seen = talk(box, [*wrong, *better, *nearly, *right])
    for sentence in (
        "--guest-port: expected an interface such as eth1, not eth3, eth4",
        "--address4: expected such as 192.168.50.1/24, not 192.168.50.0",
        "192.168.50.0 is no address for a box but the network itself",
        "interfaces; found: ) [eth3 eth4]: ",
    ):
        assert sentence in seen
    assert "kept by" in seen
    assert 'ssid="Sảnh"\n' in box.files["etc/wificrm/wifi.conf"]
    assert parse_settings(box.settings).networks[0].address4 == "10.9.0.1/24"


@pytest.mark.parametrize("answers", [3, 8], ids=["at a question", "at the last"])
def test_who_leaves_in_the_middle_has_agreed_to_nothing(box: Box, answers: int):
    box.radio("wlan7")
    assert "nothing was changed" in talk(box, [*[""] * answers, "\x04"])
    assert box.files == box.before


def talk(box: Box, answers: list[str]) -> str:
    """`apply` on a terminal of its own; what stood on it."""
    child, terminal = pty.fork()
    if child == 0:
        environment = {
            "PATH": f"{box.programs.folder}:/usr/sbin:/usr/bin:/sbin:/bin",
            "WIFICRM_SYS": str(box.sys),
        }
        os.execve("/bin/sh", ["sh", str(SCRIPT), "apply", "--root", str(box.root)], environment)
    os.write(terminal, "".join(f"{answer}\n" for answer in answers).encode())
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    os.waitpid(child, 0)
    os.close(terminal)
    return seen.decode()
