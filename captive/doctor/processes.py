"""The processes of ours and what they keep in the kernel."""

import asyncio
import contextlib
import errno
import os
import socket

from captive.advertise.advertiser import is_advertised
from captive.box.applied import meant_up
from captive.box.check import NO_EGRESS, find_problems
from captive.box.resolver import find_program, resolver_pid
from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.handset import find_link
from captive.doctor.phone.probes import LOCAL_NAME
from captive.doctor.phone.resolving import resolve
from captive.gateway import GateClient, GatewayError
from captive.kernel.firewall import Firewall
from captive.kernel.isolation import isolation_problems
from captive.kernel.sysctls import FLOWS_KEPT, FLOWS_KNOWN, read_sysctl, wanted_sysctls
from crm.commands_here import to_read_log, to_restart, to_start
from crm.settings import Settings

PATIENCE = 5.0
"""Seconds that the portal is given to answer."""
FLOWS_MANY, FLOWS_FULL = 0.8, 0.98
"""Shares of the connections that the kernel can remember."""


async def look_at_processes(settings: Settings) -> list[Finding]:
    """Table, dnsmasq, forwarding, gate, portal, router advertisements."""
    notes = Notes()
    if settings.gate.gateway == "open":
        notes.warn(
            "gateway",
            "gate.gateway is open: everybody is online, nothing is enforced",
            "set it to gate where guests are served",
        )
    else:
        _gateway(notes, settings)
        if meant_up(settings):  # else they wait for it
            await _gate(notes, settings)
            _advertiser(notes, settings)
    if is_here(settings.own_address):
        await _portal(notes, settings)
    else:
        notes.skip("portal", f"is not asked while this box is not at {settings.own_address} (above)")
    return notes.findings


def is_here(address: str) -> bool:
    """Whether this box has *address*; without, whoever answers there is somebody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def _gateway(notes: Notes, settings: Settings) -> None:
    problems = find_problems(settings)
    for problem in problems:
        detail, _, todo = problem.partition(": ")
        notes.fault("gateway", detail, todo or "wificrm gateway check says more")
    if not settings.networks:
        notes.ok("gateway", "no network of its own: this box serves routers elsewhere")
        return
    if os.geteuid() != 0 or not all(map(find_program, ("nft", "dnsmasq", "ip"))):
        return  # only then: one problem must not hide another
    for name in dict.fromkeys(network.interface for network in settings.networks):
        if (link := find_link(name)) and not link.is_up:
            notes.fault("gateway", f"{name} is down: nobody on it is served", f"ip link set {name} up")
    firewall = Firewall(settings)
    if not meant_up(settings):
        notes.fault("gateway", "not up: guests get no address", "run: wificrm gateway apply")
        return
    if not firewall.intact():
        notes.fault(
            "firewall table",
            "our table is not in the kernel, or rules of it are gone: nothing is enforced",
            f"run: wificrm gateway apply; the gate does it by itself while it runs: {to_start('wificrm-gate')}",
        )
    elif not firewall.egress:
        notes.warn(
            "firewall table",
            f"{NO_EGRESS}: downloads are neither counted nor limited",
            "install a newer kernel",
        )
    else:
        notes.ok("firewall table", "in the kernel, with all chains")
    _resolver(notes, settings)
    _forwarding(notes, settings)
    _flows(notes)
    for problem in isolation_problems([network.interface for network in settings.networks]):
        notes.fault("guests apart", problem, to_start("wificrm-gate"))


def _resolver(notes: Notes, settings: Settings) -> None:
    pid = resolver_pid(settings)
    if pid is None:
        notes.fault(
            "dnsmasq",
            "does not run: guests get no address and no names",
            f"run: wificrm gateway apply; {to_start('wificrm-mend')} has it done by itself",
        )
        return
    address = next(filter(is_here, (str(each.net4.ip) for each in settings.networks)), "")
    if not address:
        notes.skip(
            "dnsmasq", "runs, and is not asked while this box has none of its guests' addresses (above)"
        )
    elif resolve(socket.socket, address, LOCAL_NAME).came:
        notes.ok("dnsmasq", "runs and answers, configuration verified")
    else:
        notes.fault(
            "dnsmasq",
            f"runs, and answers not even this box on {address}, port 53: it hangs, or a rule drops all questions",
            f"nft list ruleset; then: kill -9 {pid}; wificrm gateway apply",
        )


def _forwarding(notes: Notes, settings: Settings) -> None:
    off = [
        name.replace("/", ".")
        for name, value in wanted_sysctls(settings).items()
        if name.endswith(("ip_forward", "forwarding")) and read_sysctl(name) != value
    ]
    if off:
        notes.fault(
            "forwarding",
            f"{' and '.join(off)} is off: nothing passes from guests to the Internet",
            "see who turned it off (sysctl.d, a VPN, a container program); then: wificrm gateway apply",
        )
    else:
        notes.ok("forwarding", "on")


def _flows(notes: Notes) -> None:
    """How many connections the kernel remembers, of how many; beyond them it drops whatever is new."""
    known, most = (int(read_sysctl(name) or 0) for name in (FLOWS_KNOWN, FLOWS_KEPT))
    if not most:  # nobody has asked this kernel to remember any
        return
    if known < FLOWS_MANY * most:
        notes.ok("connections", f"{known} of {most} that the kernel can remember")
        return
    full = known > FLOWS_FULL * most
    name = FLOWS_KEPT.replace("/", ".")
    (notes.fault if full else notes.warn)(
        "connections",
        f"{known} of {most} that the kernel can remember: {'new ones are dropped' if full else 'soon it is full'}",
        f"sysctl -w {name}={2 * most} (until the next start); wificrm device list shows who takes much",
    )


async def _gate(notes: Notes, settings: Settings) -> None:
    if not settings.networks:
        return
    with socket.socket(socket.AF_UNIX) as probe:  # rather than wait for one that may be starting
        probe.settimeout(PATIENCE)  # where it hangs, nobody takes the calls that wait
        error = probe.connect_ex(settings.gate.socket)
    if error in (errno.ENOENT, errno.ECONNREFUSED):
        notes.fault(
            "gate",
            f"nobody listens at {settings.gate.socket} ({os.strerror(error)}): nobody new comes online",
            f"{to_start('wificrm-gate')}; {to_read_log('wificrm-gate')} says why it stopped",
        )
        return
    gate = GateClient(settings.gate.socket)
    try:
        notes.ok("gate", f"answers; {len(await gate.list())} devices are online")
    except GatewayError as failure:
        notes.fault("gate", f"{failure}: nobody new comes online", _anew("wificrm-gate"))
    finally:
        await gate.close()


async def _portal(notes: Notes, settings: Settings) -> None:
    """Ask the portal what a phone asks first."""
    host, port = settings.own_address, settings.portal.port
    request = (
        b"GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, port)
            with contextlib.closing(writer):
                writer.write(request)
                answer = await reader.read(2048)
    except TimeoutError:
        notes.fault(
            "portal", f"no answer on {host}:{port} within {PATIENCE:.0f} s: it hangs", _anew("wificrm")
        )
        return
    except OSError as error:
        notes.fault(
            "portal",
            f"no answer on {host}:{port} ({error.strerror or error})",
            f"{to_start('wificrm')}; {to_read_log('wificrm')} says why it stopped",
        )
        return
    if not answer.startswith(b"HTTP/1.1 302") or b"Location: http" not in answer:
        notes.fault(
            "portal", "does not redirect a phone's probe", f"see which program has port {port}: ss -ltnp"
        )
        return
    notes.ok("portal", "redirects a phone's probe to the first page")


def _anew(unit: str) -> str:
    """What to do about a process that is there and does not answer: what is started already is not started again."""
    return f"{to_read_log(unit)} says what it did last; then: {to_restart(unit)}"


def _advertiser(notes: Notes, settings: Settings) -> None:
    wanted = [network.name for network in settings.networks if network.net6]
    if not wanted:
        notes.ok("router advertisements", "not used")
    elif not is_advertised():
        notes.fault(
            "router advertisements",
            "none: guests get no IPv6",
            f"{to_start('wificrm-advertise')}; {to_read_log('wificrm-advertise')} says why they stopped",
        )
    else:
        notes.ok("router advertisements", f"sent on {', '.join(wanted)}")
