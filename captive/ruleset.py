"""The one nft table of ours: who may pass, written as text from the settings.

Enforcement lives here, in the kernel: with portal and gate stopped, whoever is online stays online and
every lease still ends in time. Chains look into sets only, so a packet costs the same with one device
allowed or with 65,536.

The shape of the refusals follows what phones were seen to need: port 80 is answered by the portal, port
443 by a TCP reset (never by a foreign certificate), the rest by ICMP; nothing is dropped in silence.
"""

import ipaddress

from crm.settings import Settings

TABLE = "wificrm"
REDIRECTED = 0x0800_0000
"""The conntrack mark of a flow that the portal answers in place of the host it was meant for."""
MAX_DEVICES = 65_536
CHAINS = (
    "granted",
    "prerouting",
    "input",
    "from_guest",
    "ask",
    "forward",
    "upstream",
    "through",
    "downstream",
    "refuse",
)
"""Chains that hold rules whatever the settings: where one is empty, somebody flushed the table."""


def render_ruleset(settings: Settings) -> str:
    """The text for one atomic ``nft -f -``; applied again it keeps the elements of every set.

    Declaring, flushing and declaring again leaves no moment without rules: flushing a table empties its
    chains and keeps its sets.
    """
    parts = [_sets(), _prerouting(settings), _input(settings), _forward(settings), _postrouting(settings)]
    return (
        f"table inet {TABLE}\nflush table inet {TABLE}\n\ntable inet {TABLE} {{\n" + "\n".join(parts) + "}\n"
    )


def _block(head: str, *lines: str) -> str:
    return f"\t{head} {{\n" + "".join(f"\t\t{line}\n" for line in lines if line) + "\t}\n"


def _sets() -> str:
    size = f"size {MAX_DEVICES}"
    return "\n".join(
        [
            "\t# Devices that are online; the kernel ends each lease.",
            _block("set allowed", "type ether_addr", "flags timeout", "counter", size),
            "\t# Addresses of hosts that everybody may reach; dnsmasq adds them as it answers.",
            _block("set garden4", "type ipv4_addr", "flags timeout", "timeout 1d", size),
            _block("set garden6", "type ipv6_addr", "flags timeout", "timeout 1d", size),
            "\t# Guest addresses that an allowed device sent something other than TCP from, a moment ago.",
            _block("set heard4", "type ipv4_addr", "flags dynamic,timeout", "timeout 2m", size),
            _block("set heard6", "type ipv6_addr", "flags dynamic,timeout", "timeout 2m", size),
            "\t# What one device may take from the box itself: questions a second, connections at once.",
            _block("set asking", "type ether_addr", "flags dynamic,timeout", "timeout 1m", size),
            _block("set visiting", "type ether_addr", "flags dynamic", size),
        ]
    )


def _prerouting(settings: Settings) -> str:
    portal = settings.portal
    # Before the redirect is undone or done: a reset written after it would bear the portal's address.
    taken = f'iifname "{settings.network.guest}" ct mark and {REDIRECTED:#010x} == {REDIRECTED:#010x}'
    granted = _block(
        "chain granted",
        "type filter hook prerouting priority mangle; policy accept;",
        "# With the grant, what the portal answered in another host's place ends: the next goes to the host.",
        f"{taken} ether saddr @allowed meta l4proto tcp reject with tcp reset",
    )
    redirect = _block(
        "chain prerouting",
        "type nat hook prerouting priority dstnat; policy accept;",
        f'iifname != "{settings.network.guest}" accept',
        "# The portal keeps its address, for devices that are online too.",
        f"fib daddr type local tcp dport 80 redirect to :{portal.port}",
        f"fib daddr type local tcp dport 443 redirect to :{portal.tls_port}" if settings.tls else "",
        "ether saddr @allowed accept",
        "# Whatever resolver the device was told to use: ours answers, and answers truthfully.",
        "meta l4proto { tcp, udp } th dport 53 redirect to :53",
        "ip daddr @garden4 accept",
        "ip6 daddr @garden6 accept",
        f"tcp dport 80 ct mark set ct mark or {REDIRECTED:#010x} redirect to :{portal.port}",
    )
    return f"{granted}\n{redirect}"


def _input(settings: Settings) -> str:
    portal, six = settings.portal, settings.network.net6 is not None
    ports = f"{{ {portal.port}, {portal.tls_port} }}" if settings.tls else str(portal.port)
    hook = _block(
        "chain input",
        "type filter hook input priority filter; policy accept;",
        f'iifname "{settings.network.guest}" goto from_guest',
    )
    box = _block(
        "chain from_guest",
        "# Replies to what the box itself asked; never a flow that a guest began.",
        "ct direction reply ct state established,related accept",
        "ct state related accept",
        "meta nfproto ipv4 udp dport 67 accept",
        "meta nfproto ipv6 udp dport 547 accept" if six else "",
        "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
        "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept",
        "meta l4proto { tcp, udp } th dport 53 goto ask",
        f"tcp dport {ports} ct state new add @visiting {{ ether saddr ct count over 100 }} drop",
        f"tcp dport {ports} accept",
        "ether saddr @allowed icmp type echo-request accept",
        "ether saddr @allowed icmpv6 type echo-request accept",
        "goto refuse",
    )
    ask = _block(
        "chain ask",
        "# Ample for a phone, too narrow for a tunnel.",
        "update @asking { ether saddr limit rate over 30/second burst 150 packets } drop",
        "accept",
    )
    return "\n".join([hook, box, ask])


def _forward(settings: Settings) -> str:
    guest = settings.network.guest
    hook = _block(
        "chain forward",
        "type filter hook forward priority filter; policy accept;",
        f'iifname "{guest}" goto upstream',
        f'oifname "{guest}" goto downstream',
    )
    refuse = _block(
        "chain refuse",
        "meta l4proto tcp reject with tcp reset",
        "reject with icmpx admin-prohibited",
    )
    return "\n".join([hook, _upstream(settings), _downstream(), refuse])


def _upstream(settings: Settings) -> str:
    network = settings.network
    off4 = [n for n in network.off_limits if ipaddress.ip_network(n).version == 4]
    off6 = [n for n in network.off_limits if ipaddress.ip_network(n).version == 6]
    source6 = f"ip6 saddr != {network.net6.network} drop" if network.net6 else "meta nfproto ipv6 goto refuse"
    up = _block(
        "chain upstream",
        "# No rule here takes a flow because it is established: it ends the moment the device's lease does.",
        "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu",
        f'oifname != "{network.uplink}" goto refuse',
        f"ip saddr != {network.net4.network} drop",
        source6,
        "ip daddr @garden4 meta l4proto . th dport { tcp . 80, tcp . 443, udp . 443 } goto through",
        "ip6 daddr @garden6 meta l4proto . th dport { tcp . 80, tcp . 443, udp . 443 } goto through",
        f"ip daddr {{ {', '.join(off4)} }} goto refuse" if off4 else "",
        f"ip6 daddr {{ {', '.join(off6)} }} goto refuse" if off6 else "",
        "ether saddr @allowed goto through",
        "goto refuse",
    )
    through = _block(
        "chain through",
        "meta l4proto != tcp update @heard4 { ip saddr }",
        "meta l4proto != tcp update @heard6 { ip6 saddr }",
        "accept",
    )
    return f"{up}\n{through}"


def _downstream() -> str:
    return _block(
        "chain downstream",
        "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu",
        "# TCP starves when its acknowledgements are refused upstream; the rest must have been spoken for.",
        "meta l4proto tcp ct state established,related accept",
        "ct state related accept",
        "ct state established ip daddr @heard4 accept",
        "ct state established ip6 daddr @heard6 accept",
        "drop",
    )


def _postrouting(settings: Settings) -> str:
    network = settings.network
    lines = ["type nat hook postrouting priority srcnat; policy accept;"]
    if network.masquerade:
        lines.append(f'oifname "{network.uplink}" ip saddr {network.net4.network} masquerade')
        # Global IPv6 addresses are routed; only unique local ones have no way back.
        if network.net6 and network.net6.network.subnet_of(ipaddress.IPv6Network("fc00::/7")):
            lines.append(f'oifname "{network.uplink}" ip6 saddr {network.net6.network} masquerade')
    return _block("chain postrouting", *lines)
