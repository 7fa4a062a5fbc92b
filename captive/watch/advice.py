"""What is told a technician: what goes on, and what to do next. English; ports and networks, never a device."""

from captive.alert_kinds import AlertKind
from captive.watch.roaming import Place

NEARER = (
    "Take what hangs on {port} off one by one (access points, switches, sockets) until it stops; "
    "`wificrm watch --show` on the box tells when it does."
)
WHAT = {
    (AlertKind.ROGUE_DHCP, "dhcp4"): (
        "A foreign DHCP server behind {where} gives out addresses. Phones that take one miss the portal or are led "
        "elsewhere. Most often a home router was plugged in by one of its LAN sockets. " + NEARER
    ),
    (AlertKind.ROGUE_DHCP, "dhcp6"): (
        "A foreign DHCPv6 server behind {where} gives out addresses or resolvers. " + NEARER
    ),
    (AlertKind.ROGUE_RA, "ra"): (
        "A foreign IPv6 router behind {where} advertises itself. Phones that believe it send their IPv6 there. Most "
        "often it is a laptop that shares its connection, or a home router. " + NEARER
    ),
    (AlertKind.SPOOFED_GATEWAY, "arp"): (
        "A device behind {where} says that it has this gateway's IPv4 address. It is set up with that address by hand, "
        "or it wants to read what others send. The gate keeps guests of this box apart, so phones behind the same "
        "switch or access point are in danger: switch on client isolation there. " + NEARER
    ),
    (AlertKind.SPOOFED_GATEWAY, "ndp"): (
        "A device behind {where} says that it has one of this gateway's IPv6 addresses: it wants to read what others "
        "send. Switch on client isolation in the switches and access points there. " + NEARER
    ),
    (AlertKind.SPOOFED_GATEWAY, "own_mac"): (
        "Frames under this box's own MAC come in at {where}: two sockets are joined by a cable (a loop), or somebody "
        "pretends to be the gateway. Look for a cable with both ends in the same switch first. " + NEARER
    ),
    (AlertKind.CLONED_MAC, "ports"): (
        "One MAC is at {where} and at {other} at once: somebody goes online in another's name, or two cables make a "
        "loop (then many alerts come together). `wificrm watch --show` tells which MAC; `wificrm device end MAC` ends "
        "its grant, and the owner goes online again by the portal."
    ),
    (AlertKind.FLOOD, "arp"): (
        "One device behind {where} asks for addresses by ARP all the time: it searches the network, or is broken. "
        + NEARER
    ),
    (AlertKind.FLOOD, "dhcp"): (
        "One device behind {where} asks for an address again and again. It is broken, or it wants to use up all "
        "addresses. " + NEARER
    ),
    (AlertKind.FLOOD, "starvation"): (
        "Behind {where}, ever new devices ask for addresses and say nothing else: somebody uses up the addresses so "
        "that nobody else gets one. Switch the access point off until whoever does it has left, and shorten "
        "network.lease so that the addresses come back soon. " + NEARER
    ),
    (AlertKind.FLOOD, "dns"): (
        "One device behind {where} asks for names all the time: a tunnel through DNS, or malware. The gate limits what "
        "it gets. " + NEARER
    ),
    (AlertKind.FLOOD, "flow"): (
        "One device behind {where} opens connections all the time: it searches the Internet for open ports, or is "
        "part of an attack. `wificrm watch --show` tells which; `wificrm device end MAC` ends its grant, and "
        "network.never keeps it out."
    ),
    (AlertKind.FLOOD, "broadcast"): (
        "One device behind {where} sends broadcasts all the time, which take the air from all others. "
        + NEARER
    ),
    (AlertKind.FLOOD, "new_macs"): (
        "Ever new MACs appear behind {where}, more than people come through a door: one device plays thousands, to "
        "fill tables. " + NEARER
    ),
}
LOOP = (
    "More {what} come in at {where} than a crowd sends: a loop in the cables, or a device under ever new MACs. Look "
    "for a cable with both ends in the same switch, and switch on loop protection (STP) there. " + NEARER
)
WHAT[AlertKind.FLOOD, "all_arp"] = LOOP.replace("{what}", "ARP requests")
WHAT[AlertKind.FLOOD, "all_broadcast"] = LOOP.replace("{what}", "broadcasts")
OVER = (
    "Quiet again at {where}: {kind} has not been seen for a while. If nobody did anything about it, it may come back "
    "at the same hour."
)
SHORT = {
    AlertKind.ROGUE_DHCP: "a foreign DHCP server",
    AlertKind.ROGUE_RA: "a foreign IPv6 router",
    AlertKind.SPOOFED_GATEWAY: "a false gateway",
    AlertKind.CLONED_MAC: "a MAC at two places",
    AlertKind.FLOOD: "a flood",
}


def describe(kind: AlertKind, what: str, place: Place, other: Place | None, state: str) -> str:
    """The text for what happens at *place*; *state*: new, goes on, over."""
    places = {"where": _name(place), "other": _name(other) if other else "another port", "port": place.port}
    if state == "over":
        return OVER.format(kind=SHORT[kind], **places)
    return ("It goes on. " if state == "goes on" else "") + WHAT[kind, what].format(**places)


def _name(place: Place) -> str:
    return f"port {place.port} (network {place.network})"
