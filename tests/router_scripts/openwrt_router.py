"""An OpenWrt router, as far as the scripts can tell: busybox ash, a stand-in for uci on real files, recorders."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.router_scripts import uci_stand_in

SCRIPTS = Path(__file__).parents[2] / "router_scripts" / "openwrt"
ASH = shutil.which("busybox") or ""
needs_ash = pytest.mark.skipif(not ASH, reason="busybox is not installed: apt-get install busybox")

CONFIGS = {
    "network": """
config interface 'lan'
	option device 'br-lan'
	option proto 'static'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'
	list ports 'lan2'

config interface 'wan'
	option device 'eth1'
	option proto 'dhcp'
""",
    "wireless": """
config wifi-device 'radio0'
	option band '2g'
	option disabled '1'

config wifi-device 'radio1'
	option band '5g'

config wifi-iface 'default_radio0'
	option device 'radio0'
	option network 'lan'
	option ssid 'Office'
	option encryption 'sae'

config wifi-iface 'default_radio1'
	option device 'radio1'
	option network 'lan'
	option ssid 'OpenWrt'
	option encryption 'none'
""",
    "dhcp": """
config dnsmasq
	option domainneeded '1'
	list notinterface 'tun0'

config dhcp 'lan'
	option interface 'lan'
""",
    "firewall": """
config defaults
	option syn_flood '1'
	option input 'REJECT'

config zone
	option name 'lan'
	list network 'lan'
""",
}
"""What is on a router before wificrm comes: the owner's own, to be left alone."""

APPLETS = "cat chmod cmp cp cut date df dirname grep head ln ls mkdir mktemp mv rm sed sh tr uname wc"
"""What of busybox the scripts may use: each is in OpenWrt's default configuration."""

REAL_UCI = os.environ.get("UCI_PROGRAM", "")
"""The real one in place of the stand-in, where somebody has built it."""


class Router:
    """A root folder with /etc/config, programs that record what they were asked, and busybox ash on top."""

    def __init__(self, folder: Path, wificrm: str) -> None:
        self.folder, self.root, self.calls = folder, folder / "root", folder / "calls"
        self.configs, self.staged = self.root / "etc/config", folder / "staged"
        for each in (
            self.configs,
            self.staged,
            folder / "bin",
            self.root / "var/run",
            self.root / "etc/crontabs",
            self.root / "sys/class/net/lan4",
        ):
            each.mkdir(parents=True)
        self.calls.touch()
        for name, text in {**CONFIGS, "wificrm": wificrm}.items():
            (self.configs / name).write_text(text)
        if REAL_UCI:
            self.program("uci", f'exec {REAL_UCI} -c {self.configs} -t {self.staged} "$@"')
        else:
            stand_in = f"{sys.executable} -IS {uci_stand_in.__file__}"
            self.program("uci", f'exec {stand_in} {self.configs} {self.staged} "$@"')
        (folder / "busybox").mkdir()
        for name in APPLETS.split():
            (folder / "busybox" / name).symlink_to(ASH)
        for name in ("chown", "hostapd", "logger", "ubus"):
            self.recorder(name)
        self.program("df", f"echo; echo '/dev/sda1 9 1 8 1% {self.root}/mnt'")
        self.recorder("reload_config", self.root / "sbin")
        self.recorder("cron", self.root / "etc/init.d")

    def program(self, name: str, text: str, folder: Path | None = None) -> None:
        path = (folder or self.folder / "bin") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def recorder(self, name: str, folder: Path | None = None, then: str = "") -> None:
        self.program(name, f'echo {name} "$@" >>{self.calls}\n{then}', folder)

    def run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}/bin:{SCRIPTS}:{self.folder}/busybox"
        around = {"PATH": path, "WIFICRM_ROOT": str(self.root)}
        return subprocess.run(
            [ASH, "ash", *words], capture_output=True, text=True, check=False, env={**around, **environment}
        )

    def setup(self, verb: str) -> subprocess.CompletedProcess[str]:
        return self.run(SCRIPTS / "wificrm-setup", verb)

    def uci(self, *words: str) -> str:
        return self.run("-c", 'uci "$@"', "uci", *words).stdout

    def batch(self, text: str) -> None:
        """Say all of *text* to uci, and commit it."""
        done = self.run("-c", "printf '%s' \"$1\" | uci batch && uci commit", "batch", text)
        assert (done.returncode, done.stderr) == (0, "")

    def said(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def texts(self) -> dict[str, str]:
        """All that is configured, as uci has written it."""
        return {each.name: each.read_text().strip() for each in sorted(self.configs.iterdir())}

    def shown(self) -> list[str]:
        return [line for name in sorted(CONFIGS) for line in self.uci("show", name).splitlines()]
