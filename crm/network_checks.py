"""What is wrong with the networks of the settings, beyond what their types say."""

import ipaddress
import itertools
import re
from collections.abc import Iterator

from crm.opening_hours import parse_hours
from crm.probe_hosts import garden_would_hide_portal
from crm.settings import Network, Place, Settings

ROUTER_GARDEN = 56
"""Names in the walled garden of a thin router at most: with those of the certificate it takes 64."""

Problem = tuple[str, str]
"""(the dotted key, what is wrong with it and what was expected)"""


def check_networks(settings: Settings) -> list[Problem]:
    """Every problem with the uplink and the networks, in the order of the file."""
    return [
        *_check_uplink(settings),
        *(problem for number, each in enumerate(settings.networks) for problem in _check_one(number, each)),
        *_check_apart(settings),
        *_check_routers(settings),
    ]


def is_address(text: str) -> bool:
    """Whether *text* is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_uplink(settings: Settings) -> Iterator[Problem]:
    for server in settings.uplink.dns:
        if not is_address(server):
            yield "uplink.dns", f"{server!r} is not an IP address such as 9.9.9.9"
    for host in settings.uplink.clocks:
        yield from (("uplink.clocks", problem) for problem in _check_host(host))
    for network in settings.uplink.off_limits:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield "uplink.off_limits", f"{network!r} is not a network such as 10.0.0.0/8"


def _check_one(number: int, network: Network) -> Iterator[Problem]:
    key = f"network[{number}]"
    yield from _check_addresses(key, network)
    yield from _check_place(key, network)
    if network.identity == "mac+ip" and network.address6:
        yield (
            f"{key}.identity",
            'it needs address6 = "" (in UCI: none): behind a repeater nothing tells whose an IPv6 address is',
        )


def _check_place(key: str, place: Place) -> Iterator[Problem]:
    for host in place.walled_garden:
        yield from ((f"{key}.walled_garden", problem) for problem in _check_host(host))
    try:
        parse_hours(place.grant.opening)
    except ValueError as error:
        yield f"{key}.grant.opening", str(error)
    for mac in set(place.always) & set(place.never):
        yield f"{key}.never", f"{mac} stands in always too; it can only be in one of them"


def _check_routers(settings: Settings) -> Iterator[Problem]:
    if not settings.places:
        yield "network", "nobody is served: describe a network for guests of this box, or a router elsewhere"
    taken = {each.name for each in settings.networks}
    for number, router in enumerate(settings.routers):
        key = f"router[{number}]"
        yield from _check_place(key, router)
        if router.name in taken:
            yield f"{key}.name", f"{router.name!r} is taken by a network or another router"
        taken.add(router.name)
        if len(router.walled_garden) > ROUTER_GARDEN:
            yield (
                f"{key}.walled_garden",
                f"{len(router.walled_garden)} names; a thin router takes {ROUTER_GARDEN} at most",
            )
    if settings.routers and not settings.tls:
        yield "portal.certificate", "routers connect over https only: set portal.name, certificate and key"


def _check_addresses(key: str, network: Network) -> Iterator[Problem]:
    for name, text, kind, example in (
        ("address4", network.address4, ipaddress.IPv4Interface, "192.168.50.1/24"),
        ("address6", network.address6, ipaddress.IPv6Interface, "fd50:7c3a:1::1/64"),
    ):
        if not text and name == "address6":
            continue
        try:
            given = kind(text)
        except ValueError:
            yield f"{key}.{name}", f"expected an address with its prefix, e.g. {example}"
            continue
        for problem in _problems_of(given):
            yield f"{key}.{name}", f"{problem}; expected e.g. {example}"


def _problems_of(given: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Iterator[str]:
    """What keeps *given* from being the box's address among guests."""
    if given.network.num_addresses < 4:
        yield "the network is too small for guests"
    elif given.ip == given.network.network_address or (
        given.version == 4 and given.ip == given.network.broadcast_address
    ):
        yield f"{given.ip} is no address for a box but the network itself"
    elif given.version == 6 and given.network.prefixlen != 64:
        yield "phones make themselves an address in a /64 only (RFC 4862)"
    if given.is_loopback or given.is_multicast or given.is_link_local:
        yield f"{given.ip} is not for networks of guests"


def _check_host(host: str) -> Iterator[str]:
    name = host.removeprefix("*.")
    if not re.fullmatch(r"([a-z0-9]([a-z0-9\-]*[a-z0-9])?\.)+[a-z]{2,}", name):
        yield f"{host!r} is not a host name such as dichvucong.gov.vn"
    elif probe := garden_would_hide_portal(name):
        yield (
            f"{host!r} opens {probe}, which phones ask whether they are online: they would believe so, and "
            "never show the portal"
        )


def _check_apart(settings: Settings) -> Iterator[Problem]:
    for (_, one), (number, other) in itertools.combinations(enumerate(settings.networks), 2):
        key = f"network[{number}]"
        if one.name == other.name:
            yield f"{key}.name", f"two networks are called {other.name!r}; each needs a name of its own"
        if one.interface == other.interface:
            yield f"{key}.interface", f"{other.interface} belongs to the network {one.name!r} already"
        try:
            overlap = one.net4.network.overlaps(other.net4.network) or (
                one.net6 and other.net6 and one.net6.network.overlaps(other.net6.network)
            )
        except ValueError:
            continue  # told already
        if overlap:
            yield f"{key}.address4", f"its addresses overlap with those of the network {one.name!r}"
    for number, network in enumerate(settings.networks):
        if network.interface == settings.uplink.interface:
            yield (
                f"network[{number}].interface",
                f"{network.interface} is the uplink too: guests need their own interface",
            )
