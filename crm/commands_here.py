"""What to type on this box: Debian and OpenWrt install programs and run services by different words.

Only hints are made of it. A sentence that says *apt-get* to somebody at a router sends him looking for a program
that there is not.
"""

import shutil
from pathlib import Path

OPENWRT = Path("/etc/openwrt_release")
"""There on every OpenWrt, and nowhere else."""


def to_install(debian: str, openwrt: str) -> str:
    """How the package *debian* is installed, called *openwrt* there; OpenWrt 25.12 has apk in place of opkg."""
    if not OPENWRT.exists():
        return f"apt-get install {debian}"
    return f"{'apk add' if shutil.which('apk') else 'opkg install'} {openwrt}"


def to_start(unit: str) -> str:
    """How what systemd calls *unit* is started; OpenWrt has one service, and starts what of it does not run."""
    return "service wificrm start" if OPENWRT.exists() else f"systemctl start {unit}"


def to_restart(*units: str) -> str:
    """How all of *units* are started anew."""
    return "service wificrm restart" if OPENWRT.exists() else f"systemctl restart {' '.join(units)}"


def to_apply_settings() -> str:
    """How settings that were changed are taken up by all that runs; who is online stays online."""
    if OPENWRT.exists():
        return "service wificrm reload"
    return "systemctl reload-or-restart wificrm-gateway wificrm"


def to_read_log(unit: str) -> str:
    """How to see what *unit* said last."""
    return "logread -e wificrm" if OPENWRT.exists() else f"journalctl -u {unit} -n 50"


def to_see_radios() -> str:
    """How to see whether hostapd runs, and what it said last."""
    return "wifi status; logread -e hostapd" if OPENWRT.exists() else "systemctl status 'hostapd*'"
