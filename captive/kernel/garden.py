"""The walled garden: hosts that everybody may reach before the grant, each network its own, and the clocks.

dnsmasq puts the addresses of a host into nft sets as it answers for its name, whatever chain of aliases led
to them. Addresses change and are shared, so an element ends a day after it was last used. dnsmasq cannot
renew one that is there (nft keeps its old end), so what is sent to it does: whoever was just given an
address can use it, and goes on as long as it is used.
"""

from collections.abc import Sequence

from captive.kernel.nft_text import block
from crm.settings import Network, Settings

WEB = "meta l4proto . th dport { tcp . 80, tcp . 443, udp . 443 }"
LONGEST_ANSWER = 60
"""Seconds that an answer is kept, by dnsmasq and by guests: after them, the name is asked and entered anew.

What dnsmasq answers from memory it does not enter: an alias that leads to a name which somebody asked for by
itself a moment ago stays shut so long. Once a minute for each name is little for the provider's resolver.
"""


def host_sets(settings: Settings, size: int) -> str:
    """The sets that dnsmasq fills."""
    kinds = [*(f"garden_{network.name}" for network in settings.networks), "clocks"]
    return "\n".join(
        block(
            f"set {_set(kind, family)}",
            f"type {kept}",
            "flags dynamic,timeout",
            "timeout 1d",
            f"size {size}",
        )
        for kind in kinds
        for family, kept in ((4, "ipv4_addr"), (6, "ipv6_addr"))
    )


def hosts_rules(network: Network) -> list[str]:
    """Upstream: to the hosts of the network's garden for the web, to the clocks for the time."""
    return [
        f"{address} daddr @{name} {match} update @{name} {{ {address} daddr }} goto free"
        for kind, match in ((f"garden_{network.name}", WEB), ("clocks", "udp dport 123"))
        for address, name in (("ip", _set(kind, 4)), ("ip6", _set(kind, 6)))
    ]


def own_way(network: Network) -> list[str]:
    """Before the redirect of port 80: what goes to the garden goes to the host itself."""
    return [
        f'iifname "{network.interface}" {address} daddr @{_set(f"garden_{network.name}", family)} accept'
        for family, address in ((4, "ip"), (6, "ip6"))
    ]


def from_elsewhere(network: Network) -> list[str]:
    """Matches what goes down to *network* and comes from no host of its garden."""
    return [
        f'oifname "{network.interface}" {address} saddr != @{_set(f"garden_{network.name}", family)}'
        for family, address in ((4, "ip"), (6, "ip6"))
    ]


def render_hosts(settings: Settings, revocation: Sequence[str], table: str) -> list[str]:
    """Into which sets dnsmasq puts the addresses of which names, all names below them included.

    *revocation* are hosts that belong to every garden. For a name, dnsmasq follows only the line with the
    most of it; so each line says all sets of its names, those for the names above them too.
    """
    gardens = {f"garden_{each.name}": {*each.walled_garden, *revocation} for each in settings.networks}
    wanted = {
        kind: {host.removeprefix("*.") for host in hosts}
        for kind, hosts in (*gardens.items(), ("clocks", settings.uplink.clocks))
    }
    lines: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(set().union(*wanted.values())):
        kinds = [kind for kind, hosts in wanted.items() if any(f".{name}".endswith(f".{h}") for h in hosts)]
        lines.setdefault(tuple(kinds), []).append(name)
    return [
        f"nftset=/{'/'.join(names)}/"
        + ",".join(f"{family}#inet#{table}#{_set(kind, family)}" for kind in kinds for family in (4, 6))
        for kinds, names in lines.items()
    ]


def host_set_names(settings: Settings) -> list[str]:
    """The names of all sets that dnsmasq fills."""
    kinds = [*(f"garden_{network.name}" for network in settings.networks), "clocks"]
    return [_set(kind, family) for kind in kinds for family in (4, 6)]


def _set(kind: str, family: int) -> str:
    """``garden_guest`` and 4 give ``garden4_guest``."""
    subject, _, network = kind.partition("_")
    return f"{subject}{family}_{network}" if network else f"{subject}{family}"
