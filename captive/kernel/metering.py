"""What each device takes, and what it may take, in nft: counted, held to a rate, ended at an amount.

Uploads are met in the forward hook of table inet, where the sender's MAC is still known. Downloads are met
where they leave for the device, in the egress hook of table netdev (Linux 5.16), the first place where the
receiver's MAC is known for both address families; the box's own answers pass there uncounted.

The forward hook sees IP packets, the egress hook whole frames; `captive.kernel.firewall` counts both as frames.
What the kernel handles as one piece (TCP, up to 64 KiB) counts as one frame, with one set of headers.
"""

from collections.abc import Collection
from typing import Literal

from captive.kernel.dns_limits import told_rule, told_set
from captive.kernel.nft_text import block
from crm.settings import Network, Settings

DOWNWARD = 0x0800_0000
"""The mark of packets forwarded to a guest, by which the egress hook tells them from the box's own."""
MEGABYTE = 1_000_000
BYTES_PER_KBIT = 125
LARGEST_PACKET = 64 * 1024
"""Bytes: the kernel hands TCP over in pieces of up to so many, which are met as one packet each."""
LEAST_BUCKET = 2 * LARGEST_PACKET
"""Bytes that may pass at once at the lowest rate; nft's bucket is one second of the rate and the burst."""
FRAME_HEADER = 14
"""Bytes of an Ethernet header."""


def set_kinds(network: Network, way: Literal["up", "down"], *also: str) -> dict[str, list[str]]:
    """{set name: its lines} of *network* for one *way*; *also* names sets that are filled from outside."""
    key = "type ether_addr . ipv4_addr" if network.identity == "mac+ip" else "type ether_addr"
    kept = [key, "flags dynamic,timeout"]
    sets = {f"{name}_{network.name}": [key, "flags timeout"] for name in also}
    sets[f"{way}_{network.name}"] = [*kept, "timeout 1d", "counter"]
    rate, amount = _limits(network, way)
    if amount:
        sets[f"spent_{way}_{network.name}_{amount}"] = [*kept, "timeout 1d"]
    if rate:
        sets[f"rate_{way}_{network.name}_{rate}"] = [*kept, "timeout 1m"]
    return sets


def upward_limits(network: Network, match: str) -> list[str]:
    """Rules that hold an allowed device to its rate and amount, and count what it sends."""
    return _limit_rules(network, "up", match, "goto refuse")


def netdev_table(settings: Settings, table: str, size: int, interfaces: Collection[str] | None = None) -> str:
    """The second table, for what goes down to the devices; hooked to *interfaces* only (None: all of them)."""
    parts = []
    for network in settings.networks:
        match = "ether daddr . ip daddr" if network.identity == "mac+ip" else "ether daddr"
        for name, lines in set_kinds(network, "down").items():
            parts.append(block(f"set {name}", *lines, f"size {size}"))
        parts.append(told_set(network, size))
        if interfaces is not None and network.interface not in interfaces:
            continue
        hook = f'type filter hook egress device "{network.interface}" priority filter; policy accept;'
        others = f"meta mark and {DOWNWARD:#010x} != {DOWNWARD:#010x} accept"
        always = f"ether daddr {{ {', '.join(network.always)} }} accept" if network.always else ""
        rules = [
            hook,
            told_rule(network, match),
            others,
            always,
            *_limit_rules(network, "down", match, "drop"),
        ]
        parts.append(block(f"chain egress_{network.name}", *rules))
    inside = "\n".join(parts)
    return f"\ntable netdev {table}\nflush table netdev {table}\n\ntable netdev {table} {{\n{inside}}}\n"


def metered_sets(network: Network, way: Literal["up", "down"]) -> list[str]:
    """The sets that begin anew with each grant: what was counted, and what counts towards an amount."""
    return [name for name in set_kinds(network, way) if not name.startswith("rate_")]


def _limits(network: Network, way: Literal["up", "down"]) -> tuple[int, int]:
    """(kbit/s, MB) that a device may take in one grant; 0: no limit.

    The total and the day's allowance are no more than upper bounds here; whoever reads the counts ends it.
    """
    grant = network.grant
    rate, own = (grant.up_kbit, grant.up_mb) if way == "up" else (grant.down_kbit, grant.down_mb)
    amounts = [each for each in (own, grant.total_mb, grant.daily_mb) if each]
    return rate, min(amounts) if amounts else 0


def _limit_rules(network: Network, way: Literal["up", "down"], match: str, verdict: str) -> list[str]:
    """Rate, then amount, then count: what one of them stops is not met by those after it.

    An element keeps the limit it was made with, so sets bear theirs in their name: other settings mean
    other sets, and hold at once.
    """
    rate, amount = _limits(network, way)
    rules = []
    if rate:
        bytes_ = rate * BYTES_PER_KBIT
        limit = f"limit rate over {bytes_} bytes/second burst {max(0, LEAST_BUCKET - bytes_)} bytes"
        rules.append(f"update @rate_{way}_{network.name}_{rate} {{ {match} {limit} }} drop")
    if amount:
        # The packet that would go beyond is refused whole; with room for it, the count reaches the amount,
        # by which the grant is ended.
        most = amount * MEGABYTE + LARGEST_PACKET
        rules.append(
            f"update @spent_{way}_{network.name}_{amount} {{ {match} quota over {most} bytes }} {verdict}"
        )
    return [*rules, f"update @{way}_{network.name} {{ {match} }}"]
