"""The configuration of our own dnsmasq: addresses for guests, and names answered truthfully.

Phones judge a network by the answers to their probes' names (an Android phone calls a private address
for one of them *no internet*, Windows asks for ``dns.msftncsi.com``), so nothing here bends an answer
for the world; the portal is met by the redirect of port 80. Options are written by number where dnsmasq
2.90 does not know the name.
"""

from pathlib import Path

from captive.ruleset import TABLE
from crm.settings import Settings

API_PATH = "/captive-portal/api"
LEASES = "dnsmasq.leases"
PIDFILE = "dnsmasq.pid"
CONFIGURATION = "dnsmasq.conf"


def render_dnsmasq(settings: Settings) -> str:
    """The whole configuration file; it is read with ``--conf-file``, the system's own is left alone."""
    parts = [
        _process(settings),
        _upstream(settings),
        _names(settings),
        _addresses(settings),
        _garden(settings),
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts if part)


def _process(settings: Settings) -> list[str]:
    state = Path(settings.state)
    return [
        "# Only the guest interface, beside whatever else answers names on this box.",
        f"interface={settings.network.guest}",
        "except-interface=lo",
        "bind-dynamic",
        f"pid-file={state / PIDFILE}",
        "# Leases name devices: they live in memory. What is said goes where nobody reads it, for even",
        "# a quiet dnsmasq names the device that it has no address for.",
        f"dhcp-leasefile={state / LEASES}",
        "dhcp-ignore-names",
        "quiet-dhcp",
        "quiet-dhcp6",
        "quiet-ra",
        "keep-in-foreground",
        "log-facility=-",
    ]


def _upstream(settings: Settings) -> list[str]:
    servers = settings.network.upstream_dns
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
    network, name = settings.network, settings.portal.name
    lines = [
        "# Firefox: leave DNS to the network. Nobody: there is no encrypted resolver to move to.",
        "address=/use-application-dns.net/",
        "address=/_dns.resolver.arpa/",
    ]
    if name:
        lines += [
            "# The portal's own name, for guests only, not to be kept (local answers carry TTL 0).",
            f"local=/{name}/",
            f"address=/{name}/{network.net4.ip}",
            *([f"address=/{name}/{network.net6.ip}"] if network.net6 else []),
        ]
    return lines


def _addresses(settings: Settings) -> list[str]:
    four, six, lease = settings.network.net4, settings.network.net6, settings.network.lease
    first, last = four.network.network_address + 1, four.network.broadcast_address - 1
    # An address at either end is the gateway's own; dnsmasq itself keeps one in between out of the pool.
    first, last = first + (first == four.ip), last - (last == four.ip)
    lines = [
        "dhcp-authoritative",
        "# The probe by ping would hold every first offer back for seconds; phones probe by themselves.",
        "no-ping",
        f"dhcp-range={first},{last},{four.network.netmask},{lease}",
        f"dhcp-lease-max={min(int(last) - int(first) + 1, 65536)}",
    ]
    if six:
        lines += [
            "enable-ra",
            f"dhcp-range={six.network.network_address},ra-stateless,{six.network.prefixlen},{lease}",
        ]
    if settings.tls:
        url = f"https://{settings.portal.name}{API_PATH}"
        lines += [
            "# RFC 8910: where the state of captivity is told. Forced: who does not ask for it gets it too.",
            f"dhcp-option-force=114,{url}",
            *([f"dhcp-option=option6:103,{url}"] if six else []),
        ]
    return lines


def _garden(settings: Settings) -> list[str]:
    names = settings.network.walled_garden
    if not names:
        return []
    sets = f"4#inet#{TABLE}#garden4,6#inet#{TABLE}#garden6"
    return [
        "# Hosts that everybody may reach, each with all names below it. Only fresh answers fill the sets.",
        f"nftset=/{'/'.join(names)}/{sets}",
        "max-cache-ttl=300",
    ]
