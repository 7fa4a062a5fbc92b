"""What Debian's own programs say of the files for Debian."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "router_scripts"
GOLDEN = Path(__file__).parent / "golden"
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


def test_the_gate_and_not_the_portal_may_speak_to_hostapd():
    made = (GOLDEN / "wifi-default.txt").read_text().splitlines()
    group = next(line.partition("=")[2] for line in made if line.startswith("ctrl_interface_group="))
    assert group == directives("wificrm-gate.service")["SupplementaryGroups"]
    portal = directives("wificrm.service")
    assert group not in (portal["Group"], portal.get("SupplementaryGroups"), portal["User"])
    assert f"u {group} " in (SCRIPTS / "systemd" / "wificrm.sysusers").read_text()  # and its group with it


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
