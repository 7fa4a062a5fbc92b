"""The configuration of our own dnsmasq: addresses for guests, and names answered truthfully.

Phones judge a network by the answers to their probes' names (an Android phone calls a private address
for one of them *no internet*, Windows asks for ``dns.msftncsi.com``), so nothing here bends an answer
for the world; the portal is met by the redirect of port 80. Options are written by number where dnsmasq
2.90 does not know the name.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from captive.kernel.garden import LONGEST_ANSWER, render_hosts
from captive.kernel.ruleset import TABLE
from crm.settings import Network, Settings

LEASES = "dnsmasq.leases"
PIDFILE = "dnsmasq.pid"
CONFIGURATION = "dnsmasq.conf"
MAX_LEASES = 65536
"""The addresses of a /16; dnsmasq's own limit is 1,000, less than a /22 has."""


def render_dnsmasq(settings: Settings, *, api: str, revocation: Sequence[str]) -> str:
    """The whole configuration file; it is read with ``--conf-file``, the system's own is left alone.

    *api* is the URI of the API that phones are told of, "" for none; *revocation* are the hosts where they
    ask about the portal's certificate.
    """
    parts = [
        _process(settings),
        _upstream(settings),
        _names(settings),
        _addresses(settings, api),
        _open_hosts(settings, revocation),
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts if part)


def _process(settings: Settings) -> list[str]:
    state = Path(settings.state)
    return [
        "# Only the guests' interfaces, beside whatever else answers names on this box.",
        *(f"interface={network.interface}" for network in settings.networks),
        "except-interface=lo",
        "bind-dynamic",
        f"pid-file={state / PIDFILE}",
        "# Leases name devices: they live in memory. What is said goes where nobody reads it, for even",
        "# a quiet dnsmasq names the device that it has no address for.",
        f"dhcp-leasefile={state / LEASES}",
        "dhcp-ignore-names",
        "quiet-dhcp",
        "quiet-dhcp6",
        "keep-in-foreground",
        "log-facility=-",
    ]


def _upstream(settings: Settings) -> list[str]:
    servers = settings.uplink.dns
    return [
        *(
            ["no-resolv", *(f"server={server}" for server in servers)]
            if servers
            else ["resolv-file=/etc/resolv.conf"]
        ),
        "no-hosts",
        "domain-needed",
        "bogus-priv",
        "dns-loop-detect",
        "cache-size=10000",
        "dns-forward-max=1000",
        "edns-packet-max=1232",
    ]


def _names(settings: Settings) -> list[str]:
    name = settings.portal.name
    lines = [
        "# Firefox: leave DNS to the network. Nobody: there is no encrypted resolver to move to.",
        "address=/use-application-dns.net/",
        "address=/_dns.resolver.arpa/",
    ]
    if name:
        lines += [
            "# The portal's own name, for guests only, not to be kept (local answers carry TTL 0).",
            f"local=/{name}/",
            "localise-queries",
            *(f"interface-name={name},{network.interface}" for network in settings.networks),
        ]
    return lines


def _addresses(settings: Settings, api: str) -> list[str]:
    lines = [
        "dhcp-authoritative",
        "# The probe by ping would hold every first offer back for seconds; phones probe by themselves.",
        "no-ping",
    ]
    for network in settings.networks:
        first, last = pool_of(network)
        lines.append(f"dhcp-range={first},{last},{network.net4.netmask},{network.lease}")
    lines += [
        "# The ranges bound what is given. It would not start with more leases kept, of a range once wider.",
        f"dhcp-lease-max={MAX_LEASES}",
    ]
    sixes = [(network.net6, network.lease) for network in settings.networks if network.net6]
    if sixes:
        lines.append(
            "# Guests choose their IPv6 addresses; `wificrm advertise` gives the prefix, this the rest."
        )
    for six, lease in sixes:
        lines.append(f"dhcp-range={six.network.network_address},static,{six.network.prefixlen},{lease}")
    if api:
        lines += [
            "# RFC 8910: where the state of captivity is told. Forced: who does not ask for it gets it too.",
            f"dhcp-option-force=114,{api}",
            *([f"dhcp-option=option6:103,{api}"] if sixes else []),
        ]
    return lines


def pool_of(network: Network) -> tuple[IPv4Address, IPv4Address]:
    """The first and last address for guests; one in between that is the gateway's dnsmasq leaves out itself."""
    four = network.net4
    first, last = four.network.network_address + 1, four.network.broadcast_address - 1
    return first + (first == four.ip), last - (last == four.ip)


def names_open_hosts(line: str) -> bool:
    """Whether *line* of the configuration says which hosts everybody may reach."""
    return line.startswith("nftset=")


def _open_hosts(settings: Settings, revocation: Sequence[str]) -> list[str]:
    lines = render_hosts(settings, revocation, TABLE)
    if not lines:
        return []
    return [
        "# Hosts that everybody may reach. Only fresh answers fill the sets, so none is kept for long.",
        *lines,
        f"max-cache-ttl={LONGEST_ANSWER}",
        f"max-ttl={LONGEST_ANSWER}",
    ]
