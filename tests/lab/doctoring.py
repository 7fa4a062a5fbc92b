"""The doctor called to a lab's gateway, and what ails a venue: each trouble is planted, and healed at the end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from captive.doctor.examination import examine
from captive.doctor.finding import Finding
from crm.settings import Settings
from crm.settings_file import load_settings
from tests.lab.gateway import BRIDGE, Gateway
from tests.lab.internet import Internet
from tests.lab.namespace import Namespace, stop
from tests.lab.venue import Venue, eventually

ROGUE_MAC = "02:bd:00:00:00:66"
Troubles = dict[str, Finding]


def findings(venue: Venue, *parts: str, settings: Settings | None = None) -> list[Finding]:
    """What the doctor finds on the box; *parts* are played, in this process, which costs no start of Python."""
    gateway = venue.gateway
    with gateway.namespace.entered():  # its threads, too
        return asyncio.run(examine(settings or load_settings(gateway.settings), parts))  # type: ignore[arg-type]


def faults(venue: Venue, *parts: str, settings: Settings | None = None) -> Troubles:
    """The faults among them, by what they are of; each is to say what to do."""
    found = {each.what: each for each in findings(venue, *parts, settings=settings) if each.state == "fault"}
    assert all(each.todo for each in found.values())
    return found


@contextlib.contextmanager
def nft(namespace: Namespace, table: str) -> Iterator[None]:
    """Somebody else's firewall *table*, called ``inet foreign``."""
    namespace.run("nft", "-f", "-", text=f"table inet foreign {{\n{table}\n}}\n")
    try:
        yield
    finally:
        namespace.run("nft", "delete", "table", "inet", "foreign")


@contextlib.contextmanager
def resolver_with(gateway: Gateway, change: Callable[[str], str], leases: str = "") -> Iterator[None]:
    """Our dnsmasq under a configuration that somebody edited by hand; with *leases* added to those it knows."""
    path = gateway.home / "state/dnsmasq.conf"
    former = int((gateway.home / "state/dnsmasq.pid").read_text())
    gateway.kill9("dnsmasq")
    assert eventually(partial(has_ended, former))  # it holds its sockets until then
    path.write_text(change(path.read_text()))
    if leases:
        with (gateway.home / "state/dnsmasq.leases").open("a") as file:
            file.write(leases)

    process = gateway.namespace.start("dnsmasq", f"--conf-file={path}", log=gateway.home / "log/dnsmasq.log")
    try:
        said = gateway.home / "log/dnsmasq.log"
        assert eventually(partial(is_answering, gateway, process)), said.read_text()
        yield
    finally:
        stop(process, kill=True)
        (gateway.home / "state/dnsmasq.pid").unlink(missing_ok=True)
        if leases:
            (gateway.home / "state/dnsmasq.leases").unlink()
        gateway.wificrm("gateway", "apply")


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or waits only to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def is_answering(gateway: Gateway, process: subprocess.Popen[bytes]) -> bool:
    """Whether *process* is the dnsmasq that runs here."""
    with contextlib.suppress(OSError, ValueError):
        return int((gateway.home / "state/dnsmasq.pid").read_text()) == process.pid
    return False


@contextlib.contextmanager
def provider_with(
    internet: Internet, gateway: Gateway, change: Callable[[str], str] = str, *, alive: bool = True
) -> Iterator[None]:
    """The provider's resolver under a configuration that is changed; or dead."""
    path = internet.folder / "provider.conf"
    before = path.read_text()
    stop(internet._processes[0], kill=True)
    path.write_text(change(before))
    if alive:
        internet._processes[0] = start_provider(internet, path)
    forget_names(gateway)
    try:
        yield
    finally:
        stop(internet._processes[0], kill=True)
        path.write_text(before)
        internet._processes[0] = start_provider(internet, path)
        forget_names(gateway)


def start_provider(internet: Internet, path: Path) -> subprocess.Popen[bytes]:
    """Start it, and return when it listens."""
    log = internet.folder / "provider.log"
    process = internet.namespace.start("dnsmasq", f"--conf-file={path}", "--pid-file=", log=log)
    assert eventually(lambda: "198.51.100.53:53" in internet.namespace.run("ss", "-Hlun"))
    return process


def forget_names(gateway: Gateway) -> None:
    """Have our dnsmasq forget what it was told."""
    os.kill(int((gateway.home / "state/dnsmasq.pid").read_text()), signal.SIGHUP)


@contextlib.contextmanager
def rogue(venue: Venue, *lines: str) -> Iterator[None]:
    """A box of somebody's on the guests' bridge, with a dnsmasq of *lines*."""
    box = Namespace(venue.run, "rogue")
    process: subprocess.Popen[bytes] | None = None
    try:
        box.ip(
            f"link add lan0 address {ROGUE_MAC} type veth peer name rogue0 netns {venue.gateway.namespace.name}"
        )
        venue.gateway.namespace.ip(f"link set rogue0 master {BRIDGE}", "link set rogue0 up")
        box.ip("address add 192.168.1.1/24 dev lan0", "address add fd99::1/64 dev lan0", "link set lan0 up")
        path = venue.run.folder / "rogue.conf"
        common = (
            "port=0",
            "interface=lan0",
            "bind-dynamic",
            "keep-in-foreground",
            "user=root",
            "leasefile-ro",
        )
        path.write_text("".join(f"{line}\n" for line in (*common, *lines)))
        process = box.start(
            "dnsmasq", f"--conf-file={path}", "--pid-file=", log=venue.run.folder / "rogue.log"
        )
        assert eventually(lambda: bool(box.run("ss", "-Hlunp").strip() or box.run("ss", "-Hlnpw").strip()))
        time.sleep(0.2)
        yield
    finally:
        if process:
            stop(process, kill=True)
        venue.gateway.namespace.ip("link delete rogue0")
        box.close()
