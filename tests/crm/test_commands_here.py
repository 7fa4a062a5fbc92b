"""Hints name the programs that the box at hand has."""

import re
from pathlib import Path

import pytest

from crm import commands_here
from crm.commands_here import (
    to_apply_settings,
    to_install,
    to_read_log,
    to_restart,
    to_see_radios,
    to_start,
)

ROOT = Path(__file__).parents[2]


def hints() -> list[str]:
    return [
        to_install("dnsmasq-base", "dnsmasq-full"),
        to_start("wificrm-gate"),
        to_restart("wificrm-gateway", "wificrm"),
        to_apply_settings(),
        to_read_log("wificrm"),
        to_see_radios(),
    ]


def test_debian() -> None:
    assert hints() == [
        "apt-get install dnsmasq-base",
        "systemctl start wificrm-gate",
        "systemctl restart wificrm-gateway wificrm",
        "systemctl reload-or-restart wificrm-gateway wificrm",
        "journalctl -u wificrm -n 50",
        "systemctl status 'hostapd*'",
    ]


@pytest.mark.parametrize(("manager", "verb"), [("opkg", "opkg install"), ("apk", "apk add")])
def test_openwrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str, verb: str) -> None:
    (tmp_path / "openwrt_release").touch()
    (tmp_path / manager).touch(0o755)
    monkeypatch.setattr(commands_here, "OPENWRT", tmp_path / "openwrt_release")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hints() == [
        f"{verb} dnsmasq-full",
        "service wificrm start",
        "service wificrm restart",
        "service wificrm reload",
        "logread -e wificrm",
        "wifi status; logread -e hostapd",
    ]


def test_no_sentence_of_the_program_names_one_system_alone() -> None:
    told = re.compile(r"apt-get|systemctl|journalctl|opkg|\bapk\b|logread")
    elsewhere = {
        "crm/commands_here.py",
        "captive/commands/watch.py",  # scapy is among the libraries that OpenWrt gets
        "captive/doctor/routers.py",  # of a thin router elsewhere
        "captive/doctor/watch.py",  # asks systemd or uci, whichever this box has
    }
    found = {
        str(path.relative_to(ROOT))
        for package in ("captive", "crm", "surveys", "campaigns")
        for path in (ROOT / package).rglob("*.py")
        if told.search(path.read_text("utf-8"))
    }
    assert found == elsewhere
