"""The way to the Internet as the box itself has it, so that its failure is not blamed on the portal."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.attempts import any_open
from captive.doctor.phone.handset import run_ip
from captive.doctor.phone.probes import HOSTS
from captive.doctor.phone.resolving import NOERROR, Reply, resolve
from crm.settings import Settings

LANDMARKS = {
    4: ("8.8.8.8", "1.1.1.1", "9.9.9.9"),
    6: ("2001:4860:4860::8888", "2606:4700:4700::1111", "2620:fe::fe"),
}
"""Public resolvers: addresses that answer on port 443 wherever the Internet is reached."""
RESOLVERS = Path("/etc/resolv.conf")
_CABLE = "see to the cable, the modem, the provider; wificrm can do nothing about it"


class _Route(msgspec.Struct):
    dst: str = ""
    dev: str = ""


class Uplink(msgspec.Struct, frozen=True):
    """What was found: whether the Internet is reached by each family."""

    four: bool
    six: bool
    resolvers: bool


def look_at_uplink(settings: Settings) -> tuple[Uplink, list[Finding]]:
    """Route, the provider's resolvers, the Internet by address."""
    notes = Notes()
    with ThreadPoolExecutor(8) as pool:
        four = pool.submit(any_open, socket.socket, LANDMARKS[4], 443)
        six = pool.submit(any_open, socket.socket, LANDMARKS[6], 443)
        servers = upstream_resolvers(settings)
        replies = dict(zip(servers, pool.map(_ask, servers), strict=True))
    resolvers = any(reply.code == NOERROR for reply in replies.values())
    _tell_internet(notes, settings, four=four.result())
    _tell_resolvers(notes, replies, reached=four.result() or six.result())
    return Uplink(four.result(), six.result(), resolvers), notes.findings


def upstream_resolvers(settings: Settings) -> list[str]:
    """Whom our resolver asks."""
    if settings.uplink.dns:
        return list(settings.uplink.dns)
    try:
        lines = RESOLVERS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]


def _ask(server: str) -> Reply:
    address, _, port = server.partition("#")
    return resolve(socket.socket, address.partition("@")[0], HOSTS[0], port=int(port or 53))


def _tell_internet(notes: Notes, settings: Settings, *, four: bool) -> None:
    interface = settings.uplink.interface
    if four:
        notes.ok("uplink", f"the Internet is reached over {interface}")
        return
    done = run_ip("-json", "-4", "route", "show", "default")
    routes = msgspec.json.decode(done.stdout or "[]", type=list[_Route]) if done.returncode == 0 else []
    if not routes:
        notes.fault("uplink", f"no default route: {interface} is down, or got no address", _CABLE)
    elif all(route.dev != interface for route in routes):
        used = ", ".join(route.dev for route in routes)
        notes.fault(
            "uplink", f"the default route leads over {used}, not {interface}", "set uplink.interface to it"
        )
    else:
        notes.fault(
            "uplink",
            f"dead: none of {', '.join(LANDMARKS[4])} answers over {interface}",
            f"{_CABLE}; until then most phones show no portal, for they find no names",
        )


def _tell_resolvers(notes: Notes, replies: dict[str, Reply], *, reached: bool) -> None:
    what = "the provider's resolvers"
    if not replies:
        notes.fault(what, "none is known", "set uplink.dns")
        return
    dead = [server for server, reply in replies.items() if reply.code != NOERROR]
    alive = [server for server in replies if server not in dead]
    if not dead:
        notes.ok(what, f"{', '.join(alive)} {'answers' if len(alive) == 1 else 'answer'}")
    elif alive:
        notes.warn(
            what,
            f"{', '.join(dead)}: no answer; {', '.join(alive)} answers",
            "take the dead out of uplink.dns",
        )
    elif reached:
        notes.fault(
            what,
            f"no answer from {', '.join(dead)}, though the Internet is reached: no page opens, no portal shows up",
            "set uplink.dns to resolvers that answer, then: wificrm gateway apply",
        )
    else:
        notes.skip(what, "not reached while the uplink is dead")
