"""Whether somebody looks out for rogue servers, where that is wanted."""

import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from captive.box.resolver import find_program
from captive.doctor.finding import Finding, Notes
from captive.metrics.disk import SIGN_OF_LIFE
from captive.watch.state_file import state_path
from crm.commands_here import OPENWRT, to_read_log, to_start
from crm.settings import Settings
from crm.uci import WORDS

WHAT, UNIT = "watch", "wificrm-watch"
PATIENCE = 10.0
"""Seconds that the system may take to say what it is told to start."""


def look_at_watch(settings: Settings) -> list[Finding]:
    """By the file that it writes once a minute at least, and by what this box is told to start."""
    notes = Notes()
    if settings.gate.gateway == "open" or not settings.networks:
        return []  # it has nothing to hear
    try:
        age = abs(time.time() - state_path(settings).stat().st_mtime)
    except FileNotFoundError:
        age = float("inf")
    except OSError as error:
        notes.skip(WHAT, f"cannot be seen: {error.strerror}; run it with sudo")
        return notes.findings
    try:
        _tell(notes, age)
    except subprocess.TimeoutExpired as error:
        notes.skip(WHAT, f"cannot be seen: {Path(error.cmd[0]).name} does not answer")
    return notes.findings


def _tell(notes: Notes, age: float) -> None:
    """What a file written *age* seconds ago means. Raises `subprocess.TimeoutExpired`."""
    if age < SIGN_OF_LIFE:
        notes.ok(WHAT, "looks out for rogue servers, false gateways and floods")
    elif find_spec("scapy") is None:
        notes.ok(WHAT, "not used: it needs scapy, which is not installed")
    elif _is_wanted():
        off = f"systemctl disable --now {UNIT}" if not OPENWRT.exists() else "uci set wificrm.main.watch=0"
        notes.warn(
            WHAT,
            "does not run, or writes nothing: nobody would tell of a rogue server",
            f"{to_start(UNIT)}; {to_read_log(UNIT)} says why it ended. To do without it: {off}",
        )
    else:
        notes.ok(WHAT, "not used")


def _is_wanted() -> bool:
    """Whether the service is to run on this box. Elsewhere, as on a box without systemd, nobody has said so."""
    if OPENWRT.exists():
        said = _ask("uci", "-q", "get", "wificrm.main.watch").stdout.strip()
        return WORDS.get(said, said) not in ("0", "false")
    return _ask("systemctl", "is-enabled", f"{UNIT}.service").returncode == 0


def _ask(program: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [find_program(program) or "false", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
