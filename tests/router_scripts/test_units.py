"""The systemd units: taken by systemd, hardened as far as their work allows, with users that exist."""

import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "router_scripts" / "systemd"
GOLDEN = Path(__file__).parent / "golden"
UNITS = sorted(SYSTEMD.glob("*.service")) + sorted(SYSTEMD.glob("*.timer"))

EXPOSURE = {
    "wificrm": 1.1,
    "wificrm-backup": 1.1,
    "wificrm-gate": 1.2,
    "wificrm-advertise": 1.3,
    "wificrm-watch": 1.6,
    "wificrm-gateway": 3.1,  # root, who may write kernel parameters
    "wificrm-mend": 3.1,
}
"""What ``systemd-analyze security`` makes of each, from 0 (can do nothing) to 10; the portal's must be under 2."""


def needs(program: str) -> pytest.MarkDecorator:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    return pytest.mark.skipif(not found, reason=f"{program} is not installed")


def directives(name: str) -> dict[str, str]:
    lines = (SYSTEMD / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@needs("systemd-analyze")
def test_the_units_verify(tmp_path: Path):
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/bin/wificrm", "/bin/true"))
    paths = [tmp_path / path.name for path in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs("systemd-analyze")
@pytest.mark.parametrize(
    "path", [path for path in UNITS if path.suffix == ".service"], ids=lambda path: path.stem
)
def test_the_units_are_hardened(path: Path):
    threshold = f"--threshold={EXPOSURE[path.stem] * 10:.0f}"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", threshold, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.strip().splitlines()[-1]


def test_the_portal_can_do_nothing_but_serve():
    portal = directives("wificrm.service")
    assert EXPOSURE["wificrm"] < 2
    assert portal["CapabilityBoundingSet"] == ""
    assert "AmbientCapabilities" not in portal
    assert portal["NoExecPaths"] == "/"
    assert "/var" not in portal["ExecPaths"]


@pytest.mark.parametrize(
    ("unit", "capability"),
    [("gate", "CAP_NET_ADMIN"), ("advertise", "CAP_NET_RAW"), ("watch", "CAP_NET_RAW")],
)
def test_one_capability_each_for_who_needs_one(unit: str, capability: str):
    has = directives(f"wificrm-{unit}.service")
    assert has["CapabilityBoundingSet"] == has["AmbientCapabilities"] == capability


@pytest.mark.parametrize(
    "name", [name for name in EXPOSURE if name not in ("wificrm-gateway", "wificrm-backup")]
)
def test_what_failed_often_is_started_again_all_the_same(name: str):
    has = directives(f"{name}.service")
    assert (has["Restart"], has["StartLimitIntervalSec"]) == ("always", "0")


def test_nobody_shares_a_user_with_who_reads_what_strangers_send():
    users = [
        directives(f"{name}.service")["User"] for name in EXPOSURE if "User" in directives(f"{name}.service")
    ]
    users.remove("wificrm")  # backups are the portal's own
    assert len({"root", *users}) == len(users) + 1


def test_the_gate_and_not_the_portal_may_speak_to_hostapd():
    made = (GOLDEN / "wifi-default.txt").read_text().splitlines()
    group = next(line.partition("=")[2] for line in made if line.startswith("ctrl_interface_group="))
    assert group == directives("wificrm-gate.service")["SupplementaryGroups"]
    portal = directives("wificrm.service")
    assert group not in (portal["Group"], portal.get("SupplementaryGroups"), portal["User"])


@needs("systemd-sysusers")
def test_every_user_and_group_that_a_unit_names_is_made(tmp_path: Path):
    folder = tmp_path / "usr/lib/sysusers.d"
    folder.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    shutil.copy(SYSTEMD / "wificrm.sysusers", folder / "wificrm.conf")
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    groups = dict(line.split(":")[0:3:2] for line in (tmp_path / "etc/group").read_text().splitlines())
    primary = {
        line.split(":")[0]: line.split(":")[3] for line in (tmp_path / "etc/passwd").read_text().splitlines()
    }
    for path in UNITS:
        has = directives(path.name)
        if "User" in has:
            assert primary[has["User"]] == groups["wificrm"] == groups[has["Group"]]
        assert set(has.get("SupplementaryGroups", "wificrm").split()) <= set(groups)


def test_the_folder_in_memory_is_not_for_everybody():
    (line,) = [
        line for line in (SYSTEMD / "wificrm.tmpfiles").read_text().splitlines() if not line.startswith("#")
    ]
    assert line.split() == ["d", "/run/wificrm", "0750", "root", "wificrm", "-"]
