"""A phone joins: an address by DHCP, a router by its advertisements, and whether anybody else gives either."""

import os
import time
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from captive.box.dnsmasq import LEASES
from captive.doctor.finding import Finding, Notes
from captive.doctor.phone import dhcp
from captive.doctor.phone.joining import (
    OFFER_SECONDS,
    ask_around,
    ask_for_address,
    ask_for_routers,
    hear_servers,
    release,
)
from captive.doctor.play import Play
from crm.commands_here import to_restart, to_start

ADDRESS, ALONE4, NAMED4 = (
    "A phone asks for an address",
    "Only this box gives addresses",
    "DHCP names the portal",
)
ROUTER, ALONE6, NAMED6 = (
    "A phone looks for an IPv6 router",
    "Only this box is the IPv6 router",
    "IPv6 names the portal",
)
SLAAC_SECONDS = 2.0
_UNPLUG = "unplug it: find its MAC in the switches' tables (a home router plugged in by its LAN side?)"


def join(play: Play, *, thorough: bool) -> list[Finding]:
    """Get an address, and say all there is to say of it. *thorough*: of the rest of what is announced, too."""
    notes = Notes("join", play.network.name)
    six, number = bool(play.network.net6), int.from_bytes(os.urandom(4), "big")
    if thorough:
        play.around = play.pool.submit(ask_around, play.network.interface, play.phone.mac, six=six)
        play.offered = play.pool.submit(hear_servers, play.phone, number)
    routers = play.pool.submit(ask_for_routers, play.phone, every=thorough) if six else None
    offered, play.lease = ask_for_address(play.phone, play.own4, number)
    lease, unusable = play.lease, _use_address(play)
    play.heard = routers.result() if routers else []
    play.six = bool(play.heard) and _has_address6(play)
    if lease and unusable:
        _give_up(play, lease)
        server, router = (lease.address_of(each) or "nobody" for each in (dhcp.SERVER, dhcp.ROUTER))
        told = f"got {lease.address}/{lease.prefix} and router {router} from {server}, of no use to it ({unusable})"
        notes.fault(ADDRESS, told, _whose(play, server))
    else:
        _tell_address(notes, play, offered=offered)
    if thorough:
        _tell_named(notes, NAMED4, play, lease.api if lease else None, "option 114")
        _tell_routers(notes, play)
    return notes.findings


def _use_address(play: Play) -> str:
    """Why the phone cannot use the lease that it got; "" when it does, or has none."""
    if play.lease:
        router = play.lease.address_of(dhcp.ROUTER) or play.own4
        prefix = play.lease.prefix or play.network.net4.network.prefixlen
        try:
            play.phone.set_address(play.lease.address, prefix, router)
        except OSError as error:
            return error.strerror or str(error)
        if router != play.own4:
            return f"the router is {play.own4}"
    return ""


def _give_up(play: Play, lease: dhcp.Message) -> None:
    with suppress(OSError):  # its server may be out of reach
        release(play.phone, lease)
    play.lease = None


def _whose(play: Play, server: str) -> str:
    """What to do about what *server* said."""
    if server == play.own4:
        return "run: wificrm gateway apply"
    return "see who gave it, below: a second DHCP server, most likely"


def _has_address6(play: Play) -> bool:
    until = time.monotonic() + SLAAC_SECONDS
    while not play.phone.addresses6():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _tell_address(notes: Notes, play: Play, *, offered: bool) -> None:
    lease = play.lease
    if lease is None:
        _tell_none(notes, play, offered=offered)
        return
    server, router, resolver = (lease.address_of(each) for each in (dhcp.SERVER, dhcp.ROUTER, dhcp.RESOLVER))
    told, prefix = f"got {lease.address} from {server} for {lease.seconds // 60} minutes", play.network.net4
    if router != play.own4 or resolver != play.own4:
        told += f"; it is to use router {router or 'none'} and resolver {resolver or 'none'}, not {play.own4}"
        notes.fault(ADDRESS, told, _whose(play, server))
    elif lease.prefix != prefix.network.prefixlen:
        told += (
            f"; in a network of /{lease.prefix}, not {prefix.network}: part of the world is out of its reach"
        )
        notes.fault(ADDRESS, told, _whose(play, server))
    else:
        notes.ok(ADDRESS, told)


def _tell_none(notes: Notes, play: Play, *, offered: bool) -> None:
    taken, pool = _taken(play), play.network.net4.network.num_addresses - 3
    if "dnsmasq" in play.box.faults:
        notes.fault(ADDRESS, "got none: dnsmasq does not run, or hangs", "see dnsmasq, above")
    elif taken >= pool:
        notes.fault(
            ADDRESS,
            f"got none: all {pool} addresses of {play.network.net4.network} are taken",
            "make network.lease shorter, or network.address4 a larger network (/22 has 1,000 addresses)",
        )
    elif offered:
        notes.fault(
            ADDRESS, "was offered one, and it was not confirmed", "look for a second DHCP server, below"
        )
    else:
        notes.fault(
            ADDRESS,
            f"got none within {OFFER_SECONDS:.0f} s, though dnsmasq runs and has addresses",
            f"look for what drops UDP port 67: {play.suspects}",
        )


def _taken(play: Play) -> int:
    """Addresses of the network that are lent at this moment."""
    try:
        lines = (Path(play.settings.state) / LEASES).read_text().splitlines()
    except OSError:
        return 0
    taken = 0
    for words in map(str.split, lines):
        with suppress(ValueError, IndexError):  # the line of IPv6, or none of dnsmasq's
            ends, address = int(words[0]), IPv4Address(words[2])
            taken += address in play.network.net4.network and (ends == 0 or ends > time.time())
    return taken


def _tell_named(notes: Notes, what: str, play: Play, said: str | None, how: str) -> None:
    """*said*: the API's URI that came; None where nothing was said at all."""
    if said is None:
        notes.skip(what, "without an answer there is nothing to read")
    elif said == play.api:
        notes.ok(what, f"{how}: {said}" if said else "no certificate: not named, phones are redirected")
    elif not said:
        notes.fault(
            what,
            f"{how} is missing though the certificate is good: phones learn of the portal by redirect only",
            f"run: wificrm gateway apply; {to_start('wificrm-mend')} has it done by itself",
        )
    elif not play.api:
        notes.warn(
            what,
            f"{how} names {said}, which phones do not trust: they lose seconds over it",
            f"run: wificrm gateway apply; {to_start('wificrm-mend')} has it done by itself",
        )
    else:
        notes.fault(what, f"{how} names {said} instead of {play.api}", "run: wificrm gateway apply")


def _tell_routers(notes: Notes, play: Play) -> None:
    network = play.network.net6
    if network is None:
        notes.ok(ROUTER, "none wanted: guests get no IPv6 on this network")
        return
    ours = [each for each in play.heard if str(network.network) in each.prefixes]
    if not ours:
        down = "router advertisements" in play.box.faults
        notes.fault(
            ROUTER,
            f"none that gives {network.network} answers"
            + (": wificrm advertise does not run" if down else ""),
            "see router advertisements, above"
            if down
            else f"{to_restart('wificrm-advertise')}; or a rule drops what guests ask: {play.suspects}",
        )
        notes.skip(NAMED6, "without an advertisement there is nothing to read")
        return
    address = ", ".join(play.phone.addresses6())
    notes.ok(ROUTER, f"{ours[0].source} gives {network.network}; it took {address or 'no address yet'}")
    _tell_named(notes, NAMED6, play, ours[0].api, "option 37")


def others(play: Play) -> list[Finding]:
    """Who else was heard in the meantime that gives addresses, or says that it is a router."""
    notes = Notes("join", play.network.name)
    servers, routers = play.around.result() if play.around else ([], [])
    offered = play.offered.result() if play.offered else set()
    strange = dict.fromkeys(offered - {play.own4}, "") | {each.address: each.mac for each in servers}
    if strange:
        notes.fault(ALONE4, f"a second DHCP server answers: {_named(strange)}", _UNPLUG)
    else:
        notes.ok(ALONE4, "no other DHCP server answers")
    own = str(play.network.net6.network) if play.network.net6 else ""
    more = {each.source: "" for each in play.heard if own not in each.prefixes}
    more |= {each.address: each.mac for each in routers}
    if more:
        notes.fault(ALONE6, f"a second router advertises itself: {_named(more)}", _UNPLUG)
    elif own:
        notes.ok(ALONE6, "no other router advertises itself")
    return notes.findings


def _named(found: dict[str, str]) -> str:
    return ", ".join(f"{address} ({mac})" if mac else address for address, mac in found.items())
