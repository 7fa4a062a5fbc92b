"""What the running portal says of itself: it meets what root, who runs the doctor, does not."""

import contextlib
import socket
import time
from collections.abc import Collection
from ipaddress import ip_address

from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.web import Page, ask
from crm.commands_here import to_read_log
from crm.settings import Settings

WHAT = "what the portal says of itself"
TRIES, PAUSE = 3, 0.5
_WRITE = "may the portal's user write the file and its folder (ls -l, mount)?"
_TODO = {
    "crm store": _WRITE,
    "access store": _WRITE,
    "gate": "is the portal's user (id wificrm) in the group that gate.group names?",
}


def ask_portal(settings: Settings, faults: Collection[str]) -> list[Finding]:
    """What /readyz tells, but for what *faults* has already, and for the certificate, which is judged by itself."""
    notes = Notes()
    if not settings.metrics.port or "portal" in faults:
        return []
    address = ip_address(settings.metrics.address)
    host = str(address) if not address.is_unspecified else "127.0.0.1" if address.version == 4 else "::1"
    named = f"[{host}]" if ":" in host else host
    try:
        page = _ask_patiently(host, f"http://{named}:{settings.metrics.port}/readyz")
    except (OSError, ValueError):
        notes.warn(
            WHAT,
            f"no answer on {host}:{settings.metrics.port}, where it tells figures and health",
            f"{to_read_log('wificrm')}: has another program that port? Set metrics.port",
        )
        return notes.findings
    told = dict(line.partition(": ")[::2] for line in page.body.splitlines())
    wrong = {part: said for part, said in told.items() if said != "ok" and part != "certificate"}
    if "crm store" in wrong:
        wrong.pop("first page", "")  # it is made of what is in the store
    for part, said in wrong.items():
        if part not in faults:
            what = said.removesuffix("; see wificrm doctor")
            notes.fault(part, f"the portal says: {what}", _TODO.get(part, to_read_log("wificrm")))
    if not wrong:
        notes.ok(WHAT, f"well: {', '.join(part for part in told if part != 'certificate')}")
    return notes.findings


def _ask_patiently(host: str, url: str) -> Page:
    """A portal that has just started takes guests first."""
    for _ in range(TRIES):
        with contextlib.suppress(ConnectionRefusedError):
            return ask(socket.socket, host, url)
        time.sleep(PAUSE)
    return ask(socket.socket, host, url)
