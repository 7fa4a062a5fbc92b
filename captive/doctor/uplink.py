"""The way to the Internet as the box itself has it, so that its failure is not blamed on the portal."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import IPv6Network
from pathlib import Path
from typing import NamedTuple

import msgspec

from captive.doctor.clock import how_far_ahead
from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.attempts import any_open
from captive.doctor.phone.handset import run_ip
from captive.doctor.phone.probes import PROBES, Probe
from captive.doctor.phone.resolving import NOERROR, Reply, resolve
from captive.doctor.phone.web import Page, ask
from crm.commands_here import to_apply_settings
from crm.settings import Settings

LANDMARKS = {
    4: ("8.8.8.8", "1.1.1.1", "9.9.9.9"),
    6: ("2001:4860:4860::8888", "2606:4700:4700::1111", "2620:fe::fe"),
}
"""Public resolvers: addresses that answer on port 443 wherever the Internet is reached."""
RESOLVERS = Path("/etc/resolv.conf")
SLOW, SLOW_TRIES = 1.0, 3
"""Seconds for one name that people notice, and how often such a resolver is asked before it counts as dead."""
_SAMPLES = (PROBES[0], next(each for each in PROBES if each.client == "Android"))
"""Of two makers: an answer that is not theirs, twice, is another portal's."""
_PORTALS = (*range(200, 400), 511)
"""What a portal answers with; a maker's server in trouble does not."""
_ULA = IPv6Network("fc00::/7")
_CABLE = "see to the cable, the modem, the provider; wificrm can do nothing about it"


class _Way(msgspec.Struct):
    dev: str = ""


class _Route(_Way):
    nexthops: list[_Way] = []  # with several ways, each of them; then it has no interface of its own


class _Asked(NamedTuple):
    """A resolver's answer, and after how many seconds."""

    reply: Reply
    seconds: float


class Uplink(msgspec.Struct, frozen=True):
    """What was found: whether the Internet is reached by each family."""

    four: bool
    six: bool
    resolvers: bool
    tries: int = 2
    """How often a phone asks for a name before it counts as unanswered."""
    ahead: float | None = None
    """Seconds that this box's clock is ahead of theirs who were asked; None where nobody said."""


def look_at_uplink(settings: Settings) -> tuple[Uplink, list[Finding]]:
    """Route, the provider's resolvers, the Internet by address and by what it answers."""
    notes = Notes()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(any_open, socket.socket, LANDMARKS[family], 443) for family in (4, 6)]
        servers = upstream_resolvers(settings)
        asked = dict(zip(servers, pool.map(_ask, servers), strict=True))
        alive = [server for server, answer in asked.items() if answer.reply.code == NOERROR]
        pages = list(pool.map(lambda probe: _fetch(alive[0], probe), _SAMPLES)) if alive else []
    four, six = (each.result() for each in waiting)
    answers = zip(_SAMPLES, pages, strict=False)
    own = [page for probe, page in answers if page and probe.is_online(page.status, page.body)]
    ahead = how_far_ahead(own, datetime.now(UTC))
    other = "" if own else next((_told(page) for page in pages if page and page.status in _PORTALS), "")
    if other:
        notes.fault(
            "uplink",
            f"another portal stands between this box and the Internet: {_SAMPLES[0].host} is answered with {other}",
            f"sign this box in there, or have whoever runs that network let {settings.uplink.interface} through",
        )
        four = six = False
    elif (used := _default_interfaces()) and settings.uplink.interface not in used:
        notes.fault(
            "uplink",
            f"the default route leads over {', '.join(used)}, and guests are let out over "
            f"{settings.uplink.interface} only",
            f'set uplink.interface = "{used[0]}", then: {to_apply_settings()}',
        )
        four = six = False
    else:
        _tell_internet(notes, settings, four=four, own=bool(own))
        _tell_six(notes, settings, six=six)
    _tell_resolvers(notes, asked, reached=four or six or bool(other))
    slow = any(answer.seconds >= SLOW for answer in asked.values())
    return Uplink(four, six, bool(alive), SLOW_TRIES if slow else 2, ahead), notes.findings


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


def ask_upstream(server: str, name: str, tries: int) -> Reply:
    """What *server*, as `upstream_resolvers` writes it (port and interface may follow), says of *name*."""
    address, _, port = server.partition("#")
    return resolve(socket.socket, address.partition("@")[0], name, port=int(port or 53), tries=tries)


def _ask(server: str) -> _Asked:
    began = time.monotonic()
    reply = ask_upstream(server, _SAMPLES[0].host, SLOW_TRIES)
    return _Asked(reply, time.monotonic() - began)


def _fetch(server: str, probe: Probe) -> Page | None:
    """What the box itself gets where phones probe; None: nothing."""
    for address in ask_upstream(server, probe.host, 2).addresses[:1]:
        try:
            return ask(socket.socket, str(address), probe.url, agent=probe.agent)
        except (OSError, ValueError):
            return None
    return None


def _told(page: Page) -> str:
    place = page.header("Location")
    return f"status {page.status}" + (f", sent to {place[:100]}" if place else "")


def _tell_internet(notes: Notes, settings: Settings, *, four: bool, own: bool) -> None:
    interface = settings.uplink.interface
    if four:
        notes.ok("uplink", f"the Internet is reached over {interface}")
        return
    if own:
        notes.warn(
            "uplink",
            f"pages open over {interface}, but none of {', '.join(LANDMARKS[4])} takes a connection",
            "does a firewall above this box keep them away? What phones meet over IPv4 once online is not looked at",
        )
        return
    if not _default_interfaces():
        notes.fault("uplink", f"no default route: {interface} is down, or got no address", _CABLE)
    else:
        notes.fault(
            "uplink",
            f"dead: none of {', '.join(LANDMARKS[4])} answers over {interface}",
            f"{_CABLE}; until then most phones show no portal, for they find no names",
        )


def _default_interfaces() -> list[str]:
    """The interfaces over which this box sends what is for the Internet."""
    done = run_ip("-json", "-4", "route", "show", "default")
    routes = msgspec.json.decode(done.stdout or "[]", type=list[_Route]) if done.returncode == 0 else []
    return [way.dev for route in routes for way in (route.nexthops or [route])]


def _tell_six(notes: Notes, settings: Settings, *, six: bool) -> None:
    """Phones try IPv6 first where their address is the Internet's; addresses of the house's own they keep for it."""
    given = [each.net6.network for each in settings.networks if each.net6 and each.net6 not in _ULA]
    if given and not six:
        notes.warn(
            "uplink, IPv6",
            f"dead, though guests get addresses of {', '.join(map(str, given))}: each page is late",
            'see to the provider\'s IPv6; until then: network.address6 = "" or one of fd00::/8',
        )


def _tell_resolvers(notes: Notes, asked: dict[str, _Asked], *, reached: bool) -> None:
    what = "the provider's resolvers"
    if not asked:
        notes.fault(what, "none is known", "set uplink.dns")
        return
    dead = [server for server, answer in asked.items() if answer.reply.code != NOERROR]
    alive = [server for server in asked if server not in dead]
    slow = [f"{server} ({asked[server].seconds:.1f} s)" for server in alive if asked[server].seconds >= SLOW]
    if slow:
        notes.warn(
            what,
            f"slow: {', '.join(slow)}; phones wait that long for each new name",
            "set faster ones in uplink.dns",
        )
    elif not dead:
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
