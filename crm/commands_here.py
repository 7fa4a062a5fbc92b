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


def to_read_log(unit: str) -> str:
    """How to see what *unit* said last."""
    return "logread -e wificrm" if OPENWRT.exists() else f"journalctl -u {unit}"
