"""How much a device asks our resolver and is told, in nft: a phone's fill, and before the grant no tunnel's.

A phone that joins asks for some sixty names in its first seconds, each for two or three record types: about
12 kB of questions and 40 kB of answers, less than may pass at once. After that it asks now and then. A tunnel
wants more of everything, all the time: long names up, large answers down. So what a device that is not online
asks and is told is limited in bytes, whatever the record type, UDP and TCP together; by its MAC, for of IPv6
addresses it has as many as it likes.
"""

from captive.kernel.nft_text import block
from crm.settings import Network, Settings

STARVED = 0x0400_0000
"""The mark (conntrack's, and a packet's) of what a device that is not online asks, and of its answers."""
LONGEST_QUESTION = 168
"""Bytes of a UDP datagram with a name of 120 characters, EDNS and a cookie."""
ASKED = "limit rate over 1000 bytes/second burst 15000 bytes"
TOLD = "limit rate over 1000 bytes/second burst 47000 bytes"
"""nft's bucket is the burst and one second of the rate."""
ONLINE = "limit rate over 100/second burst 400 packets"
ASK_CHAINS = ("ask", "ask_online", "answer")


def asked_sets(settings: Settings, size: int) -> str:
    """The sets of table inet: who asked how much."""
    kept = ("flags dynamic,timeout", "timeout 1m", f"size {size}")
    sets = [block(f"set asked_{network.name}", _key(network), *kept) for network in settings.networks]
    return "\n".join([*sets, block("set asked_online", "type ether_addr", *kept)])


def ask_chains(settings: Settings, online: list[str]) -> list[str]:
    """For questions to the box, and its answers; *online* are rules that send devices online to their chain."""
    interfaces = ", ".join(f'"{network.interface}"' for network in settings.networks)
    starved, bits = f"{STARVED:#010x}", f"{STARVED ^ 0xFFFF_FFFF:#010x}"
    ask = block(
        "chain ask",
        *online,
        "# Enough for a phone before the grant, too little for a tunnel.",
        f"udp length > {LONGEST_QUESTION} goto refuse",
        *(
            f'iifname "{network.interface}" update @asked_{network.name} {{ {_sender(network)} {ASKED} }} drop'
            for network in settings.networks
        ),
        f"ct mark set ct mark or {starved}",
        "accept",
    )
    ask_online = block(
        "chain ask_online",
        f"update @asked_online {{ ether saddr {ONLINE} }} drop",
        f"ct mark set ct mark and {bits}",
        "accept",
    )
    answer = block(
        "chain answer",
        "type filter hook output priority filter; policy accept;",
        "# Limited where it leaves for the device, whose MAC is known only there.",
        f"oifname {{ {interfaces} }} ct mark and {starved} == {starved} meta mark set meta mark or {starved}",
    )
    return [ask, ask_online, answer]


def told_set(network: Network, size: int) -> str:
    """The set of table netdev: who was told how much."""
    return block(
        f"set told_{network.name}", _key(network), "flags dynamic,timeout", "timeout 1m", f"size {size}"
    )


def told_rule(network: Network, receiver: str) -> str:
    """In the egress hook, before what the box itself sends is let go."""
    starved = f"meta mark and {STARVED:#010x} == {STARVED:#010x}"
    return f"{starved} update @told_{network.name} {{ {receiver} {TOLD} }} drop"


def _key(network: Network) -> str:
    return "type ether_addr . ipv4_addr" if network.identity == "mac+ip" else "type ether_addr"


def _sender(network: Network) -> str:
    return "ether saddr . ip saddr" if network.identity == "mac+ip" else "ether saddr"
