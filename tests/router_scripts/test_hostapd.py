"""The Wi-Fi's configurations: what is made of wifi.conf, and what hostapd says of it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.router_scripts.recording import Recording

SCRIPTS = Path(__file__).parents[2] / "router_scripts"
SCRIPT = SCRIPTS / "hostapd" / "wificrm-hostapd"
GOLDEN = Path(__file__).parent / "golden"
HOSTAPD = shutil.which("hostapd", path="/usr/sbin:/usr/bin")
needs_hostapd = pytest.mark.skipif(not HOSTAPD, reason="hostapd is not installed: apt-get install hostapd")

TWO_RADIOS = """
radios=wlan0 wlx00c0ca123456
band.wlx00c0ca123456=5
networks=hall desks
networks.wlan0=hall
ssid.hall=Sảnh "A" $(id) \\n `id` 'x
ssid.desks = "  bàn  "
bridge.hall=br-hall
bridge.desks=br-desks
encryption.hall=transition
max_stations=64
isolate.desks=no
"""
CASES = {"wifi-default": "", "wifi-two-radios": TWO_RADIOS}
FIVE = "radios=wlan0\nband=5\n"


class Wifi:
    def __init__(self, folder: Path, text: str = "") -> None:
        self.root = folder / "root"
        self.config = folder / "wifi.conf"
        self.config.write_text(text)
        (self.root / "etc/hostapd").mkdir(parents=True)
        self.programs = Recording(folder)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.programs.run("/bin/sh", SCRIPT, "--config", self.config, *words)

    def on(self, verb: str) -> str:
        """*verb* on the root folder, which must work."""
        done = self.run(verb, "--root", str(self.root))
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.root / "etc/hostapd").iterdir()}


def rendered(folder: Path, text: str) -> dict[str, list[str]]:
    """{radio: the lines of its file}."""
    wifi = Wifi(folder, text)
    wifi.on("apply")
    return {name.removesuffix(".conf"): content.splitlines() for name, content in wifi.files.items()}


def read_by_hostapd(folder: Path, name: str, lines: list[str]) -> str:
    """What hostapd says of it; a second file that is not there ends it after reading the first."""
    path = folder / f"read-{name}.conf"
    path.write_text("\n".join(lines).replace("group=wificrm-gate", "group=0") + "\n")  # no such group here
    done = subprocess.run(
        [HOSTAPD or "", path, folder / "none"], capture_output=True, text=True, check=False, timeout=30
    )
    said = done.stdout + done.stderr
    read = f"Could not open configuration file '{folder}/none'" in said
    return "" if read and "Line " not in said else said


def test_further_networks_of_a_radio_have_addresses_of_their_own(tmp_path: Path):
    """Counted up by hostapd itself they need a radio whose address ends in zeros."""
    wifi = Wifi(tmp_path, TWO_RADIOS)
    for radio, address in (("wlan0", "a4:2b:b0:c1:d2:e3"), ("wlx00c0ca123456", "02:c0:ca:12:34:57")):
        folder = tmp_path / "sys/class/net" / radio
        folder.mkdir(parents=True)
        (folder / "address").write_text(f"{address}\n")
    done = wifi.programs.run(
        *("/bin/sh", SCRIPT, "--config", wifi.config, "print"), WIFICRM_SYS=str(tmp_path / "sys")
    )
    assert re.findall(r"^bss=(\S+)\nbssid=(\S+)$", done.stdout, re.MULTILINE) == [
        ("wlan0-1", "a2:2b:b0:c1:d2:e3"),
        ("x00c0ca123456-1", "06:c0:ca:12:34:57"),
        ("x00c0ca123456-2", "0a:c0:ca:12:34:57"),
    ]


@pytest.mark.parametrize("case", CASES)
def test_print_shows_what_was_read_and_agreed(tmp_path: Path, case: str):
    shown = Wifi(tmp_path, CASES[case]).run("print")
    assert (shown.returncode, shown.stdout) == (0, (GOLDEN / f"{case}.txt").read_text())


def test_the_example_names_every_key_and_its_default(tmp_path: Path):
    example = (SCRIPTS / "hostapd" / "wifi.conf").read_text()
    wifi = Wifi(tmp_path, example)
    untouched = wifi.run("print").stdout
    assert untouched == (GOLDEN / "wifi-default.txt").read_text()
    wifi.config.write_text(re.sub(r"^#([a-z_]+=)", r"\1", example, flags=re.MULTILINE))
    assert wifi.run("print").stdout == untouched
    parser = (SCRIPTS / "hostapd/settings.sh").read_text()
    known = re.findall(r"^\t([a-z0-9_ |]+)\) kind=", parser, flags=re.MULTILINE)
    assert {key for keys in known for key in keys.split(" | ")} == set(
        re.findall(r"^#([a-z_]+)=", example, flags=re.MULTILINE)
    )


@needs_hostapd
@pytest.mark.parametrize(
    "text",
    [
        *CASES.values(),
        "encryption=transition\n",
        "channel=auto\n",
        "width=40\nchannel=13\n",
        *(f"{FIVE}channel={channel}\n" for channel in ("auto", 36, 64, 100, 144, 149, 165)),
        f"{FIVE}width=40\nchannel=40\nnetworks=a b c d\nencryption=transition\n"
        + "".join(f"ssid.{name}={name}\nbridge.{name}=br-{name}\n" for name in "abcd"),
    ],
)
def test_hostapd_complains_of_none_that_we_make(tmp_path: Path, text: str):
    for radio, lines in rendered(tmp_path, text).items():
        assert read_by_hostapd(tmp_path, radio, lines) == ""


@needs_hostapd
def test_hostapd_would_complain_of_a_mistake_and_of_a_build_without_owe(tmp_path: Path):
    lines = rendered(tmp_path, "encryption=transition\n")["wlan0"]
    said = read_by_hostapd(tmp_path, "isolate", [*lines, "ap_isolation=1"])
    assert "unknown configuration item 'ap_isolation'" in said
    other = [line.replace("wpa_key_mgmt=OWE", "wpa_key_mgmt=OWF") for line in lines]
    assert "invalid key_mgmt 'OWF'" in read_by_hostapd(tmp_path, "owe", other)


@needs_hostapd
def test_hostapd_opens_the_network(tmp_path: Path):
    """As far as it can without a radio: no country to ask one about, no bridge to put it into."""
    lines = rendered(tmp_path, "ssid=Wi-Fi Miễn Phí\n")["wlan0"]
    left_out = r"^(country_code|ieee80211d|bridge|ctrl_interface\w*)="
    conf = tmp_path / "open.conf"
    conf.write_text(
        "\n".join(line for line in lines if not re.match(left_out, line)).replace(
            "driver=nl80211", "driver=none"
        )
        + f"\nctrl_interface={tmp_path}/control\n"
    )
    with subprocess.Popen([HOSTAPD or "", conf], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if "AP-ENABLED" in line:
                name = subprocess.run(
                    ["/usr/sbin/hostapd_cli", "-p", tmp_path / "control", "status"],
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout
                break
        process.terminate()
    assert "AP-ENABLED" in said
    assert "ssid[0]=Wi-Fi Mi\\xe1\\xbb\\x85n Ph\\xc3\\xad" in name


@pytest.mark.parametrize(
    ("channel", "width", "line"),
    [
        ("36", "80", "vht_oper_centr_freq_seg0_idx=42"),
        ("64", "80", "vht_oper_centr_freq_seg0_idx=58"),
        ("100", "80", "vht_oper_centr_freq_seg0_idx=106"),
        ("144", "80", "vht_oper_centr_freq_seg0_idx=138"),
        ("161", "80", "vht_oper_centr_freq_seg0_idx=155"),
        ("36", "40", "ht_capab=[HT40+]"),
        ("64", "40", "ht_capab=[HT40-]"),
        ("100", "40", "ht_capab=[HT40+]"),
        ("144", "40", "ht_capab=[HT40-]"),
        ("149", "40", "ht_capab=[HT40+]"),
        ("161", "40", "ht_capab=[HT40-]"),
    ],
)
def test_wide_channels_lie_where_the_standard_has_them(tmp_path: Path, channel: str, width: str, line: str):
    assert line in rendered(tmp_path, f"{FIVE}channel={channel}\nwidth={width}\n")["wlan0"]


def test_open_wifi_is_tied_to_its_encrypted_twin_both_ways(tmp_path: Path):
    lines = rendered(tmp_path, "encryption=transition\n")["wlan0"]
    split = next(number for number, line in enumerate(lines) if line.startswith("bss="))
    first, twin = lines[:split], lines[split:]
    assert {"interface=wlan0", "wpa=0", "auth_algs=1", "owe_transition_ifname=wlan0-1"} <= set(first)
    assert {"bss=wlan0-1", "wpa=2", "wpa_key_mgmt=OWE", "ieee80211w=2", "rsn_pairwise=CCMP"} <= set(twin)
    assert {"ignore_broadcast_ssid=1", "owe_transition_ifname=wlan0"} <= set(twin)
    for each in (first, twin):
        assert {"bridge=br-guest", "ap_isolate=1", "ctrl_interface_group=wificrm-gate"} <= set(each)


def test_names_of_interfaces_fit_and_differ(tmp_path: Path):
    text = "radios=wlx00c0ca123456 wlx00c0ca123457\nnetworks=a b c d\nencryption=transition\n" + "".join(
        f"ssid.{name}={name}\nbridge.{name}=br-{name}\n" for name in "abcd"
    )
    names = [
        line.partition("=")[2]
        for lines in rendered(tmp_path, text).values()
        for line in lines
        if line.startswith(("interface=", "bss="))
    ]
    assert len(names) == len(set(names)) == 16
    assert max(map(len, names)) == 15


@pytest.mark.parametrize(
    "ssid", ['quo"te', "back\\slash\\x41", "$(touch x) `id`", "Đặt lịch ở đây 32 byte!", "'", "#1", "a=b"]
)
def test_any_name_reaches_the_air_as_it_was_written(tmp_path: Path, ssid: str):
    lines = rendered(tmp_path, f"ssid={ssid}\n")["wlan0"]
    (name,) = [line.partition("=")[2] for line in lines if line.startswith("ssid2=")]
    assert bytes.fromhex(name).decode() == ssid
    assert [line for line in lines if line.startswith("ssid=")] == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ssid=" + "ă" * 16 + "x", "1: ssid: expected 1 to 32 bytes, not 33"),
        ("ssid=", "1: ssid: expected 1 to 32 bytes, not 0"),
        ("ssid=a\x01b", "1: ssid: expected a text without control characters"),
        ("\nssid=\udcff", "2: ssid: is not UTF-8"),
        ("name=x", "1: there is no key name"),
        ("ssid", "1: expected KEY=VALUE, not: ssid"),
        ("ssid=a\nssid=b", "2: ssid was said in line 1 already"),
        ("country.wlan0=VN", "1: country is for the whole box"),
        ("country=Vietnam", "1: country: expected two capital letters such as VN, not Vietnam"),
        ("radios=*", "1: radios: expected names with blanks between them, not *"),
        ("radios=a/b", "1: radios: expected names"),
        ("radios=wlan0 wlan0", "1: radios: one is named twice"),
        ("networks=Hall", "1: networks: Hall: expected a network.name"),
        ("band=6", "1: band: expected 2.4 or 5, not 6"),
        ("channel=36", "1: channel of wlan0: 2.4 GHz has auto 1 2 3"),
        ("band=5\nchannel=6", "2: channel of wlan0: 5 GHz has auto 36"),
        ("width=80", "1: width of wlan0: expected one of 20 40 MHz, not 80"),
        ("band=5\nchannel=165\nwidth=40", "3: width of wlan0: channel 165 stands alone"),
        ("encryption=wpa2", "1: encryption: expected open or transition, not wpa2"),
        ("isolate=1", "1: isolate: expected yes or no, not 1"),
        ("max_stations=2008", "1: max_stations: expected 1 to 2007, not 2008"),
        ("bridge=br guest", "1: bridge: expected an interface such as br-guest, not br guest"),
        ("channel.wlan7=1", "1: channel.wlan7: radios does not name wlan7"),
        ("ssid.hall=x", "1: ssid.hall: networks does not name hall"),
        ("networks=a b\nbridge.b=br-b", "0: ssid: a and b have the same"),
        ("networks=a b\nssid.b=b", "0: bridge: a and b have the same"),
        ("networks=a b c d e\nencryption=transition", "1: networks: 10 on wlan0"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_changes_nothing(tmp_path: Path, text: str, sentence: str):
    wifi = Wifi(tmp_path)
    wifi.config.write_bytes(text.encode("utf-8", "surrogateescape"))
    for verb in ("print", "check", "apply"):
        done = wifi.run(verb, "--root", str(wifi.root))
        assert done.returncode == 1
        assert f"{wifi.config}:{sentence}" in done.stderr
    assert wifi.files == {}


def test_no_settings_say_what_to_do(tmp_path: Path):
    wifi = Wifi(tmp_path)
    assert [wifi.run(word).returncode for word in ("fly", "--root", "sockets")] == [2, 2, 2]
    wifi.config.unlink()
    done = wifi.run("apply")
    assert (done.returncode, "copy the example wifi.conf there" in done.stderr) == (1, True)


@needs_hostapd
def test_check_names_what_is_not_there(tmp_path: Path):
    done = Wifi(tmp_path, "radios=lo wlan77\nbridge=br-none\n").run("check")
    assert done.returncode == 1
    assert "lo is no radio" in done.stdout
    assert "there is no interface wlan77" in done.stdout
    assert "there is no bridge br-none" in done.stdout
    assert "hostapd does not" not in done.stdout
    assert "Line" not in done.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [("", True), ("channel.wlan1=11\n", False), ("band.wlan1=5\n", False), ("channel=auto\n", False)],
)
def test_check_names_two_radios_on_one_channel(tmp_path: Path, text: str, told: bool):
    said = Wifi(tmp_path, f"radios=wlan0 wlan1\n{text}").run("check").stdout
    assert ("wlan1 is on a channel that another radio of this box has" in said) is told


def test_check_names_a_radio_that_is_switched_off(tmp_path: Path):
    wifi = Wifi(tmp_path)
    rfkill = tmp_path / "sys/class/net/wlan0/phy80211/rfkill3"
    rfkill.mkdir(parents=True)
    for soft, told in (("1", True), ("0", False)):
        (rfkill / "soft").write_text(f"{soft}\n")
        (rfkill / "hard").write_text("0\n")
        done = wifi.programs.run(
            "/bin/sh", SCRIPT, "check", "--config", wifi.config, WIFICRM_SYS=str(tmp_path / "sys")
        )
        assert ("wlan0 is switched off: rfkill unblock wifi" in done.stdout) is told


def test_what_hostapd_refuses_is_not_applied(tmp_path: Path):
    wifi = Wifi(tmp_path)
    wifi.programs.program("hostapd", "#!/bin/sh\necho \"Line 3: invalid '$1'\"\nexit 1\n")
    assert "Line 3: invalid '/etc/hostapd/wlan0.conf'" in wifi.run("check").stdout
    done = wifi.run("apply", "--root", str(wifi.root))
    assert (done.returncode, wifi.files) == (1, {})
    assert "hostapd does not take it, nothing was changed: Line 3" in done.stderr


def test_applied_twice_is_once_and_removing_leaves_what_was_there(tmp_path: Path):
    wifi = Wifi(tmp_path, "radios=wlan0 wlan1\n")
    before = {"other.conf": "interface=wlan9\n", "accept": "02:00:00:00:00:01\n"}
    for name, text in before.items():
        (wifi.root / "etc/hostapd" / name).write_text(text)
    first = wifi.on("apply")
    assert first.count("written") == 2
    assert '# network guest: hostapd = ["/run/hostapd/wlan0", "/run/hostapd/wlan1"]' in first
    once = wifi.files
    assert "written" not in wifi.on("apply")
    assert wifi.files == once
    assert set(wifi.programs.calls) == {
        f"systemctl --quiet --root={wifi.root} enable hostapd@{radio}" for radio in ("wlan0", "wlan1")
    }
    wifi.on("remove")
    assert wifi.files == before
    wifi.programs.forget()
    wifi.on("remove")
    assert (wifi.files, wifi.programs.calls) == (before, [])


def test_a_radio_that_is_no_longer_named_is_stopped(tmp_path: Path):
    wifi = Wifi(tmp_path, "radios=wlan0 wlan1\n")
    wifi.on("apply")
    wifi.config.write_text("radios=wlan1\n")
    wifi.programs.forget()
    assert "wlan0.conf deleted" in wifi.on("apply")
    assert set(wifi.files) == {"wlan1.conf"}
    assert f"systemctl --quiet --root={wifi.root} disable hostapd@wlan0" in wifi.programs.calls


def test_a_file_of_somebody_else_stops_everything(tmp_path: Path):
    wifi = Wifi(tmp_path, "radios=wlan0 wlan1\n")
    (wifi.root / "etc/hostapd/wlan1.conf").write_text("interface=wlan1\n")
    done = wifi.run("apply", "--root", str(wifi.root))
    assert "wlan1.conf is not ours, nothing was changed" in done.stderr
    assert (done.returncode, wifi.files) == (1, {"wlan1.conf": "interface=wlan1\n"})
    wifi.on("remove")
    assert wifi.files == {"wlan1.conf": "interface=wlan1\n"}


def test_another_hostapd_for_the_same_radio_is_told(tmp_path: Path):
    wifi = Wifi(tmp_path)
    (wifi.root / "etc/hostapd/hostapd.conf").write_text("interface=wlan0\n")
    assert (
        "hostapd.conf, which is not ours, has wlan0 too" in wifi.run("check", "--root", str(wifi.root)).stdout
    )
    (wifi.root / "etc/hostapd/hostapd.conf").write_text("interface=wlan00\n")
    assert "which is not ours" not in wifi.run("check", "--root", str(wifi.root)).stdout


def test_a_file_that_an_administrator_changed_stays(tmp_path: Path):
    wifi = Wifi(tmp_path)
    wifi.on("apply")
    path = wifi.root / "etc/hostapd/wlan0.conf"
    path.write_text(path.read_text() + "beacon_int=200\n")
    kept = wifi.files
    wifi.config.write_text("channel=11\n")
    assert "was changed by hand and stays" in wifi.on("apply")
    wifi.programs.forget()
    assert "was changed by hand and stays, its radio is off" in wifi.on("remove")
    assert wifi.programs.calls == [f"systemctl --quiet --root={wifi.root} disable hostapd@wlan0"]
    assert wifi.files == kept


def on_the_machine(wifi: Wifi, *words: str) -> subprocess.CompletedProcess[str]:
    """With /etc/hostapd of this machine replaced for the one process, as on a box where systemd runs."""
    script = 'mount --bind "$1" /etc/hostapd && shift && exec "$@"'
    return wifi.programs.run(
        *("unshare", "--mount", "sh", "-c", script, "sh", str(wifi.root / "etc/hostapd")),
        *("/bin/sh", str(SCRIPT), "--config", str(wifi.config), *words),
    )


@pytest.fixture
def mounted(tmp_path: Path) -> Wifi:
    wifi = Wifi(tmp_path)
    if not Path("/etc/hostapd").is_dir() or on_the_machine(wifi, "--help").returncode:
        pytest.skip("needs root, mount namespaces and hostapd")
    return wifi


def test_hostapd_is_started_anew_when_its_file_changed_only(mounted: Wifi):
    calls = []
    for text in ("", "", "channel=11\n"):
        mounted.config.write_text(text)
        assert on_the_machine(mounted, "apply").returncode == 0
        calls.append([call for call in mounted.programs.calls if "enable" not in call])
        mounted.programs.forget()
    assert calls == [
        ["systemctl restart hostapd@wlan0"],
        ["systemctl start hostapd@wlan0"],
        ["systemctl restart hostapd@wlan0"],
    ]
    on_the_machine(mounted, "remove")
    assert mounted.programs.calls == [
        "systemctl stop hostapd@wlan0",
        "systemctl --quiet disable hostapd@wlan0",
    ]


def test_a_radio_that_does_not_start_is_told(mounted: Wifi):
    mounted.programs.systemctl(fails="restart*wlan0")
    mounted.config.write_text("radios=wlan0 wlan1\n")
    done = on_the_machine(mounted, "apply")
    assert done.returncode == 1
    assert "hostapd@wlan0 did not start; journalctl -u hostapd@wlan0" in done.stderr
    assert "hostapd@wlan1" not in done.stderr
    assert "systemctl restart hostapd@wlan1" in mounted.programs.calls
