"""Our nft tables, written as text from the settings: who may pass, at what rate, and what it took.

Enforcement lives here, in the kernel: with portal and gate stopped, whoever is online stays online and
every lease still ends in time. Chains look into sets only, so a packet costs the same with one device
allowed or with 65,536. Each network has chains and sets of its own, named after it; a device is known on
one network by its MAC, or by MAC and IPv4 address where a repeater speaks for many.

The shape of the refusals follows what phones were seen to need: port 80 is answered by the portal, port
443 by a TCP reset (never by a foreign certificate), the rest by ICMP; nothing is dropped in silence.
"""

import ipaddress
from collections.abc import Collection

from captive.kernel.dns_limits import ASK_CHAINS, ask_chains, asked_sets
from captive.kernel.garden import from_elsewhere, host_sets, hosts_rules, own_way
from captive.kernel.metering import DOWNWARD, netdev_table, set_kinds, upward_limits
from captive.kernel.nft_text import block
from crm.settings import Network, Settings

TABLE = "wificrm"
REDIRECTED = 0x0800_0000
"""The conntrack mark of a flow that the portal answers in place of the host it was meant for."""
MAX_DEVICES = 65_536
LEASING = "limit rate over 30/hour burst 30 packets"
"""A phone takes two packets to get an address and one to keep it; fifteen at once, fifteen an hour are ample."""


def chains_of(settings: Settings) -> set[str]:
    """Chains of table inet that hold rules whatever the settings: where one is empty, somebody flushed it."""
    own = {f"{chain}_{network.name}" for network in settings.networks for chain in ("upstream", "through")}
    common = ("granted", "prerouting", "input", "to_box", "forward", "free", "downstream", "refuse")
    return own | {*common, *ASK_CHAINS}


def render_ruleset(
    settings: Settings,
    *,
    egress: bool = True,
    interfaces: Collection[str] | None = None,
    beside: Collection[str] = (),
) -> str:
    """The text for one atomic ``nft -f -``; applied again it keeps the elements of every set.

    Declaring, flushing and declaring again leaves no moment without rules: flushing a table empties its
    chains and keeps its sets. Without *egress* (kernels before 5.16 have no such hook) downloads are
    neither counted nor limited. *interfaces* are those that there are (None: all): before 6.16 no chain can
    be hooked to one that is still to come. *beside* are the networks that the uplink is in: no guest gets
    there either, unless `uplink.off_limits` is empty.
    """
    off_limits = _off_limits(settings, beside)
    parts = [_sets(settings), _prerouting(settings), _input(settings), _forward(settings)]
    parts += [
        *(_upstream(settings, network, off_limits) for network in settings.networks),
        _common(settings),
        _masquerade(settings),
    ]
    inet = "\n".join(parts)
    text = f"table inet {TABLE}\nflush table inet {TABLE}\n\ntable inet {TABLE} {{\n{inet}}}\n"
    return text + (netdev_table(settings, TABLE, MAX_DEVICES, interfaces) if egress else "")


def device_match(network: Network) -> str:
    """What of a packet from the device is looked up in the sets of *network*."""
    return "ether saddr . ip saddr" if network.identity == "mac+ip" else "ether saddr"


def _interfaces(settings: Settings) -> str:
    names = [f'"{network.interface}"' for network in settings.networks]
    return names[0] if len(names) == 1 else f"{{ {', '.join(names)} }}"


def _sets(settings: Settings) -> str:
    size = f"size {MAX_DEVICES}"
    parts = []
    for network in settings.networks:
        parts.append(f"\t# Devices that are online on {network.name}; the kernel ends each lease.")
        for name, lines in set_kinds(network, "up", "allowed").items():
            parts.append(block(f"set {name}", *lines, size))
    return "\n".join(
        [
            *parts,
            "\t# Addresses of hosts that everybody may reach; dnsmasq adds them as it answers.",
            host_sets(settings, MAX_DEVICES),
            "\t# Guest addresses that an allowed device sent something other than TCP from, a moment ago.",
            block("set heard4", "type ipv4_addr", "flags dynamic,timeout", "timeout 2m", size),
            block("set heard6", "type ipv6_addr", "flags dynamic,timeout", "timeout 2m", size),
            block("set speaking", "type ether_addr", "flags dynamic,timeout", "timeout 1m", size),
            "\t# What one device may take from the box itself: questions, connections at once.",
            asked_sets(settings, MAX_DEVICES),
            block("set leasing", "type ether_addr", "flags dynamic,timeout", "timeout 2h", size),
            block("set visiting", "type ether_addr", "flags dynamic", size),
        ]
    )


def _allowed(network: Network, verdict: str) -> list[str]:
    """Rules that give the packets of allowed devices of *network* the *verdict*."""
    return [f"{device_match(network)} @allowed_{network.name} {verdict}", *_always(network, verdict)]


def _always(network: Network, verdict: str) -> list[str]:
    """The same for those that need no grant: they are online without terms."""
    return [f"ether saddr {{ {', '.join(network.always)} }} {verdict}"] if network.always else []


def _allowed_anywhere(settings: Settings, verdict: str) -> list[str]:
    return [
        f'iifname "{each.interface}" {rule}' for each in settings.networks for rule in _allowed(each, verdict)
    ]


def _prerouting(settings: Settings) -> str:
    portal = settings.portal
    granted = block(
        "chain granted",
        "type filter hook prerouting priority mangle; policy accept;",
        *_renewals(settings),
        f"ct mark and {REDIRECTED:#010x} != {REDIRECTED:#010x} accept",
        "meta l4proto != tcp accept",
        "# With the grant, what the portal answered in another host's place ends: the next goes to the host.",
        # Before the redirect is undone or done: a reset written after it would bear the portal's address.
        *_allowed_anywhere(settings, "reject with tcp reset"),
    )
    redirect = block(
        "chain prerouting",
        "type nat hook prerouting priority dstnat; policy accept;",
        f"iifname != {_interfaces(settings)} accept",
        "# The portal keeps its address, for devices that are online too.",
        f"fib daddr type local tcp dport 80 redirect to :{portal.port}",
        f"fib daddr type local tcp dport 443 redirect to :{portal.tls_port}" if settings.tls else "",
        *_allowed_anywhere(settings, "accept"),
        "# Whatever resolver the device was told to use: ours answers, and answers truthfully.",
        "meta l4proto { tcp, udp } th dport 53 redirect to :53",
        *(rule for network in settings.networks for rule in own_way(network)),
        f"tcp dport 80 ct mark set ct mark or {REDIRECTED:#010x} redirect to :{portal.port}",
    )
    return f"{granted}\n{redirect}"


def _renewals(settings: Settings) -> list[str]:
    """Rules that have our dnsmasq hear who keeps its address, beside another DHCP server of this box.

    With several networks dnsmasq binds port 67 to no interface (`whichdevice` in its source), and the kernel gives
    a datagram for one address to one of the sockets there; a broadcast to all, each of which knows its networks.
    """
    if len(settings.networks) < 2:
        return []
    return [
        "# Half of all renewals would be another DHCP server's of this box, which says nothing to them.",
        *(
            f'iifname "{each.interface}" ip daddr {each.net4.ip} udp dport 67 ip daddr set 255.255.255.255'
            for each in settings.networks
        ),
    ]


def _input(settings: Settings) -> str:
    portal, six = settings.portal, any(network.net6 for network in settings.networks)
    ports = f"{{ {portal.port}, {portal.tls_port} }}" if settings.tls else str(portal.port)
    hook = block(
        "chain input",
        "type filter hook input priority filter; policy accept;",
        f"iifname {_interfaces(settings)} goto to_box",
    )
    box = block(
        "chain to_box",
        "# Replies to what the box itself asked; never a flow that a guest began.",
        "ct direction reply ct state established,related accept",
        "ct state related accept",
        "# No device takes all addresses; behind a repeater one device is many.",
        *(
            f'iifname "{each.interface}" udp dport 67 update @leasing {{ ether saddr {LEASING} }} drop'
            for each in settings.networks
            if each.identity == "mac"
        ),
        "meta nfproto ipv4 udp dport 67 accept",
        "# Nobody is believed to be the box, or on another network than its packets come from.",
        "fib saddr type local drop",
        *(
            f'iifname "{each.interface}" {rule}'
            for each in settings.networks
            for rule in _foreign_sources(each)
        ),
        "meta nfproto ipv6 udp dport 547 accept" if six else "",
        "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
        "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept",
        "meta l4proto { tcp, udp } th dport 53 goto ask",
        f"tcp dport {ports} ct state new add @visiting {{ ether saddr ct count over 100 }} drop",
        f"tcp dport {ports} accept",
        *_allowed_anywhere(settings, "icmp type echo-request accept"),
        *_allowed_anywhere(settings, "icmpv6 type echo-request accept"),
        "goto refuse",
    )
    asks = _allowed_anywhere(settings, "goto ask_online")
    return "\n".join([hook, box, *ask_chains(settings, asks)])


def _foreign_sources(network: Network) -> list[str]:
    own6 = f"{{ ::, fe80::/10, {network.net6.network} }}" if network.net6 else "{ ::, fe80::/10 }"
    return [f"ip saddr != {network.net4.network} drop", f"ip6 saddr != {own6} drop"]


def _forward(settings: Settings) -> str:
    return block(
        "chain forward",
        "type filter hook forward priority filter; policy accept;",
        *(f'iifname "{each.interface}" goto upstream_{each.name}' for each in settings.networks),
        f"oifname {_interfaces(settings)} goto downstream",
    )


def _off_limits(settings: Settings, beside: Collection[str]) -> list[str]:
    if not settings.uplink.off_limits:
        return []
    networks = [ipaddress.ip_network(each) for each in (*settings.uplink.off_limits, *beside)]
    # nft takes none that overlap.
    of4 = ipaddress.collapse_addresses(each for each in networks if isinstance(each, ipaddress.IPv4Network))
    of6 = ipaddress.collapse_addresses(each for each in networks if isinstance(each, ipaddress.IPv6Network))
    named = {"ip": ", ".join(map(str, of4)), "ip6": ", ".join(map(str, of6))}
    return [f"{family} daddr {{ {those} }} goto refuse" for family, those in named.items() if those]


def _upstream(settings: Settings, network: Network, off_limits: Collection[str]) -> str:
    source6 = f"ip6 saddr != {network.net6.network} drop" if network.net6 else "meta nfproto ipv6 goto refuse"
    not_guests = [f"ip saddr {{ {network.net4.ip}, {network.net4.network.broadcast_address} }} drop"]
    not_guests += [f"ip6 saddr {network.net6.ip} drop"] if network.net6 else []
    up = block(
        f"chain upstream_{network.name}",
        "# No rule here takes a flow because it is established: it ends the moment the device's lease does.",
        "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu",
        f'oifname != "{settings.uplink.interface}" goto refuse',
        f"ip saddr != {network.net4.network} drop",
        source6,
        *not_guests,
        *hosts_rules(network),
        *off_limits,
        *_always(network, "goto free"),
        f"{device_match(network)} @allowed_{network.name} goto through_{network.name}",
        "goto refuse",
    )
    through = block(
        f"chain through_{network.name}",
        *upward_limits(network, device_match(network)),
        "goto free",
    )
    return f"{up}\n{through}"


def _common(settings: Settings) -> str:
    free = block(
        "chain free",
        "meta l4proto tcp accept",
        "ip saddr @heard4 update @heard4 { ip saddr } accept",
        "ip6 saddr @heard6 update @heard6 { ip6 saddr } accept",
        "# One device with ever new addresses would fill the sets, and nobody else would be answered.",
        "update @speaking { ether saddr limit rate over 1/second burst 30 packets } accept",
        "update @heard4 { ip saddr }",
        "update @heard6 { ip6 saddr }",
        "accept",
    )
    downstream = block(
        "chain downstream",
        "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu",
        "# What comes from the garden is free; the rest is counted where it leaves for the device.",
        *(
            f"{each} meta mark set meta mark or {DOWNWARD:#010x}"
            for network in settings.networks
            for each in from_elsewhere(network)
        ),
        "# TCP starves when its acknowledgements are refused upstream; the rest must have been spoken for.",
        "meta l4proto tcp ct state established,related accept",
        "ct state related accept",
        "ct state established ip daddr @heard4 accept",
        "ct state established ip6 daddr @heard6 accept",
        "drop",
    )
    refuse = block(
        "chain refuse",
        "meta l4proto tcp reject with tcp reset",
        "reject with icmpx admin-prohibited",
    )
    return "\n".join([free, downstream, refuse])


def _masquerade(settings: Settings) -> str:
    lines = ["type nat hook postrouting priority srcnat; policy accept;"]
    for network in settings.networks if settings.uplink.masquerade else ():
        out = f'oifname "{settings.uplink.interface}"'
        lines.append(f"{out} ip saddr {network.net4.network} masquerade")
        # Global IPv6 addresses are routed; only unique local ones have no way back.
        if network.net6 and network.net6.network.subnet_of(ipaddress.IPv6Network("fc00::/7")):
            lines.append(f"{out} ip6 saddr {network.net6.network} masquerade")
    return block("chain postrouting", *lines)
