"""What Debian's own programs say of the files for Debian."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "router_scripts"
UNITS = sorted((SCRIPTS / "systemd").glob("wificrm*.service")) + sorted((SCRIPTS / "systemd").glob("*.timer"))
SHELL = sorted(
    path for path in SCRIPTS.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
)


def needs(program: str) -> pytest.MarkDecorator:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    return pytest.mark.skipif(not found, reason=f"{program} is not installed")


@needs("shellcheck")
@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(path: Path):
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_there_are_scripts_to_check():
    assert len(SHELL) >= 3


@pytest.fixture
def hostapd_conf(tmp_path: Path) -> Path:
    """The configuration for a machine without a radio."""
    text = (SCRIPTS / "hostapd" / "guest.conf").read_text()
    path = tmp_path / "guest.conf"
    text = re.sub(r"^driver=.*$", "driver=none", text, flags=re.MULTILINE)
    text = re.sub(r"^ctrl_interface=.*$", f"ctrl_interface={tmp_path}/control", text, flags=re.MULTILINE)
    text = text.replace("ctrl_interface_group=wificrm-gate", "ctrl_interface_group=0")  # no such group here
    path.write_text(re.sub(r"^bridge=.*\n", "", text, flags=re.MULTILINE))
    return path


def run_hostapd(path: Path) -> str:
    process = subprocess.Popen(
        [shutil.which("hostapd") or "/usr/sbin/hostapd", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=2)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate()
    return output


@needs("hostapd")
def test_hostapd_takes_its_configuration(hostapd_conf: Path):
    output = run_hostapd(hostapd_conf)
    assert "COUNTRY_UPDATE" in output  # where it waits for a radio
    assert "Line " not in output
    assert "error" not in output


@needs("hostapd")
def test_hostapd_opens_the_network_when_no_country_has_to_be_asked_of_a_radio(hostapd_conf: Path):
    text = re.sub(r"^(country_code|ieee80211d)=.*\n", "", hostapd_conf.read_text(), flags=re.MULTILINE)
    hostapd_conf.write_text(text)
    assert "AP-ENABLED" in run_hostapd(hostapd_conf)


@needs("hostapd")
def test_hostapd_would_complain_of_a_mistake(hostapd_conf: Path):
    hostapd_conf.write_text(hostapd_conf.read_text() + "ap_isolation=1\n")
    assert "unknown configuration item 'ap_isolation'" in run_hostapd(hostapd_conf)


def test_the_gate_and_not_the_portal_may_speak_to_hostapd():
    lines = (SCRIPTS / "hostapd" / "guest.conf").read_text().splitlines()
    group = next(line.partition("=")[2] for line in lines if line.startswith("ctrl_interface_group="))
    assert group == directives("wificrm-gate.service")["SupplementaryGroups"]
    portal = directives("wificrm.service")
    assert group not in (portal["Group"], portal.get("SupplementaryGroups"), portal["User"])
    assert f"u {group} " in (SCRIPTS / "systemd" / "wificrm.sysusers").read_text()  # and its group with it


def test_the_wifi_is_open_and_keeps_phones_apart():
    lines = (SCRIPTS / "hostapd" / "guest.conf").read_text().splitlines()
    assert {"wpa=0", "auth_algs=1", "ap_isolate=1"} <= set(lines)


@needs("systemd-analyze")
def test_the_units_verify(tmp_path: Path):
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/wificrm/bin/wificrm", "/bin/true"))
    paths = [tmp_path / path.name for path in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs("systemd-analyze")
@pytest.mark.parametrize("name", ["wificrm", "wificrm-gate", "wificrm-advertise"])
def test_the_units_are_hardened(name: str):
    path = SCRIPTS / "systemd" / f"{name}.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.strip().splitlines()[-1]


def directives(name: str) -> dict[str, str]:
    lines = (SCRIPTS / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_one_capability_for_gate_and_advertiser_and_none_for_the_portal():
    gate, portal = directives("wificrm-gate.service"), directives("wificrm.service")
    advertiser = directives("wificrm-advertise.service")
    assert gate["CapabilityBoundingSet"] == gate["AmbientCapabilities"] == "CAP_NET_ADMIN"
    assert advertiser["CapabilityBoundingSet"] == advertiser["AmbientCapabilities"] == "CAP_NET_RAW"
    assert portal["CapabilityBoundingSet"] == ""
    assert "AmbientCapabilities" not in portal
    assert len({"root", gate["User"], advertiser["User"], portal["User"]}) == 4


@needs("systemd-sysusers")
def test_the_users_are_made(tmp_path: Path):
    folder = tmp_path / "usr/lib/sysusers.d"
    folder.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    shutil.copy(SCRIPTS / "systemd" / "wificrm.sysusers", folder / "wificrm.conf")
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    groups = dict(line.split(":")[::2] for line in (tmp_path / "etc/group").read_text().splitlines())
    users = {
        line.split(":")[0]: line.split(":")[3] for line in (tmp_path / "etc/passwd").read_text().splitlines()
    }
    assert users["wificrm"] == users["wificrm-gate"] == users["wificrm-advertise"] == groups["wificrm"]


def test_the_folder_in_memory_is_not_for_everybody():
    (line,) = [
        line
        for line in (SCRIPTS / "systemd" / "wificrm.tmpfiles").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert line.split() == ["d", "/run/wificrm", "0750", "root", "wificrm", "-"]
