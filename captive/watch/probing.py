"""The two questions that the watch puts to each port now and then: for a DHCP server and for a router.

Servers answer most phones alone, and a switch or an access point keeps such answers from the box. To these
questions they answer all. They leave by the port itself, so the box's own server and router do not hear them.
"""

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RS, IPv6
from scapy.layers.l2 import Ether

PROBE_SECONDS = 300.0
"""Seconds between two rounds: a few hundred octets each, no load for any network."""
PROBE_APART = 30.0
"""Seconds at least, however often ports come and go."""
PROBE_MAC = "02:77:63:72:6d:01"
"""Locally administered, nobody's: it tells the watch in a switch's table."""


def probe_frames(number: int) -> list[bytes]:
    """A DHCP DISCOVER that asks for its answer as a broadcast (transaction *number*) and a router solicitation."""
    hardware = bytes.fromhex(PROBE_MAC.replace(":", ""))
    discover = (
        Ether(src=PROBE_MAC, dst="ff:ff:ff:ff:ff:ff")
        / IP(src="0.0.0.0", dst="255.255.255.255")  # noqa: S104 no address yet, not a place to listen
        / UDP(sport=68, dport=67)
        / BOOTP(op=1, chaddr=hardware, xid=number, flags="B")
        / DHCP(options=[("message-type", "discover"), ("param_req_list", [1, 3, 6]), "end"])
    )
    solicit = (
        Ether(src=PROBE_MAC, dst="33:33:00:00:00:02")
        / IPv6(src="::", dst="ff02::2", hlim=255)
        / ICMPv6ND_RS()
    )
    return [bytes(discover), bytes(solicit)]
