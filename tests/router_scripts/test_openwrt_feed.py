"""The feed's Makefiles, evaluated by GNU make with small stand-ins for what OpenWrt's build system includes.

They were also built once by hand with the build system itself; here it is enough that it would be told the same.
"""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from crm.version import VERSION
from tests.router_scripts.openwrt_router import ASH, needs_ash

ROOT = Path(__file__).parents[2]
FEED = ROOT / "router_scripts/openwrt/feed"
PACKAGES = ("wificrm", "wificrm-thin")
pytestmark = pytest.mark.skipif(
    not shutil.which("make"), reason="make is not installed: apt-get install make"
)

RULES = """
INCLUDE_DIR:=$(TOPDIR)/include
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600
CP:=cp -fpR
"""
PACKAGE = """
define BuildPackage
  $(eval $(Package/$(1)))
  $(foreach field,TITLE SECTION CATEGORY PKG_VERSION PKG_RELEASE,
    $(if $($(field)),,$(error Package/$(1) is missing the $(field) field)))
  $(foreach field,PKG_NAME PKG_VERSION PKGARCH DEPENDS CONFLICTS USERID,
    $(file >$(OUT)/$(field),$(strip $($(field)))))
  $(foreach part,conffiles postinst prerm description,
    $(file >$(OUT)/$(part),$(Package/$(1)/$(part))))
  install: ; $(Build/Prepare)
	$(Build/Configure)
	$(Build/Compile)
	$(call Package/$(1)/install,$(OUT)/root)
endef
"""


class Built:
    """What comes out for one package: its fields, control scripts and files."""

    def __init__(self, name: str, folder: Path) -> None:
        (folder / "include").mkdir()
        (folder / "rules.mk").write_text(RULES)
        (folder / "include/package.mk").write_text(PACKAGE)
        self.out = folder / "out"
        self.root = self.out / "root"
        self.root.mkdir(parents=True)
        words = ["make", "-s", "-r", f"TOPDIR={folder}", f"OUT={self.out}", "install"]
        done = subprocess.run(words, cwd=FEED / name, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")

    def text(self, name: str) -> str:
        return (self.out / name).read_text().strip()

    def files(self) -> dict[str, int]:
        """Each file with its mode."""
        return {
            f"/{each.relative_to(self.root)}": stat.S_IMODE(each.lstat().st_mode)
            for each in self.root.rglob("*")
            if not each.is_dir()
        }

    def control(self, script: str, folder: Path, **environment: str) -> list[str]:
        """Run postinst or prerm as opkg's functions do (sourced, in a shell of its own); what it called."""
        calls = folder / "calls"
        calls.write_text("")
        text = self.text(script).replace("/etc/init.d/", f"{folder}/init.d/")
        (folder / script).write_text(text)
        for name in ("init.d/wificrm", "init.d/wificrm-thin", "bin/wificrm-setup"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(
                f'#!/bin/sh\necho {Path(name).name} "$@" >>{calls}\n[ -z "$REFUSE" ]\n'
            )
            (folder / name).chmod(0o755)
        done = subprocess.run(
            [ASH, "ash", "-c", f"( . {folder / script} )"],
            env={"PATH": f"{folder}/bin:/usr/bin:/bin", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return calls.read_text().splitlines()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    return {name: Built(name, tmp_path_factory.mktemp(name)) for name in PACKAGES}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_for_every_router(built: dict[str, Built], name: str):
    package = built[name]
    assert package.text("PKG_NAME") == name
    assert package.text("PKG_VERSION") == VERSION
    assert package.text("PKGARCH") == "all"
    kept = {"wificrm": ["/etc/config/wificrm", "/etc/wificrm/"], "wificrm-thin": ["/etc/config/wificrm"]}
    assert package.text("conffiles").split() == kept[name], "what a sysupgrade keeps: certificate and key too"
    assert "/etc/config/wificrm" in package.files()
    other = next(each for each in PACKAGES if each != name)
    assert package.text("CONFLICTS") == other, "both own /etc/config/wificrm and the table"
    assert all(each.startswith("+") for each in package.text("DEPENDS").split())


def test_the_kernel_s_modules_that_the_program_asks_for_come_along(built: dict[str, Built]):
    """None of them is in OpenWrt's kernel itself: without veth the doctor can play no phone."""
    program = "".join(each.read_text() for each in (ROOT / "captive").rglob("*.py"))
    asked = {
        "type veth": "kmod-veth",
        "hook egress": "kmod-nft-netdev",
        "ct count": "kmod-nft-connlimit",
        "fib daddr": "kmod-nft-fib",
        "NETLINK_NETFILTER": "kmod-nf-conntrack-netlink",
    }
    assert [words for words in asked if words not in program] == []
    assert {f"+{module}" for module in asked.values()} <= set(built["wificrm"].text("DEPENDS").split())


def test_all_of_the_full_package_is_in_its_place(built: dict[str, Built]):
    files = built["wificrm"].files()
    outside = {path: mode for path, mode in files.items() if not path.startswith("/usr/lib/wificrm/")}
    assert outside == {
        "/etc/capabilities/wificrm-gate.json": 0o644,
        "/etc/capabilities/wificrm-raw.json": 0o644,
        "/etc/capabilities/wificrm.json": 0o644,
        "/etc/config/wificrm": 0o644,
        "/etc/hotplug.d/block/90-wificrm": 0o755,
        "/etc/hotplug.d/iface/90-wificrm": 0o755,
        "/etc/init.d/wificrm": 0o755,
        "/etc/uci-defaults/90-wificrm": 0o755,
        "/usr/bin/wificrm": 0o755,
        "/usr/sbin/wificrm-setup": 0o755,
        "/usr/share/nftables.d/chain-pre/forward/wificrm.nft": 0o644,
        "/usr/share/nftables.d/chain-pre/input/wificrm.nft": 0o644,
        "/usr/share/nftables.d/table-pre/wificrm.nft": 0o644,
        "/usr/share/wificrm/firewall": 0o755,
        "/usr/share/wificrm/nightly": 0o755,
        "/usr/share/wificrm/wificrm.config": 0o644,
    }
    init = (built["wificrm"].root / "etc/init.d/wificrm").read_text()
    used = set(re.findall(r"wificrm[a-z-]*\.json", init))
    assert {f"/etc/capabilities/{each}" for each in used} < set(files)


def test_the_program_is_whole_and_has_nothing_else(built: dict[str, Built]):
    listed = subprocess.run(
        ["git", "ls-files", "crm", "surveys", "campaigns", "captive"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    inside = {
        path.removeprefix("/usr/lib/wificrm/")
        for path in built["wificrm"].files()
        if path.startswith("/usr/lib/wificrm/")
    }
    assert {each for each in listed if (ROOT / each).exists()} | {"requirements.lock"} <= inside
    assert not [each for each in inside if "__pycache__" in each]
    packages = re.search(r"(?m)^include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages
    assert {each.split("/")[0] for each in inside} == {
        *re.findall(r'"(\w+)"', packages.group(1)),
        "requirements.lock",
    }


def test_the_users_are_those_that_the_processes_run_as(built: dict[str, Built]):
    users = {each.split("=")[0]: each.split(":")[1:] for each in built["wificrm"].text("USERID").split()}
    init = (built["wificrm"].root / "etc/init.d/wificrm").read_text()
    assert set(users) == set(re.findall(r"(?m)confined \w+ (\S+) ", init))
    assert {tuple(groups) for groups in users.values()} == {
        ("wificrm=5300",),
        ("wificrm=5300", "network=101"),
    }
    assert users["wificrm-gate"] == ["wificrm=5300", "network=101"], "hostapd's sockets are that group's"


def test_all_of_the_thin_package_is_in_its_place(built: dict[str, Built]):
    """As the thin router's own README says, but for what is not for OpenWrt."""
    expected = {}
    for line in (ROOT / "router_scripts/thin/README.md").read_text().splitlines():
        row = [each.strip() for each in line.strip("|").split("|")]
        if len(row) == 4 and re.fullmatch("0[0-7]{3}", row[2]) and row[3] != "elsewhere":
            place = re.match("`([^`]+)`", row[1])
            assert place
            expected[place.group(1)] = int(row[2], 8)
    assert len(expected) > 5
    files = built["wificrm-thin"].files()
    assert {path: files.get(path) for path in expected} == expected
    # Further parts that the scripts read.
    assert {path for path in files if path not in expected} <= {
        path for path in files if re.fullmatch(r"/usr/lib/wificrm/[a-z]+\.sh", path)
    }


@pytest.mark.parametrize("name", PACKAGES)
def test_no_script_is_complained_of(built: dict[str, Built], name: str):
    package = built[name]
    installed = [
        package.root / path.lstrip("/")
        for path, mode in package.files().items()
        if mode & 0o111 and not path.endswith((".py", ".cgi"))
    ]
    scripts = [each for each in installed if each.read_bytes().startswith(b"#!/bin/sh")]
    assert len(scripts) > 3
    assert {each for each in installed if each not in scripts} == set()
    for script in [*scripts, package.out / "postinst", package.out / "prerm"]:
        words = [
            "shellcheck",
            "--shell=dash",
            "--exclude=SC1091,SC3043",
            str(script),
        ]  # local; what it sources
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.stdout == ""


def uci(folder: Path, **options: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    cases = "".join(f"*{name}) echo '{value}' ;; " for name, value in options.items())
    (folder / "bin/uci").write_text(f'#!/bin/sh\ncase "$*" in {cases} *) exit 1 ;; esac\n')
    (folder / "bin/uci").chmod(0o755)


@needs_ash
@pytest.mark.parametrize("name", PACKAGES)
def test_a_first_installation_runs_nothing(built: dict[str, Built], tmp_path: Path, name: str):
    uci(tmp_path, enabled="0")
    assert built[name].control("postinst", tmp_path) == []


@needs_ash
@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("script", ["postinst", "prerm"])
def test_in_an_image_that_is_being_built_nothing_runs(
    built: dict[str, Built], tmp_path: Path, name: str, script: str
):
    uci(tmp_path, enabled="1", storage="/mnt")
    assert built[name].control(script, tmp_path, IPKG_INSTROOT="/somewhere") == []


@needs_ash
def test_an_upgrade_fetches_what_does_not_fit_any_more(built: dict[str, Built], tmp_path: Path):
    storage = tmp_path / "disk"
    uci(tmp_path, enabled="on", storage=str(storage))
    (storage / "python").mkdir(parents=True)
    package = built["wificrm"]
    assert package.control("prerm", tmp_path, PKG_UPGRADE="1") == []
    assert package.control("postinst", tmp_path, PKG_UPGRADE="1") == [
        "wificrm-setup install",
        "wificrm restart",
    ]
    assert package.control("postinst", tmp_path) == ["wificrm-setup install"], "as after a sysupgrade"
    assert (storage / "python").exists()


@needs_ash
def test_a_removal_leaves_only_what_was_answered(built: dict[str, Built], tmp_path: Path):
    storage = tmp_path / "disk"
    uci(tmp_path, enabled="1", storage=str(storage))
    (storage / "python").mkdir(parents=True)
    (storage / "crm.db").write_text("answers")
    assert built["wificrm"].control("prerm", tmp_path) == ["wificrm-setup remove"]
    assert [each.name for each in storage.iterdir()] == ["crm.db"]
    assert built["wificrm-thin"].control("prerm", tmp_path) == ["wificrm-thin remove"]
    assert built["wificrm-thin"].control("postinst", tmp_path, PKG_UPGRADE="1") == ["wificrm-thin restart"]


@needs_ash
def test_what_cannot_be_taken_away_keeps_the_package(built: dict[str, Built], tmp_path: Path):
    """Else guests' open Wi-Fi would stay, with nobody to serve it and nothing to take it away with."""
    storage = tmp_path / "disk"
    uci(tmp_path, enabled="1", storage=str(storage))
    (storage / "python").mkdir(parents=True)
    for name in PACKAGES:
        with pytest.raises(AssertionError):
            built[name].control("prerm", tmp_path, REFUSE="1")
    assert (storage / "python").exists()
